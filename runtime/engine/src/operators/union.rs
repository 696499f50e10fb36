//! All rows of all inputs.

use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::plan::PlanNode;

use super::{OperatorContext, output::Output};
use crate::{EngineError, operator::Operator};

/// Passes rows on under its own column names.
#[derive(Debug)]
pub(super) struct Union {
    context: OperatorContext,
    output: Output,
}

impl Union {
    pub(super) fn new(context: OperatorContext, node: &PlanNode) -> Self {
        Self {
            context,
            output: Output::new(node),
        }
    }
}

impl Operator for Union {
    fn process(
        &mut self,
        _: usize,
        batch: &Batch,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        let rows = self
            .output
            .rows(&self.context, batch.rows.columns().to_vec(), batch.len())?;
        out.push(Batch {
            rows,
            kinds: batch.kinds.clone(),
        });
        Ok(())
    }

    fn watermark(&mut self, _: i64, _: &mut Vec<Batch>) -> Result<(), EngineError> {
        Ok(())
    }
}
