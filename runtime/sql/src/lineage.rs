//! Where a column comes from, as a text that survives a change of the plan.
//!
//! `flights.carrier` is a column of a table, `upper(flights.carrier)` an expression over it. Names
//! of views, aliases and positions do not occur, so a query may be rewritten freely without
//! changing the lineage of its keys. A restore finds state by it.

use std::fmt::Write as _;

use streamkeeper_protocol::expr::{Expr, ExprKind, Literal};
use xxhash_rust::xxh3::xxh3_64;

/// Longer texts are replaced by their hash: views over views could otherwise grow without bound.
const MAX_LENGTH: usize = 160;

/// The origin of a column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lineage(String);

impl Lineage {
    pub(crate) fn new(text: String) -> Self {
        if text.len() <= MAX_LENGTH {
            Self(text)
        } else {
            Self(format!("#{}", digest(&text)))
        }
    }

    /// A column of a table.
    pub(crate) fn of_table_column(table: &str, column: &str) -> Self {
        Self::new(format!("{table}.{column}"))
    }

    /// An expression over columns of this lineage.
    pub(crate) fn of_expr(expr: &Expr, columns: &[Self]) -> Self {
        Self::new(text(expr, columns))
    }

    /// A column of a union: the common lineage, or all of them.
    pub(crate) fn of_union(parts: &[&Self]) -> Self {
        match parts.split_first() {
            Some((first, rest)) if rest.iter().all(|part| part == first) => (*first).clone(),
            _ => Self::new(format!(
                "union({})",
                list(parts.iter().map(|part| part.0.as_str()))
            )),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// 16 hex digits that stand for a text.
pub(crate) fn digest(text: &str) -> String {
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

fn list<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

/// Arguments are bounded as they are built, so the text of a deep expression stays small.
fn text(expr: &Expr, columns: &[Lineage]) -> String {
    let part = |expr: &Expr| Lineage::new(text(expr, columns)).0;
    match &expr.kind {
        ExprKind::Column(index) => columns
            .get(*index)
            .map_or_else(|| format!("?{index}"), |column| column.0.clone()),
        ExprKind::Literal(literal) => literal_text(literal, expr),
        ExprKind::Call { function, args } => {
            let args: Vec<String> = args.iter().map(part).collect();
            format!("{}({})", function_name(*function), args.join(","))
        }
        ExprKind::Cast { input, tolerant } => {
            format!(
                "{}({} as {})",
                if *tolerant { "try_cast" } else { "cast" },
                part(input),
                expr.ty.data
            )
        }
        ExprKind::Case {
            branches,
            otherwise,
        } => {
            let mut out = "case(".to_owned();
            for (when, then) in branches {
                let _ = write!(out, "{}->{},", part(when), part(then));
            }
            let _ = write!(
                out,
                "{})",
                otherwise
                    .as_ref()
                    .map_or_else(|| "null".to_owned(), |expr| part(expr))
            );
            out
        }
    }
}

fn literal_text(literal: &Literal, expr: &Expr) -> String {
    match literal {
        Literal::Null => "null".to_owned(),
        Literal::String(text) => format!("'{}'", text.replace('\'', "''")),
        Literal::Integer(value) => value.to_string(),
        Literal::Boolean(value) => value.to_string(),
        other => format!(
            "{}:{}",
            serde_json::to_string(other).unwrap_or_default(),
            expr.ty.data
        ),
    }
}

/// The name that the function has in a stored plan, which never changes.
fn function_name(function: streamkeeper_protocol::expr::Function) -> String {
    match serde_json::to_value(function) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(other) => other.to_string(),
        Err(_) => format!("{function:?}"),
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper_protocol::{
        expr::Function,
        types::{DataType, LogicalType},
    };

    use super::*;

    #[test]
    fn lineage_stays_short_however_deep_the_views() {
        let mut columns = vec![Lineage::of_table_column("t", "s")];
        let ty = LogicalType::nullable(DataType::STRING);
        for _ in 0..100 {
            let column = Expr::column(0, ty.clone());
            let expr = Expr {
                kind: ExprKind::Call {
                    function: Function::Concat,
                    args: vec![column.clone(), column],
                },
                ty: ty.clone(),
            };
            columns = vec![Lineage::of_expr(&expr, &columns)];
        }
        assert!(columns[0].as_str().len() <= MAX_LENGTH);
    }
}
