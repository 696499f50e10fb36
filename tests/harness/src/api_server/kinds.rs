//! The kinds that this API server serves. Anything else is a 404, as on a cluster without that API.

/// A served kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Plural name, as in paths.
    pub plural: &'static str,
    /// Kind, as in objects.
    pub kind: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether it has a status subresource.
    pub status: bool,
    /// Whether `metadata.generation` counts changes of what is neither metadata nor status.
    pub generation: bool,
}

impl Kind {
    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether a CRD defines it.
    pub fn is_custom(&self) -> bool {
        self.group == STREAM_JOBS.group
    }

    /// `pods`, `apps/statefulsets`: how calls name it.
    pub fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}/{}", self.group, self.plural)
        }
    }
}

const fn kind(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
) -> Kind {
    Kind {
        group,
        version,
        plural,
        kind,
        namespaced: true,
        status: false,
        generation: false,
    }
}

pub static STREAM_JOBS: Kind = Kind {
    status: true,
    generation: true,
    ..kind("streamkeeper.dev", "v1alpha1", "streamjobs", "StreamJob")
};
pub static STREAM_SNAPSHOTS: Kind = Kind {
    status: true,
    generation: true,
    ..kind(
        "streamkeeper.dev",
        "v1alpha1",
        "streamsnapshots",
        "StreamSnapshot",
    )
};
pub static PODS: Kind = Kind {
    status: true,
    ..kind("", "v1", "pods", "Pod")
};
pub static NODES: Kind = Kind {
    status: true,
    namespaced: false,
    ..kind("", "v1", "nodes", "Node")
};
pub static SERVICES: Kind = kind("", "v1", "services", "Service");
pub static CONFIG_MAPS: Kind = kind("", "v1", "configmaps", "ConfigMap");
pub static SECRETS: Kind = kind("", "v1", "secrets", "Secret");
pub static STATEFUL_SETS: Kind = Kind {
    status: true,
    generation: true,
    ..kind("apps", "v1", "statefulsets", "StatefulSet")
};
pub static CONTROLLER_REVISIONS: Kind =
    kind("apps", "v1", "controllerrevisions", "ControllerRevision");
pub static NETWORK_POLICIES: Kind = Kind {
    generation: true,
    ..kind(
        "networking.k8s.io",
        "v1",
        "networkpolicies",
        "NetworkPolicy",
    )
};
pub static DISRUPTION_BUDGETS: Kind = Kind {
    status: true,
    generation: true,
    ..kind(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
    )
};
pub static EVENTS: Kind = kind("events.k8s.io", "v1", "events", "Event");

pub static LEASES: Kind = kind("coordination.k8s.io", "v1", "leases", "Lease");

/// Every served kind.
pub static KINDS: [&Kind; 13] = [
    &STREAM_JOBS,
    &STREAM_SNAPSHOTS,
    &PODS,
    &NODES,
    &SERVICES,
    &CONFIG_MAPS,
    &SECRETS,
    &STATEFUL_SETS,
    &CONTROLLER_REVISIONS,
    &NETWORK_POLICIES,
    &DISRUPTION_BUDGETS,
    &EVENTS,
    &LEASES,
];
