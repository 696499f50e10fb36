//! Flink's types, expression by expression: `tests/flink/` holds the types that Flink itself
//! computes.

use std::fmt::Write as _;

use streamkeeper_protocol::{
    expr::{ExprKind, Function},
    plan::Operator,
};
use streamkeeper_sql::{SqlError, compile};

use crate::{connectors::Known, golden};

#[test]
fn every_expression_has_flinks_type_or_is_a_known_difference() {
    let mut differences = String::new();
    let mut equal = 0;
    for line in golden::read("flink/types.txt").lines() {
        let Some((expression, flink)) = line.split_once(" => ") else {
            continue;
        };
        let ours = match type_of(expression) {
            Ok(ty) => ty,
            Err(_) => "refused".to_owned(),
        };
        if ours == flink {
            equal += 1;
        } else {
            let _ = writeln!(differences, "{expression} => {flink}, here {ours}");
        }
    }
    assert!(equal > 1_000, "{equal} expressions were compared");
    golden::same("flink/differences.txt", &differences);
}

/// Refusing what Flink takes costs a rewrite; another type would give other results.
#[test]
fn no_difference_gives_another_type_than_flinks() {
    for line in golden::read("flink/differences.txt").lines() {
        let (_, types) = line.split_once(" => ").unwrap();
        assert!(
            types.starts_with("refused, here ") || types.ends_with(", here refused"),
            "{line}"
        );
    }
}

#[test]
fn what_can_be_inserted_into_what_is_as_in_flink() {
    let table = golden::read("flink/table.sql");
    for line in golden::read("flink/inserts.txt").lines() {
        let (column, rest) = line.split_once(" INTO ").unwrap();
        let (ty, flink) = rest.split_once(" => ").unwrap();
        let text = format!(
            "{table};\nCREATE TABLE o (r {ty}) WITH ('connector' = 'blackhole');\nINSERT INTO o SELECT {column} FROM t"
        );
        let ours = if compile(&text, &Known).is_ok() {
            "accepted"
        } else {
            "refused"
        };
        assert_eq!(ours, flink, "{line}");
    }
}

/// The type of an expression over the table of `flink/table.sql`, read off the plan.
fn type_of(expression: &str) -> Result<String, Vec<SqlError>> {
    let table = golden::read("flink/table.sql");
    let text = format!(
        "{table};\nCREATE TABLE o (r BOOLEAN) WITH ('connector' = 'blackhole');\nINSERT INTO o SELECT ({expression}) IS NULL FROM t"
    );
    let plan = compile(&text, &Known)?.plan;
    let tested = plan
        .nodes
        .iter()
        .rev()
        .find_map(|node| match &node.operator {
            Operator::Calc { project, .. } => project.iter().find_map(|expr| match &expr.kind {
                ExprKind::Call {
                    function: Function::IsNull,
                    args,
                } => Some(args[0].ty.to_string()),
                _ => None,
            }),
            _ => None,
        });
    Ok(tested.expect("the plan computes the expression"))
}
