//! Filter, then projection.

use std::collections::BTreeSet;

use arrow_array::{Array, ArrayRef, BooleanArray, Int8Array, cast::AsArray};
use arrow_select::filter::{FilterBuilder, FilterPredicate};
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::{expr::Expr, plan::PlanNode};

use super::{Site, output::Output};
use crate::{EngineError, expr::CompiledExpr, operator::Operator};

/// Keeps the rows where the filter is TRUE, and computes the output columns of those.
#[derive(Debug)]
pub(super) struct Calc {
    site: Site,
    filter: Option<CompiledExpr>,
    project: Vec<CompiledExpr>,
    /// Columns of the input that the projection reads.
    used: BTreeSet<usize>,
    output: Output,
}

impl Calc {
    pub(super) fn new(
        site: Site,
        node: &PlanNode,
        filter: Option<&Expr>,
        project: &[Expr],
    ) -> Result<Self, EngineError> {
        let compile = |expr: &Expr| {
            CompiledExpr::in_zone(expr, site.zone).map_err(|error| site.refused(error))
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
            site,
        })
    }

    /// The rows that pass, if not all do.
    fn passing(&self, batch: &Batch) -> Result<Option<FilterPredicate>, EngineError> {
        let Some(filter) = &self.filter else {
            return Ok(None);
        };
        let answer = filter
            .evaluate(&batch.rows)
            .map_err(|error| self.site.failed(&error))?;
        let mask: &BooleanArray = answer
            .as_boolean_opt()
            .ok_or_else(|| self.site.refused("the filter is not BOOLEAN"))?;
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
}

impl Operator for Calc {
    fn process(
        &mut self,
        _: usize,
        batch: &Batch,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (columns, kinds, rows) = match self.passing(batch)? {
            None => (
                batch.rows.columns().to_vec(),
                batch.kinds.clone(),
                batch.len(),
            ),
            Some(predicate) if predicate.count() == 0 => return Ok(()),
            Some(predicate) => {
                let pick = |array: &dyn Array| {
                    predicate
                        .filter(array)
                        .map_err(|error| self.site.refused(error))
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
                    .collect::<Result<Vec<_>, _>>()?;
                let kinds = batch
                    .kinds
                    .as_ref()
                    .map(|kinds| pick(kinds).map(|kinds| Int8Array::from(kinds.to_data())))
                    .transpose()?;
                (columns, kinds, predicate.count())
            }
        };
        let projected = self
            .project
            .iter()
            .map(|expr| expr.evaluate_columns(&columns, rows))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.site.failed(&error))?;
        out.push(Batch {
            rows: self.output.rows(&self.site, projected, rows)?,
            kinds,
        });
        Ok(())
    }

    fn watermark(&mut self, _: i64, _: &mut Vec<Batch>) -> Result<(), EngineError> {
        Ok(())
    }
}
