//! Filter, then projection.

use std::collections::BTreeSet;

use arrow_array::{Array, ArrayRef, BooleanArray, Int8Array, cast::AsArray};
use arrow_select::filter::{FilterBuilder, FilterPredicate};
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::{expr::Expr, plan::PlanNode};

use super::{
    OperatorContext,
    output::{Output, halves},
};
use crate::{
    EngineError,
    expr::{CompiledExpr, ExprError, parse_failure},
    operator::Operator,
};

/// Keeps the rows where the filter is TRUE, and computes the output columns of those.
#[derive(Debug)]
pub(super) struct Calc {
    context: OperatorContext,
    filter: Option<CompiledExpr>,
    project: Vec<CompiledExpr>,
    /// Columns of the input that the projection reads.
    used: BTreeSet<usize>,
    output: Output,
    /// Parts of the current batch that are still to be computed; the last is the next.
    rest: Vec<Batch>,
}

impl Calc {
    pub(super) fn new(
        context: OperatorContext,
        node: &PlanNode,
        filter: Option<&Expr>,
        project: &[Expr],
    ) -> Result<Self, EngineError> {
        let compile = |expr: &Expr| {
            CompiledExpr::in_zone(expr, context.zone).map_err(|error| context.refused(error))
        };
        let filter = filter.map(compile).transpose()?;
        let project = project.iter().map(compile).collect::<Result<Vec<_>, _>>()?;
        let mut used = BTreeSet::new();
        for expr in &project {
            expr.columns(&mut used);
        }
        Ok(Self {
            filter,
            project,
            used,
            output: Output::new(node),
            rest: Vec::new(),
            context,
        })
    }

    /// The rows that pass, if not all do.
    fn passing(&self, batch: &Batch) -> Result<Option<FilterPredicate>, Failure> {
        let Some(filter) = &self.filter else {
            return Ok(None);
        };
        let answer = filter.evaluate(&batch.rows)?;
        let mask: &BooleanArray = answer
            .as_boolean_opt()
            .ok_or_else(|| self.context.refused("the filter is not BOOLEAN"))?;
        // Counts TRUE only: NULL does not pass.
        if mask.true_count() == batch.len() {
            return Ok(None);
        }
        let mut predicate = FilterBuilder::new(mask);
        if self.used.len() > 1 {
            predicate = predicate.optimize();
        }
        Ok(Some(predicate.build()))
    }

    /// The output for a batch, if any row passes.
    fn computed(&self, batch: &Batch) -> Result<Option<Batch>, Failure> {
        let (columns, kinds, rows) = match self.passing(batch)? {
            None => (
                batch.rows.columns().to_vec(),
                batch.kinds.clone(),
                batch.len(),
            ),
            Some(predicate) if predicate.count() == 0 => return Ok(None),
            Some(predicate) => {
                let pick = |array: &dyn Array| {
                    predicate
                        .filter(array)
                        .map_err(|error| self.context.refused(error))
                };
                let columns = batch.rows.columns().iter().enumerate();
                let columns = columns
                    .map(|(index, column)| {
                        if self.used.contains(&index) {
                            pick(column)
                        } else {
                            Ok(ArrayRef::clone(column))
                        }
                    })
                    .collect::<Result<Vec<_>, EngineError>>()?;
                let kinds = batch
                    .kinds
                    .as_ref()
                    .map(|kinds| pick(kinds).map(|kinds| Int8Array::from(kinds.to_data())))
                    .transpose()?;
                (columns, kinds, predicate.count())
            }
        };
        // A text that the filter could not read belongs to other rows.
        parse_failure::forget();
        let projected = self
            .project
            .iter()
            .map(|expr| expr.evaluate_columns(&columns, rows))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Batch {
            rows: self.output.rows(&self.context, projected, rows)?,
            kinds,
        }))
    }
}

/// Why a batch could not be computed.
enum Failure {
    Expression(ExprError),
    Other(EngineError),
}

impl From<ExprError> for Failure {
    fn from(error: ExprError) -> Self {
        Self::Expression(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Other(error)
    }
}

impl Operator for Calc {
    fn process(
        &mut self,
        _: usize,
        batch: &Batch,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        self.rest.clear();
        self.rest.push(batch.clone());
        self.go_on(out).map(drop)
    }

    fn go_on(&mut self, out: &mut Vec<Batch>) -> Result<bool, EngineError> {
        while let Some(part) = self.rest.pop() {
            if part.is_empty() {
                continue;
            }
            match self.computed(&part) {
                Ok(None) => {}
                Ok(Some(rows)) => {
                    out.push(rows);
                    return Ok(true);
                }
                Err(Failure::Expression(error)) => match halves(&part) {
                    Some((first, second)) if error.crowded => self.rest.extend([second, first]),
                    _ => return Err(self.context.failed(&error)),
                },
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Ok(false)
    }

    fn watermark(&mut self, _: i64, _: &mut Vec<Batch>) -> Result<(), EngineError> {
        Ok(())
    }
}
