//! A pod template of a user and the worker of the operator, merged into one pod.
//!
//! By name: containers, volumes, variables; by path: mounts; by field: security contexts. What the
//! template says wins over defaults; what belongs to the operator was refused when the job was
//! planned (see `lifecycle::revision::template`).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec, Volume, VolumeMount};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use streamkeeper_api::names::CONTAINER;

/// Merges the template of a user with a pod of the operator that consists of nothing but the
/// worker.
pub(super) fn merge(template: PodSpec, own: PodSpec) -> PodSpec {
    let (mine, others): (Vec<Container>, Vec<Container>) = template
        .containers
        .into_iter()
        .partition(|container| container.name == CONTAINER);
    let changes = mine.into_iter().next().unwrap_or_default();
    let workers = own
        .containers
        .into_iter()
        .map(|container| worker(container, changes.clone()));
    PodSpec {
        // The worker is the first: kubectl logs and exec mean it.
        containers: workers.chain(others).collect(),
        volumes: Some(volumes(
            own.volumes.unwrap_or_default(),
            template.volumes.unwrap_or_default(),
        )),
        security_context: overlay(own.security_context, template.security_context),
        topology_spread_constraints: template
            .topology_spread_constraints
            .map(|mut all| {
                let selector = own.topology_spread_constraints.iter().flatten().next();
                let selector = selector.and_then(|own| own.label_selector.clone());
                for constraint in &mut all {
                    let given = constraint.label_selector.take();
                    constraint.label_selector = given.or_else(|| selector.clone());
                }
                all
            })
            .filter(|all| !all.is_empty())
            .or(own.topology_spread_constraints),
        termination_grace_period_seconds: template
            .termination_grace_period_seconds
            .or(own.termination_grace_period_seconds),
        image_pull_secrets: template.image_pull_secrets.or(own.image_pull_secrets),
        tolerations: own.tolerations,
        service_account_name: own.service_account_name,
        automount_service_account_token: own.automount_service_account_token,
        enable_service_links: own.enable_service_links,
        ..template
    }
}

fn worker(own: Container, changes: Container) -> Container {
    let env_from: Vec<_> = own
        .env_from
        .into_iter()
        .chain(changes.env_from)
        .flatten()
        .collect();
    Container {
        env: Some(variables(
            own.env.unwrap_or_default(),
            changes.env.unwrap_or_default(),
        )),
        env_from: (!env_from.is_empty()).then_some(env_from),
        volume_mounts: Some(mounts(
            own.volume_mounts.unwrap_or_default(),
            changes.volume_mounts.unwrap_or_default(),
        )),
        volume_devices: changes.volume_devices,
        security_context: overlay(own.security_context, changes.security_context),
        image_pull_policy: changes.image_pull_policy.or(own.image_pull_policy),
        lifecycle: changes.lifecycle,
        resize_policy: changes.resize_policy,
        ..own
    }
}

/// What the operator and `spec.env` say, after what only the template says: a later variable can
/// refer to an earlier one.
fn variables(own: Vec<EnvVar>, template: Vec<EnvVar>) -> Vec<EnvVar> {
    let taken: BTreeSet<String> = own.iter().map(|variable| variable.name.clone()).collect();
    let template = template
        .into_iter()
        .filter(|variable| !taken.contains(&variable.name));
    template
        .collect::<Vec<_>>()
        .into_iter()
        .chain(own)
        .collect()
}

fn volumes(own: Vec<Volume>, template: Vec<Volume>) -> Vec<Volume> {
    let replaced: BTreeSet<String> = template.iter().map(|volume| volume.name.clone()).collect();
    own.into_iter()
        .filter(|volume| !replaced.contains(&volume.name))
        .chain(template)
        .collect()
}

fn mounts(own: Vec<VolumeMount>, template: Vec<VolumeMount>) -> Vec<VolumeMount> {
    let taken: BTreeSet<String> = own.iter().map(|mount| mount.mount_path.clone()).collect();
    let template = template
        .into_iter()
        .filter(|mount| !taken.contains(&mount.mount_path));
    let template: Vec<VolumeMount> = template.collect();
    own.into_iter().chain(template).collect()
}

/// Lays the fields that `changes` sets over those of `base`.
fn overlay<T: Serialize + DeserializeOwned>(base: Option<T>, changes: Option<T>) -> Option<T> {
    let (Some(base), Some(changes)) = (&base, &changes) else {
        return changes.or(base);
    };
    let mut merged = serde_json::to_value(base).ok()?;
    lay(&mut merged, serde_json::to_value(changes).ok()?);
    serde_json::from_value(merged).ok()
}

fn lay(base: &mut Value, changes: Value) {
    match (base, changes) {
        (Value::Object(base), Value::Object(changes)) => {
            for (name, value) in changes {
                lay(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, changes) => *base = changes,
    }
}
