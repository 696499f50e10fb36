//! What the operator's configuration says about decisions.

use std::time::Duration;

use streamkeeper_api::v1alpha1::{Resources, S3};

use crate::{
    allowed_places::AllowedPlaces,
    revision::{error::RenderError, storage::ResolvedStorage},
};

/// The operator's settings, as far as decisions depend on them.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Image of the runtime for jobs that name none.
    pub image: String,
    /// Storage of jobs that name none.
    pub storage: Option<S3>,
    /// Places beside that storage where the operator may act with its own credentials.
    pub storage_allowed: AllowedPlaces,
    /// Resources of workers that name none.
    pub resources: Option<Resources>,
    /// Fingerprint of the master key under which new revisions get their keys. The operator always
    /// has one; without any, pods get no keys.
    pub master_key: Option<String>,
    /// Whether new revisions talk TLS; without it they show only the token of their job.
    pub tls: bool,
    /// Whether revisions have PodDisruptionBudgets.
    pub disruption_budgets: bool,
    /// How long a node must be lost before its pods are force-deleted.
    pub node_lost_timeout: Duration,
    /// How long an image may fail to be pulled before the revision is given up.
    pub image_pull_grace: Duration,
    /// How long a pod may be unschedulable before the revision is given up.
    pub unschedulable_grace: Duration,
    /// How long a successor may take to claim HEAD after it was named.
    pub hand_over_timeout: Duration,
    /// How long the deletion of a StreamJob may wait for its last checkpoint.
    pub delete_timeout: Duration,
}

impl Settings {
    /// Storage of what names no job and no storage.
    pub fn default_storage(&self) -> Result<ResolvedStorage, RenderError> {
        let storage = self.storage.as_ref().ok_or(RenderError::NoStorage)?;
        ResolvedStorage::resolve(storage, None)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            image: "streamjob-runtime:dev".to_owned(),
            storage: None,
            storage_allowed: AllowedPlaces::default(),
            resources: None,
            master_key: None,
            tls: true,
            disruption_budgets: false,
            node_lost_timeout: Duration::from_secs(20),
            image_pull_grace: Duration::from_secs(20),
            unschedulable_grace: Duration::from_mins(1),
            hand_over_timeout: Duration::from_mins(1),
            delete_timeout: Duration::from_mins(2),
        }
    }
}
