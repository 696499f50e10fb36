//! An expression ready to run.

use std::collections::BTreeSet;

use arrow_array::{ArrayRef, RecordBatch, new_empty_array};
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::{expr::Expr, types::LogicalType};

use super::{ExprError, Zone, compile::compile, node::Node};

/// An expression ready to run.
pub struct CompiledExpr {
    node: Node,
    ty: LogicalType,
}

impl std::fmt::Debug for CompiledExpr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledExpr")
            .field("ty", &self.ty)
            .finish_non_exhaustive()
    }
}

impl CompiledExpr {
    /// Compiles `expr` for a job whose local time zone is UTC. Fails on what the engine does not
    /// support, like an unknown letter in a date pattern.
    pub fn new(expr: &Expr) -> Result<Self, ExprError> {
        Self::in_zone(expr, Zone::UTC)
    }

    /// Compiles `expr` for a job with this local time zone.
    pub fn in_zone(expr: &Expr, zone: Zone) -> Result<Self, ExprError> {
        Ok(Self {
            node: compile(expr, zone)?,
            ty: expr.ty.clone(),
        })
    }

    /// Type of the result.
    pub fn ty(&self) -> &LogicalType {
        &self.ty
    }

    /// Whether this is nothing but column `index`, and which.
    pub fn as_column(&self) -> Option<usize> {
        match self.node {
            Node::Column(index) => Some(index),
            _ => None,
        }
    }

    /// Adds the columns of the input that are read.
    pub fn columns(&self, into: &mut BTreeSet<usize>) {
        self.node.columns(into);
    }

    /// The value for every row of `batch`, in the Arrow type of [`Self::ty`].
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
        self.evaluate_columns(batch.columns(), batch.num_rows())
    }

    /// Like [`Self::evaluate`], for `rows` rows of columns, of which only those of
    /// [`Self::columns`] must have that length.
    pub fn evaluate_columns(
        &self,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<ArrayRef, ExprError> {
        if rows == 0 {
            return Ok(new_empty_array(&arrow_type(&self.ty.data)));
        }
        self.node.evaluate(columns, rows)?.into_array(rows)
    }
}
