//! The nodes of a plan between sources and sinks.
//!
//! [`build`] makes the operator of a node. In reading order:
//! * `output`: columns to batches of the node's schema.
//! * `calc`, `watermarks`, `union`: without state.
//! * `slices`: the arithmetic of windows and slices.
//! * `lateness`: which rows come too late.
//! * `local`: partial aggregates before the shuffle; `windows`: windows after it.
//! * `groups`: unbounded `GROUP BY`.
//! * `shape`: shapes of the states.

mod calc;
mod groups;
mod index;
mod lateness;
mod local;
mod output;
mod shape;
mod slices;
mod union;
mod watermarks;
mod windows;

#[cfg(test)]
mod tests;

pub(crate) use self::lateness::LateFilter;
use streamkeeper_protocol::plan::{Operator as Planned, Phase, PlanNode, StreamPlan};

use crate::{
    EngineError,
    expr::{ExprError, Zone},
    operator::{Operator, Place},
};

/// What operators are built with, and how they name themselves in errors.
#[derive(Debug, Clone)]
struct OperatorContext {
    label: String,
    zone: Zone,
}

impl OperatorContext {
    fn failed(&self, error: &ExprError) -> EngineError {
        EngineError::Expression {
            operator: self.label.clone(),
            detail: error.to_string(),
        }
    }

    fn refused(&self, detail: impl std::fmt::Display) -> EngineError {
        EngineError::Internal {
            operator: self.label.clone(),
            detail: detail.to_string(),
        }
    }

    fn unreadable(&self, state: &str, detail: impl std::fmt::Display) -> EngineError {
        EngineError::State {
            operator: self.label.clone(),
            state: state.to_owned(),
            detail: detail.to_string(),
        }
    }
}

/// How `node` names itself in errors, and the job's zone.
fn site_of(node: &PlanNode, plan: &StreamPlan) -> Result<OperatorContext, EngineError> {
    let unzoned = OperatorContext {
        label: node.label.clone(),
        zone: Zone::UTC,
    };
    let zone = plan
        .settings
        .time_zone
        .as_deref()
        .map_or(Ok(Zone::UTC), Zone::parse)
        .map_err(|error| unzoned.refused(error))?;
    Ok(OperatorContext { zone, ..unzoned })
}

/// What drops late rows before they are exchanged: for windows that do not aggregate before the
/// exchange.
pub(crate) fn late_filter(
    node: &PlanNode,
    plan: &StreamPlan,
) -> Result<Option<LateFilter>, EngineError> {
    match &node.operator {
        Planned::WindowAggregate(window) if window.phase == Phase::Single => {
            LateFilter::new(&site_of(node, plan)?, node, plan, window).map(Some)
        }
        _ => Ok(None),
    }
}

/// The operator of `node` at `place`. Sources and sinks are not operators; what the engine cannot
/// do is refused here, before any row.
pub fn build(
    node: &PlanNode,
    plan: &StreamPlan,
    place: &Place,
) -> Result<Box<dyn Operator>, EngineError> {
    let context = site_of(node, plan)?;
    Ok(match &node.operator {
        Planned::Calc { filter, project } => {
            Box::new(calc::Calc::new(context, node, filter.as_ref(), project)?)
        }
        Planned::WatermarkAssigner { column, expr } => {
            let slicings = lateness::slicings(&context, plan)?;
            Box::new(watermarks::WatermarkAssigner::new(
                context, *column, expr, slicings,
            )?)
        }
        Planned::Union => Box::new(union::Union::new(context, node)),
        Planned::WindowAggregate(window) => match window.phase {
            Phase::Local => Box::new(local::LocalWindows::new(context, node, plan, window)?),
            Phase::Global | Phase::Single => {
                Box::new(windows::Windows::new(context, node, plan, place, window)?)
            }
        },
        Planned::GroupAggregate { keys, aggregates } => Box::new(groups::Groups::new(
            context, node, plan, place, keys, aggregates,
        )?),
        Planned::Source(_) | Planned::Sink(_) => {
            return Err(
                context.refused("sources and sinks are run by the subtask, not built as operators")
            );
        }
    })
}

/// Output schema of the only input of `node`.
fn input_of<'a>(
    context: &OperatorContext,
    node: &PlanNode,
    plan: &'a StreamPlan,
) -> Result<&'a PlanNode, EngineError> {
    match node.inputs[..] {
        [ref input] => plan
            .nodes
            .get(input.node)
            .ok_or_else(|| context.refused(format!("its input {} is not in the plan", input.node))),
        _ => Err(context.refused(format!(
            "it has {} inputs instead of one",
            node.inputs.len()
        ))),
    }
}
