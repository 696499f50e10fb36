//! The faults that a test gives to a coordinator.

use std::time::Duration;

use streamkeeper_protocol::job_api::{JobError, PreflightVerdict};

use super::kubelet::Exit;

/// What happens in the pods of a revision. The default is a job without problems.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct Script {
    /// The image cannot be pulled.
    pub missing_image: bool,
    /// What the preflight finds instead of a fitting plan and state.
    pub preflight: Option<(PreflightVerdict, String)>,
    /// How long the preflight takes.
    pub preflight_takes: Duration,
    /// Whether that of a savepoint gets on meanwhile: a byte a second.
    pub preflight_gets_on: bool,
    /// The process ends like this as soon as it starts.
    pub crash_at_start: Option<Exit>,
    /// The process ends like this once records flow.
    pub crash_once_running: Option<Exit>,
    /// Every attempt fails for this reason, with this message; without a reason no user is asked
    /// for help.
    pub fails_with: Option<(&'static str, &'static str)>,
    /// No checkpoint of the schedule completes.
    pub no_checkpoints: bool,
    /// All input was read after a few seconds.
    pub input_ends: bool,
    /// No record comes in.
    pub no_input: bool,
    /// Why the final checkpoint of a hand-over, a stop or a rescale fails.
    pub final_checkpoint_fails: Option<String>,
    /// The process ends like this once HEAD names the savepoint of a stop, before it is copied.
    pub dies_saving_for_stop: Option<Exit>,
    /// Why a savepoint beside the running job fails.
    pub savepoint_fails: Option<String>,
    /// Checkpoints, and savepoints beside the running job, never get done.
    pub checkpoints_hang: bool,
    /// How long a savepoint beside the running job is copied.
    pub savepoint_takes: Duration,
    /// The Job API is not answered.
    pub deaf: bool,
    /// What the coordinator cannot go on with.
    pub error: Option<JobError>,
}

impl Script {
    /// SQL that does not compile.
    pub fn invalid_sql(message: &str) -> Self {
        Self {
            preflight: Some((PreflightVerdict::InvalidSql, message.to_owned())),
            ..Self::default()
        }
    }

    /// State that does not fit.
    pub fn incompatible(message: &str) -> Self {
        Self {
            preflight: Some((PreflightVerdict::Incompatible, message.to_owned())),
            ..Self::default()
        }
    }
}
