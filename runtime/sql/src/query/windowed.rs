//! Expressions over rows in windows that are not yet aggregated.

use streamkeeper_protocol::expr::Expr;

use super::rows::{Output, Windowed};
use crate::{
    error::{Position, Result, SqlError},
    expression::{columns_of, map_columns},
    graph::Column,
};

/// An expression over windowed rows as one over the relation below the windows.
pub(super) fn below_window(
    expr: &Expr,
    windowed: &Windowed,
    columns: &[Column],
    position: Position,
) -> Result<Expr> {
    no_properties(expr, windowed, columns, |_| position)?;
    Ok(map_columns(
        expr,
        &|index, ty| match windowed.outputs.get(index) {
            Some(Output::Column(below)) => Expr::column(*below, ty.clone()),
            _ => Expr::column(index, ty.clone()),
        },
    ))
}

/// Refuses `window_start`, `window_end` and `window_time` where there are no windows yet.
pub(super) fn no_properties(
    expr: &Expr,
    windowed: &Windowed,
    columns: &[Column],
    position: impl Fn(usize) -> Position,
) -> Result<()> {
    let is_property =
        |index: &usize| matches!(windowed.outputs.get(*index), Some(Output::Property(_)));
    match columns_of(expr).into_iter().find(is_property) {
        None => Ok(()),
        Some(index) => {
            let text = format!(
                "{} cannot be computed with before the aggregation",
                columns[index].name
            );
            Err(SqlError::at(position(index), text)
                .hint("group by it and compute in the select list, or in HAVING"))
        }
    }
}
