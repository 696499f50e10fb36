//! The analyzer of expressions over one scope.

use std::collections::HashMap;

use sqlparser::ast::{self, Spanned};

use super::aggregate_request::AggregateRequest;
use crate::{error::Position, scope::Scope, script::Places};

/// What to do with aggregate functions.
pub(crate) enum Aggregates<'a> {
    /// Refuse them; the text names the clause for the error.
    Refused(&'static str),
    /// Collect them. The n-th stands as column `scope.columns.len() + n` in the result.
    Collected {
        /// The collected calls.
        calls: &'a mut Vec<AggregateRequest>,
        /// Whether there are keys: then a group has at least one row.
        keyed: bool,
    },
}

/// Turns expressions over one scope into typed ones.
pub(crate) struct Analyzer<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) places: &'a Places,
    pub(crate) aggregates: Aggregates<'a>,
    /// Where each column was named last, for errors about it.
    pub(crate) named: HashMap<usize, Position>,
    pub(super) depth: usize,
}

impl<'a> Analyzer<'a> {
    pub(crate) fn new(scope: &'a Scope, places: &'a Places, aggregates: Aggregates<'a>) -> Self {
        Self {
            scope,
            places,
            aggregates,
            named: HashMap::new(),
            depth: 0,
        }
    }

    /// Where an expression begins, as far as the parser knows.
    pub(crate) fn position(&self, expr: &ast::Expr) -> Position {
        Position::from(expr.span().start).or(self.places.start)
    }
}
