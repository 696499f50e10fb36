//! Why a reconcile did not finish, and when to try again.

use std::time::Duration;

use streamkeeper_lifecycle::revision::template::TemplateError;
use streamkeeper_security::SecurityError;

use crate::{coordinator_client::CallError, kube_ext::ApiError};

/// Why a reconcile did not finish.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server did not do something.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A coordinator could not be asked for something; it will be asked again with the same key.
    #[error("cannot ask revision {revision}: {source}")]
    Call {
        /// Which one.
        revision: u64,
        /// Why.
        source: CallError,
    },
    /// A revision's coordinator has no address yet.
    #[error("revision {revision} has no coordinator to ask: pod 0 has no address yet")]
    NoCoordinator {
        /// Which one.
        revision: u64,
    },
    /// Another client made a ControllerRevision of that name with other content.
    #[error("ControllerRevision {name} exists with other content; delete it if it is not yours")]
    ForeignRevision {
        /// Its name.
        name: String,
    },
    /// Another client made a NetworkPolicy of that name.
    #[error(
        "NetworkPolicy {name} exists and was not made for this StreamJob; delete it, or give it another name"
    )]
    ForeignNetworkPolicy {
        /// Its name.
        name: String,
    },
    /// A revision is to be started under a master key that is not here.
    #[error(
        "the revision belongs to the master key {fingerprint}, which this operator does not have; give that key to the operator too (--previous-master-key-file)"
    )]
    NoMasterKey {
        /// Of the key that is missing.
        fingerprint: String,
    },
    /// Keys or certificates could not be made.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The pod template of a revision cannot be read.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The object did not come from an API server.
    #[error("the StreamJob has no uid or namespace")]
    NoIdentity,
}

impl ReconcileError {
    /// What the API server said no to and why, for people; and whether the object is at fault. None
    /// when it may be done the next time.
    pub(crate) fn refusal(&self) -> Option<(String, bool)> {
        let (invalid, forbidden) = match self {
            Self::Api(error) => (error.is_invalid(), error.is_forbidden()),
            Self::ForeignNetworkPolicy { .. } | Self::Template(_) => (true, false),
            // The content of a foreign revision is known a moment later, and shown then.
            Self::ForeignRevision { .. }
            | Self::Call { .. }
            | Self::NoCoordinator { .. }
            | Self::NoMasterKey { .. }
            | Self::Security(_)
            | Self::NoIdentity => (false, false),
        };
        (invalid || forbidden).then(|| (self.to_string(), invalid))
    }
}

impl ReconcileError {
    /// How long the API server asks to be left alone, if it does.
    pub(crate) fn asked_to_wait(&self) -> Duration {
        match self {
            Self::Api(error) => error.retry_after().unwrap_or_default(),
            Self::Call { .. }
            | Self::NoCoordinator { .. }
            | Self::ForeignRevision { .. }
            | Self::ForeignNetworkPolicy { .. }
            | Self::NoMasterKey { .. }
            | Self::Security(_)
            | Self::Template(_)
            | Self::NoIdentity => Duration::ZERO,
        }
    }
}

/// When to try again after the `n`th failure in a row: doubling, at most a minute.
pub(crate) fn retry_after(failures: u32) -> Duration {
    Duration::from_millis(250 << failures.min(8)).min(Duration::from_mins(1))
}
