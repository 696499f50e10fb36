//! Scalar expressions over the columns of a batch, with Flink's semantics.
//!
//! [`CompiledExpr::new`] turns the plan's [`Expr`] into a tree of kernels once;
//! [`CompiledExpr::evaluate`] runs it over a batch, column at a time. Constants stay scalars as
//! long as the kernels allow. In reading order:
//! * `value`: a column or a scalar, and loops over them; `wide`: whole numbers and times as 64-bit
//!   integers.
//! * `node`: the compiled tree; what is evaluated on which rows.
//! * `compile`, `call_context`, `literal`: from the plan's expression to the tree, with constant
//!   folding.
//! * A module per family of functions: `arithmetic`, `interval`, `compare`, `math`, `text`,
//!   `temporal`, `cast`.
//! * What those stand on: `decimal`, `like`, `calendar` (days), `moment` (dates and clocks as
//!   texts), `pattern` (Java's date patterns), `zone`.

mod arithmetic;
mod calendar;
mod call_context;
mod cast;
mod compare;
mod compile;
mod decimal;
mod interval;
mod like;
mod literal;
mod math;
mod moment;
mod node;
mod pattern;
mod temporal;
mod text;
pub(crate) mod unreadable;
mod value;
mod wide;
mod zone;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use arrow_array::{ArrayRef, RecordBatch, new_empty_array};
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::{expr::Expr, types::LogicalType};

use self::node::Node;
pub use self::zone::Zone;

/// Conversions that accumulators share with expressions.
pub(crate) mod conversion {
    pub(crate) use super::{
        compare::differ,
        decimal::{Operand, Target, divide, fit_i128},
        wide::{array_as_i64, from_i64},
    };
}

/// An expression that cannot be compiled, or that failed on a row as Flink's would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{function}: {detail}")]
pub struct ExprError {
    /// The function, as in SQL.
    pub function: String,
    /// What failed, on which value.
    pub detail: String,
    /// Whether the texts of all rows are too much at once: fewer rows may do.
    pub crowded: bool,
}

impl ExprError {
    /// A failure of `function`.
    pub fn new(function: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            function: function.into(),
            detail: detail.into(),
            crowded: false,
        }
    }
}

impl From<arrow_schema::ArrowError> for ExprError {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::new("expression", error.to_string())
    }
}

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
    /// do, like an unknown letter in a date pattern.
    pub fn new(expr: &Expr) -> Result<Self, ExprError> {
        Self::in_zone(expr, Zone::UTC)
    }

    /// Compiles `expr` for a job with this local time zone.
    pub fn in_zone(expr: &Expr, zone: Zone) -> Result<Self, ExprError> {
        Ok(Self {
            node: compile::compile(expr, zone)?,
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

    /// The same for `rows` rows of columns, of which only those of [`Self::columns`] must have that
    /// length.
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
