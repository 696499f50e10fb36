//! Negative control of the crash plans: an operator that acts before it has written down what it
//! does. The test must see that the next operator cannot go on.

use streamkeeper_lifecycle::{Input, Plan, plan};

use crate::{context::shared::Context, jobs::execute::execute, reconcile::error::ReconcileError};

#[cfg(not(debug_assertions))]
compile_error!(
    "the feature test-acts-first takes a guard out of the operator: it is for tests only"
);

const SWITCH: &str = "STREAMKEEPER_TEST_ACTS_FIRST";

/// Does at once what is planned, and what would be planned next if the status were written; what is
/// left of the plan is the status. Does nothing unless it is switched on.
pub(crate) async fn act(
    input: &Input<'_>,
    planned: Plan,
    context: &Context,
) -> Result<Plan, ReconcileError> {
    if !std::env::var(SWITCH).is_ok_and(|value| value == "1") {
        return Ok(planned);
    }
    let mut next = planned;
    if next.actions.is_empty() {
        let mut job = input.job.clone();
        job.status = Some(next.status);
        next = plan(&Input {
            job: &job,
            ..*input
        });
    }
    for action in std::mem::take(&mut next.actions) {
        execute(&action, input.job, context).await?;
    }
    Ok(next)
}
