//! The contract between an operator and the subtask that drives it.
//!
//! A subtask is one thread that owns one instance of every node of the plan. It calls an operator's
//! methods one at a time, in stream order; operators never block, never look at a clock and keep
//! their state in memory. Everything an operator appends to `out` goes to the nodes downstream.

use std::sync::Arc;

use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::{key_group::Assignment, manifest::StateDescriptor};
use streamkeeper_state::{Entry, FrozenState};

use crate::EngineError;

/// Place of an operator in the job.
#[derive(Debug, Clone)]
pub struct Place {
    /// This subtask.
    pub subtask: u32,
    /// Owner of every key group.
    pub assignment: Arc<Assignment>,
}

/// One node of the plan in one subtask (all but sources and sinks).
pub trait Operator: Send {
    /// Takes rows of input `input` (position in the node's `inputs`).
    fn process(
        &mut self,
        input: usize,
        batch: &Batch,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError>;

    /// Continues with the batch of the last [`Operator::process`], after the content of `out` was
    /// sent on. Returns whether it produced more. For output that is too large at once.
    fn go_on(&mut self, _out: &mut Vec<Batch>) -> Result<bool, EngineError> {
        Ok(false)
    }

    /// Takes a watermark (epoch milliseconds, already combined over all inputs and larger than the
    /// last). The subtask forwards it after `out`, unless the operator makes its own watermarks
    /// ([`Operator::own_watermark`]).
    fn watermark(&mut self, watermark: i64, out: &mut Vec<Batch>) -> Result<(), EngineError>;

    /// For a watermark assigner: the watermark after the rows seen so far. Watermarks from upstream
    /// then stop here (but for the last one, `i64::MAX`).
    fn own_watermark(&self) -> Option<Option<i64>> {
        None
    }

    /// For a watermark assigner: watermarks that go before batches of the last
    /// [`Operator::process`], each with the batch's position in `out`, in order.
    fn own_marks(&self) -> &[(usize, i64)] {
        &[]
    }

    /// Emits what the operator holds back for efficiency and does not keep as state. Called before
    /// a barrier is taken, when the input falls idle and at its end.
    fn flush(&mut self, _out: &mut Vec<Batch>) -> Result<(), EngineError> {
        Ok(())
    }

    /// Descriptors of the operator's states: none for stateless operators.
    fn states(&self) -> Vec<StateDescriptor> {
        Vec::new()
    }

    /// Restores entries of state `name`, before any row; `written` is their descriptor when they
    /// were written, which [`streamkeeper_protocol::compatibility`] has accepted.
    fn restore(
        &mut self,
        _name: &str,
        _written: &StateDescriptor,
        _entries: Vec<Entry>,
    ) -> Result<(), EngineError> {
        Ok(())
    }

    /// Restores the combined watermark of the checkpoint, after all states.
    fn restore_watermark(&mut self, _watermark: i64) {}

    /// Called before [`Self::freeze`] with the watermark that all subtasks of the node agree upon
    /// at this barrier, if there is one. The operator's own watermark may be larger where an input
    /// fell idle and became active again: then it depends on the order in which the subtask
    /// received its inputs, and the checkpoint may keep the smaller one.
    fn align_watermark(&mut self, _watermark: Option<i64>) {}

    /// Begins to freeze the changes of every state since the last time, or everything if `full`, as
    /// they are now. Takes constant time.
    fn begin_freeze(&mut self, _full: bool) {}

    /// Continues the freeze by about `slice` entries, and returns all of it when nothing is left.
    /// Between two calls the operator takes rows and watermarks, and none of them is in the result.
    fn advance_freeze(&mut self, _slice: usize) -> Result<Option<Vec<FrozenState>>, EngineError> {
        Ok(Some(Vec::new()))
    }

    /// Begins and completes a freeze in one call.
    fn freeze(&mut self, full: bool) -> Result<Vec<FrozenState>, EngineError> {
        self.begin_freeze(full);
        loop {
            if let Some(frozen) = self.advance_freeze(usize::MAX)? {
                return Ok(frozen);
            }
        }
    }

    /// Rows dropped because they came after the watermark.
    fn late_records(&self) -> u64 {
        0
    }
}
