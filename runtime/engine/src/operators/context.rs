//! What operators are built with, and how they name themselves in errors.

use streamkeeper_protocol::plan::{PlanNode, StreamPlan};

use crate::{
    EngineError,
    expr::{ExprError, Zone},
};

/// What operators are built with, and how they name themselves in errors.
#[derive(Debug, Clone)]
pub(super) struct OperatorContext {
    pub(super) label: String,
    pub(super) zone: Zone,
}

impl OperatorContext {
    pub(super) fn failed(&self, error: &ExprError) -> EngineError {
        EngineError::Expression {
            operator: self.label.clone(),
            detail: error.to_string(),
        }
    }

    pub(super) fn refused(&self, detail: impl std::fmt::Display) -> EngineError {
        EngineError::Internal {
            operator: self.label.clone(),
            detail: detail.to_string(),
        }
    }

    pub(super) fn unreadable(&self, state: &str, detail: impl std::fmt::Display) -> EngineError {
        EngineError::State {
            operator: self.label.clone(),
            state: state.to_owned(),
            detail: detail.to_string(),
        }
    }
}

/// The label of `node` for errors, and the job's zone.
pub(super) fn context_of(
    node: &PlanNode,
    plan: &StreamPlan,
) -> Result<OperatorContext, EngineError> {
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

/// The only input of `node`.
pub(super) fn input_of<'a>(
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
