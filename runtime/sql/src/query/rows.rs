//! The rows of a query while it is planned.

use std::collections::HashMap;

use sqlparser::ast;
use streamkeeper_protocol::plan::Window;

use crate::{
    error::{Position, Result, SqlError},
    graph::{Column, RelationId},
    script::Places,
};

/// The rows of a query.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) relation: RelationId,
    pub(crate) columns: Vec<Column>,
    /// Windows assigned but not yet aggregated.
    pub(crate) windowed: Option<Windowed>,
}

/// Rows of `relation`, each in its windows. No operator does that alone: it becomes part of an
/// aggregation by window.
#[derive(Debug, Clone)]
pub(crate) struct Windowed {
    pub(crate) window: Window,
    /// Time column of the relation.
    pub(crate) time: usize,
    /// What each column of the rows is.
    pub(crate) outputs: Vec<Output>,
    /// Where the window function stands.
    pub(crate) position: Position,
}

/// A column of windowed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// A column of the relation.
    Column(usize),
    /// `window_start`, `window_end`, `window_time`: 0, 1, 2.
    Property(usize),
}

/// Context of a query.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// Where its aggregations belong: a view or a sink.
    pub(crate) place: String,
    pub(crate) places: Places,
    /// Common table expressions in scope.
    pub(crate) ctes: HashMap<String, Rows>,
}

/// Gives the rows the column names of an alias.
pub(super) fn rename(
    rows: &mut Rows,
    columns: &[ast::TableAliasColumnDef],
    position: Position,
) -> Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    if columns.len() != rows.columns.len() {
        let text = format!(
            "{} column names for {} columns",
            columns.len(),
            rows.columns.len()
        );
        return Err(SqlError::at(position, text));
    }
    for (column, alias) in rows.columns.iter_mut().zip(columns) {
        column.name.clone_from(&alias.name.value);
    }
    Ok(())
}
