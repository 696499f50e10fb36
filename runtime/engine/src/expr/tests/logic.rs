use streamkeeper_protocol::{
    expr::Function as F,
    types::DataType::{BigInt, Boolean, Double, Int},
};

use super::*;

fn maybe(value: Option<bool>) -> Expr {
    value.map_or_else(|| null(Boolean), boolean)
}

#[test]
fn and_or_not_have_three_values() {
    let name =
        |value: Option<bool>| value.map_or("NULL", |value| if value { "true" } else { "false" });
    let all = [Some(true), Some(false), None];
    let mut cases = Vec::new();
    for a in all {
        for b in all {
            let and = if a == Some(false) || b == Some(false) {
                Some(false)
            } else {
                a.and(b)
            };
            let or = if a == Some(true) || b == Some(true) {
                Some(true)
            } else {
                a.and(b)
            };
            cases.push((call(F::And, &[maybe(a), maybe(b)], Boolean), name(and)));
            cases.push((call(F::Or, &[maybe(a), maybe(b)], Boolean), name(or)));
        }
        cases.push((call(F::Not, &[maybe(a)], Boolean), name(a.map(|a| !a))));
        cases.push((
            call(F::IsTrue, &[maybe(a)], Boolean),
            name(Some(a == Some(true))),
        ));
        cases.push((
            call(F::IsFalse, &[maybe(a)], Boolean),
            name(Some(a == Some(false))),
        ));
        cases.push((
            call(F::IsNull, &[maybe(a)], Boolean),
            name(Some(a.is_none())),
        ));
        cases.push((
            call(F::IsNotNull, &[maybe(a)], Boolean),
            name(Some(a.is_some())),
        ));
    }
    cases.push((
        call(F::And, &[boolean(true), null(DataType::Null)], Boolean),
        "NULL",
    ));
    cases.push((call(F::IsNull, &[null(DataType::Null)], Boolean), "true"));
    check(cases);
}

#[test]
fn comparisons_follow_types() {
    check(vec![
        (call(F::Less, &[int(1), int(2)], Boolean), "true"),
        (
            call(F::GreaterOrEqual, &[text("b"), text("a")], Boolean),
            "true",
        ),
        (call(F::Less, &[text("Z"), text("a")], Boolean), "true"),
        (call(F::Equal, &[text("a"), text("a ")], Boolean), "false"),
        (call(F::Equal, &[null(Int), null(Int)], Boolean), NULL),
        (
            call(F::IsNotDistinctFrom, &[null(Int), null(Int)], Boolean),
            "true",
        ),
        (
            call(F::IsNotDistinctFrom, &[null(Int), int(1)], Boolean),
            "false",
        ),
        (
            call(
                F::IsNotDistinctFrom,
                &[int(1), null(DataType::Null)],
                Boolean,
            ),
            "false",
        ),
        (
            call(F::IsNotDistinctFrom, &[double(1.0), double(1.0)], Boolean),
            "true",
        ),
        (
            call(
                F::LessOrEqual,
                &[stamp("2024-01-01"), stamp("2024-01-02")],
                Boolean,
            ),
            "true",
        ),
        (
            call(F::NotEqual, &[boolean(true), boolean(false)], Boolean),
            "true",
        ),
        (
            call(
                F::Equal,
                &[
                    stamp("2024-01-01"),
                    literal(
                        Literal::TimestampMicros(1_704_067_200_000_000),
                        DataType::Timestamp { precision: 6 },
                    ),
                ],
                Boolean,
            ),
            "true",
        ),
        (call(F::InList, &[int(2), int(1), int(2)], Boolean), "true"),
        (call(F::InList, &[int(3), int(1), null(Int)], Boolean), NULL),
        (call(F::InList, &[int(3), int(1), int(2)], Boolean), "false"),
        (call(F::InList, &[null(Int), int(1)], Boolean), NULL),
        (
            call(F::InList, &[int(1), null(DataType::Null), int(1)], Boolean),
            "true",
        ),
        (call(F::Greatest, &[int(1), int(3), int(2)], Int), "3"),
        (call(F::Greatest, &[int(1), null(Int)], Int), NULL),
        (
            call(F::Least, &[text("b"), text("a")], DataType::STRING),
            "a",
        ),
        (
            call(
                F::Least,
                &[dec("1.5", 3, 1), dec("1.25", 4, 2)],
                dec_type(4, 2),
            ),
            "1.25",
        ),
        (call(F::Coalesce, &[null(Int), int(2), int(3)], Int), "2"),
        (
            call(F::Coalesce, &[null(DataType::Null), null(Int)], Int),
            NULL,
        ),
    ]);
}

fn column(index: usize) -> Expr {
    Expr::column(index, LogicalType::nullable(BigInt))
}

