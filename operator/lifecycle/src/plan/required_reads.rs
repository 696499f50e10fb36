//! What an observer has to find out before it asks for a plan.

use streamkeeper_api::{
    condition,
    v1alpha1::{Step, StreamJob, Transition, TransitionKind},
};

use crate::plan::plan_builder::call_key;

/// What an observer has to find out before it calls [`plan`](crate::plan()); what is not asked for
/// may stay [`Unknown`](crate::Unknown).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredReads {
    /// Whether HEAD must be read from storage.
    pub head: bool,
    /// Revision whose preflight is wanted, and the folder of the snapshot that it is to start from,
    /// if it is.
    pub preflight: Option<(u64, Option<String>)>,
    /// Revision and idempotency key of an operation whose result is wanted.
    pub operation: Option<(u64, String)>,
}

/// What has to be found out for this job. Reports are always wanted, of every revision that has
/// pods.
pub fn required_reads(job: &StreamJob) -> RequiredReads {
    let status = job.status.as_ref();
    let transition = status.and_then(|status| status.transition.as_ref());
    // A job that runs as asked says all there is to know itself; of one that is suspended or
    // completed the status knows it.
    let settled = status
        .and_then(|status| condition::get(&status.conditions, condition::kind::READY))
        .is_some_and(|ready| {
            ready.status == "True"
                && match ready.reason.as_str() {
                    "Running" | "Completed" => !job.spec.suspend,
                    "Suspended" => job.spec.suspend,
                    _ => false,
                }
        });
    let deleting = job.metadata.deletion_timestamp.is_some();
    RequiredReads {
        head: transition.is_some() || !settled || deleting,
        preflight: transition
            .filter(|transition| {
                matches!(
                    transition.step,
                    Step::Preparing | Step::HandingOver | Step::Promoting
                )
            })
            .and_then(|transition| Some((transition.to?, transition.restores.clone()))),
        operation: transition.and_then(asked_operation),
    }
}

/// Revision and key of the call that a transition has made, or is about to make.
fn asked_operation(transition: &Transition) -> Option<(u64, String)> {
    let (revision, verb) = match (transition.kind, transition.step) {
        (TransitionKind::Upgrade, Step::HandingOver) => (transition.from?, "handover".to_owned()),
        (TransitionKind::Rescale, Step::Moving) => (transition.to?, "rescale".to_owned()),
        (TransitionKind::Suspend | TransitionKind::Delete, Step::Stopping) => {
            (transition.from?, format!("stop-{}", transition.from?))
        }
        (
            _,
            Step::Preparing
            | Step::HandingOver
            | Step::Promoting
            | Step::Verifying
            | Step::Retiring
            | Step::Scaling
            | Step::Moving
            | Step::Shrinking
            | Step::Stopping
            | Step::Removing,
        ) => return None,
    };
    Some((revision, call_key(transition, &verb)))
}
