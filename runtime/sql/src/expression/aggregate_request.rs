//! A call of an aggregate function in a query.

use streamkeeper_protocol::{aggregate::AggregateFunction, expr::Expr, types::LogicalType};

use crate::{
    error::Position,
    graph::Column,
    lineage::{Lineage, digest},
};

/// An aggregate over the rows of a group.
#[derive(Debug, Clone)]
pub(crate) struct AggregateRequest {
    pub(crate) function: AggregateFunction,
    pub(crate) arg: Option<Expr>,
    pub(crate) distinct: bool,
    pub(crate) filter: Option<Expr>,
    pub(crate) ty: LogicalType,
    pub(crate) position: Position,
}

impl AggregateRequest {
    pub(super) fn computes_same_as(&self, other: &Self) -> bool {
        (self.function, &self.arg, self.distinct, &self.filter)
            == (other.function, &other.arg, other.distinct, &other.filter)
    }

    /// Identity across plans: the function, what it is applied to, and its type.
    pub(crate) fn uid(&self, columns: &[Column]) -> String {
        let lineages: Vec<Lineage> = columns
            .iter()
            .map(|column| column.lineage.clone())
            .collect();
        let text = |expr: &Option<Expr>| {
            expr.as_ref().map_or_else(
                || "*".to_owned(),
                |expr| Lineage::of_expr(expr, &lineages).as_str().to_owned(),
            )
        };
        digest(&format!(
            "{:?}({}{}) filter {} as {}",
            self.function,
            if self.distinct { "distinct " } else { "" },
            text(&self.arg),
            text(&self.filter),
            self.ty.data
        ))
    }
}
