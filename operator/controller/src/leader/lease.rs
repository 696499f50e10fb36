//! The Lease, read and written. The times in it are for people.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::leader::decision::{Replica, Seen, Terms};
use crate::{
    clock::Clock,
    kube_ext::{ApiError, FIELD_MANAGER, bounded},
};

/// Reads and writes the Lease for one replica. Its client must not be held to the Lease.
#[derive(Clone)]
pub struct LeaseClient {
    api: Api<Lease>,
    name: String,
    replica: Replica,
    clock: Clock,
}

impl std::fmt::Debug for LeaseClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseClient")
            .field("name", &self.name)
            .field("replica", &self.replica)
            .finish_non_exhaustive()
    }
}

impl LeaseClient {
    /// A client of Lease `name` in `namespace` for a replica with this name, in a pod with this uid
    /// if that is known.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        name_of_replica: &str,
        pod_uid: Option<&str>,
        clock: Clock,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            replica: Replica::new(name_of_replica, pod_uid, clock.now().as_millisecond()),
            clock,
        }
    }

    /// Who this replica is in the Lease.
    pub const fn replica(&self) -> &Replica {
        &self.replica
    }

    fn what(&self) -> String {
        format!("Lease {}", self.name)
    }

    /// The Lease as it is.
    pub async fn look(&self) -> Result<Option<Seen>, ApiError> {
        let found = bounded("read", self.what(), self.api.get_opt(&self.name)).await?;
        Ok(found.map(|lease| seen(&lease)))
    }

    /// Writes this replica in as holder, if the Lease is still as it was `seen`.
    pub async fn write(&self, known: Option<&Seen>, terms: &Terms) -> Result<Seen, ApiError> {
        let now = MicroTime(self.clock.now());
        let seconds = i32::try_from(terms.duration.as_secs()).unwrap_or(i32::MAX);
        let Some(known) = known else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(LeaseSpec {
                    acquire_time: Some(now.clone()),
                    holder_identity: Some(self.replica.name.clone()),
                    lease_duration_seconds: Some(seconds),
                    lease_transitions: Some(0),
                    renew_time: Some(now),
                    ..LeaseSpec::default()
                }),
            };
            let params = PostParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            let created = bounded("create", self.what(), self.api.create(&params, &lease)).await?;
            return Ok(seen(&created));
        };
        let mut spec = json!({
            "holderIdentity": self.replica.name, "leaseDurationSeconds": seconds, "renewTime": now,
        });
        if known.holder.as_deref() != Some(self.replica.name.as_str()) {
            spec["acquireTime"] = json!(now);
            spec["leaseTransitions"] = json!(known.transitions.saturating_add(1));
        }
        self.patch(known, spec).await
    }

    /// Gives the Lease back if this replica holds it, so that the next one need not wait.
    pub async fn give_back(&self) {
        let known = match self.look().await {
            Ok(Some(lease)) if lease.holder.as_deref() == Some(self.replica.name.as_str()) => lease,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "the Lease is not given back");
                return;
            }
        };
        let nobody = json!({
            "holderIdentity": null, "acquireTime": null, "leaseDurationSeconds": 1, "renewTime": MicroTime(self.clock.now()),
        });
        match self.patch(&known, nobody).await {
            Ok(_) => tracing::info!("the Lease is given back"),
            Err(error) => tracing::warn!(%error, "the Lease is not given back"),
        }
    }

    async fn patch(&self, known: &Seen, spec: serde_json::Value) -> Result<Seen, ApiError> {
        let patch = json!({ "metadata": { "resourceVersion": known.version }, "spec": spec });
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = bounded(
            "write",
            self.what(),
            self.api.patch(&self.name, &params, &Patch::Merge(patch)),
        )
        .await?;
        Ok(seen(&patched))
    }
}

fn seen(lease: &Lease) -> Seen {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    Seen {
        version: lease.resource_version().unwrap_or_default(),
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration: Duration::from_secs(seconds.unwrap_or(0)),
        transitions: spec.lease_transitions.unwrap_or(0),
    }
}
