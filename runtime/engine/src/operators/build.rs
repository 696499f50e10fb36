//! The operator of a node of the plan.

use streamkeeper_protocol::plan::{Operator as Planned, Phase, PlanNode, StreamPlan};

use super::{
    calc::Calc, context::context_of, group_aggregate::GroupAggregate, late_filter,
    local_windows::LocalWindows, union::Union, watermarks::WatermarkAssigner, windows::Windows,
};
use crate::{
    EngineError,
    operator::{Operator, Place},
};

/// The operator of `node` at `place`. Sources and sinks are not operators; what the engine cannot
/// do is refused here, before any row.
pub fn build(
    node: &PlanNode,
    plan: &StreamPlan,
    place: &Place,
) -> Result<Box<dyn Operator>, EngineError> {
    let context = context_of(node, plan)?;
    Ok(match &node.operator {
        Planned::Calc { filter, project } => {
            Box::new(Calc::new(context, node, filter.as_ref(), project)?)
        }
        Planned::WatermarkAssigner { column, expr } => {
            let slicings = late_filter::slicings(&context, plan)?;
            Box::new(WatermarkAssigner::new(context, *column, expr, slicings)?)
        }
        Planned::Union => Box::new(Union::new(context, node)),
        Planned::WindowAggregate(window) => match window.phase {
            Phase::Local => Box::new(LocalWindows::new(context, node, plan, window)?),
            Phase::Global | Phase::Single => {
                Box::new(Windows::new(context, node, plan, place, window)?)
            }
        },
        Planned::GroupAggregate { keys, aggregates } => Box::new(GroupAggregate::new(
            context, node, plan, place, keys, aggregates,
        )?),
        Planned::Source(_) | Planned::Sink(_) => {
            return Err(
                context.refused("sources and sinks are run by the subtask, not built as operators")
            );
        }
    })
}