fn divide() -> Expr {
    call(F::Divide, &[column(0), column(1)], BigInt)
}

fn run(expr: &Expr, columns: Vec<ArrayRef>) -> Result<Vec<String>, ExprError> {
    let array = CompiledExpr::new(expr)?.evaluate(&batch(columns))?;
    Ok((0..array.len()).map(|row| show(&array, row)).collect())
}

fn columns() -> Vec<ArrayRef> {
    vec![
        longs(&[Some(10), Some(20), None, Some(40)]),
        longs(&[Some(5), Some(0), Some(0), None]),
    ]
}

#[test]
fn case_does_not_evaluate_branches_that_are_not_taken() {
    let zero = call(F::Equal, &[column(1), long(0)], Boolean);
    let case = Expr {
        kind: ExprKind::Case {
            branches: vec![
                (zero.clone(), long(-1)),
                (call(F::Greater, &[divide(), long(1)], Boolean), divide()),
            ],
            otherwise: None,
        },
        ty: LogicalType::nullable(BigInt),
    };
    assert_eq!(run(&case, columns()).unwrap(), ["2", "-1", "-1", NULL]);
    let other = Expr {
        kind: ExprKind::Case {
            branches: vec![(zero, long(-1))],
            otherwise: Some(Box::new(divide())),
        },
        ty: LogicalType::nullable(BigInt),
    };
    assert_eq!(run(&other, columns()).unwrap(), ["2", "-1", "-1", NULL]);
    assert!(run(&divide(), columns()).is_err());
}

#[test]
fn a_constant_that_fails_does_so_only_where_it_is_reached() {
    let never = Expr {
        kind: ExprKind::Case {
            branches: vec![(
                call(F::Greater, &[column(0), long(100)], Boolean),
                call(F::Divide, &[long(1), long(0)], BigInt),
            )],
            otherwise: Some(Box::new(column(0))),
        },
        ty: LogicalType::nullable(BigInt),
    };
    assert_eq!(run(&never, columns()).unwrap(), ["10", "20", NULL, "40"]);
    let sometimes = Expr {
        kind: ExprKind::Case {
            branches: vec![(
                call(F::Greater, &[column(0), long(30)], Boolean),
                call(F::Divide, &[long(1), long(0)], BigInt),
            )],
            otherwise: None,
        },
        ty: LogicalType::nullable(BigInt),
    };
    assert!(run(&sometimes, columns()).is_err());
}

#[test]
fn and_or_and_coalesce_stop_once_the_result_is_known() {
    let is_set = call(F::NotEqual, &[column(1), long(0)], Boolean);
    let is_zero = call(F::Equal, &[column(1), long(0)], Boolean);
    let large = call(F::Greater, &[divide(), long(1)], Boolean);
    assert_eq!(
        run(&call(F::And, &[is_set, large.clone()], Boolean), columns()).unwrap(),
        ["true", "false", "false", NULL]
    );
    assert_eq!(
        run(&call(F::Or, &[is_zero, large], Boolean), columns()).unwrap(),
        ["true", "true", "true", NULL]
    );
    let columns = vec![
        longs(&[Some(10), Some(20), None]),
        longs(&[Some(0), Some(0), Some(0)]),
    ];
    let first = call(
        F::Coalesce,
        &[column(0), call(F::Divide, &[long(1), long(0)], BigInt)],
        BigInt,
    );
    assert!(run(&first, columns).is_err());
    let columns = vec![longs(&[Some(10), Some(20)]), longs(&[Some(0), Some(0)])];
    assert_eq!(run(&first, columns).unwrap(), ["10", "20"]);
}

#[test]
fn case_takes_the_first_branch_that_is_true() {
    let case = |when: Option<bool>, otherwise: Option<Expr>| Expr {
        kind: ExprKind::Case {
            branches: vec![
                (maybe(when), dec("1", 3, 0)),
                (boolean(true), dec("2.5", 3, 1)),
            ],
            otherwise: otherwise.map(Box::new),
        },
        ty: LogicalType::nullable(dec_type(4, 1)),
    };
    check(vec![
        (case(Some(true), None), "1.0"),
        (case(Some(false), None), "2.5"),
        (case(None, Some(dec("9", 1, 0))), "2.5"),
    ]);
    let none = Expr {
        kind: ExprKind::Case {
            branches: vec![(boolean(false), double(1.0))],
            otherwise: None,
        },
        ty: LogicalType::nullable(Double),
    };
    check(vec![(none, NULL)]);
}

#[test]
fn an_empty_batch_gives_an_empty_column() {
    let expr = call(F::Add, &[column(0), long(1)], BigInt);
    assert!(run(&expr, vec![longs(&[])]).unwrap().is_empty());
}
