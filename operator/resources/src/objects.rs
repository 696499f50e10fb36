//! ControllerRevision, ConfigMap, Service and PodDisruptionBudget of a revision.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::ControllerRevision,
        core::v1::{ConfigMap, Service, ServicePort, ServiceSpec},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::LabelSelector, runtime::RawExtension, util::intstr::IntOrString,
    },
};
use streamkeeper_api::names::{SQL_KEY, revision_selector};
use streamkeeper_lifecycle::RevisionRecord;
use streamkeeper_protocol::job_api::{CONTROL_PORT, DATA_PORT, HEALTH_PORT, JOB_API_PORT};

use super::Owner;

/// The content of a revision, kept when its pods are gone: rollback and comparison read it.
pub fn controller_revision(
    owner: &Owner,
    revision: u64,
    record: &RevisionRecord,
) -> ControllerRevision {
    // A record consists of strings, numbers and maps keyed by strings: it always serialises.
    let data = serde_json::to_value(record).unwrap_or_default();
    ControllerRevision {
        metadata: owner.metadata(revision),
        data: Some(RawExtension(data)),
        revision: i64::try_from(revision).unwrap_or(i64::MAX),
    }
}

/// The SQL text, as the pods mount it.
pub fn config_map(owner: &Owner, revision: u64, record: &RevisionRecord) -> ConfigMap {
    ConfigMap {
        metadata: owner.metadata(revision),
        data: Some(BTreeMap::from([(
            SQL_KEY.to_owned(),
            record.content.sql.clone(),
        )])),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

/// Builds the budget for evictions of a revision's pods: one at a time. A single worker may always
/// be evicted, and a pod that is not ready never holds up a drain.
pub fn disruption_budget(owner: &Owner, revision: u64) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: owner.metadata(revision),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            selector: Some(LabelSelector {
                match_labels: Some(revision_selector(&owner.name, revision)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

/// Names of the pods; they resolve before the pods are ready, because workers look for their
/// coordinator then.
pub fn service(owner: &Owner, revision: u64) -> Service {
    let port = |name: &str, port: u16| ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(port),
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    let ports = vec![
        port("api", JOB_API_PORT),
        port("data", DATA_PORT),
        port("control", CONTROL_PORT),
        port("health", HEALTH_PORT),
    ];
    Service {
        metadata: owner.metadata(revision),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(revision_selector(&owner.name, revision)),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
