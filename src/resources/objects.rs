//! ControllerRevision, ConfigMap and Service of a revision.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::ControllerRevision,
        core::v1::{ConfigMap, Service, ServicePort, ServiceSpec},
    },
    apimachinery::pkg::{runtime::RawExtension, util::intstr::IntOrString},
};
use streamkeeper_protocol::job_api::{CONTROL_PORT, DATA_PORT, HEALTH_PORT, JOB_API_PORT};

use super::Owner;
use crate::{
    api::names::{SQL_KEY, revision_selector},
    lifecycle::RevisionRecord,
};

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

/// Names of the pods; they resolve before the pods are ready, because workers look for their coordinator then.
pub fn service(owner: &Owner, revision: u64, record: &RevisionRecord) -> Service {
    let port = |name: &str, port: u16| ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(port),
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    let mut ports = vec![
        port("api", JOB_API_PORT),
        port("data", DATA_PORT),
        port("control", CONTROL_PORT),
    ];
    if record.tls.is_some() {
        ports.push(port("health", HEALTH_PORT));
    }
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
