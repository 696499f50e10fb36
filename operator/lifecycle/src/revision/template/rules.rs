//! What of a pod belongs to the operator, and the field to write instead.
//!
//! Refused is what the job would break by: names that workers find each other by, the process and
//! the ports of the worker, how it is stopped and asked. What makes a pod powerful (host paths,
//! privileged sidecars, another user) is not the operator's to judge: a user who may create
//! StreamJobs may start pods in that namespace, within what Pod Security admission lets a pod be.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::Value;
use streamkeeper_api::names::{CONTAINER, GROUP};
use streamkeeper_protocol::job_api::{CONTROL_PORT, DATA_PORT, HEALTH_PORT, JOB_API_PORT};

use crate::revision::template::{TemplateError, memory};

/// Fields of a pod that the operator sets, and what to do instead.
const OF_THE_POD: [(&str, &str); 12] = [
    (
        "hostname",
        "workers find each other by the names that their StatefulSet gives them; remove it",
    ),
    (
        "subdomain",
        "workers find each other by the names that their StatefulSet gives them; remove it",
    ),
    (
        "setHostnameAsFQDN",
        "workers find each other by the names that their StatefulSet gives them; remove it",
    ),
    (
        "hostNetwork",
        "the ports of a worker are fixed and the NetworkPolicy of a job covers pods only; remove it",
    ),
    (
        "restartPolicy",
        "a worker always restarts in its place; set spec.restart for the job's own restarts",
    ),
    ("serviceAccountName", "set spec.serviceAccountName"),
    ("serviceAccount", "set spec.serviceAccountName"),
    (
        "automountServiceAccountToken",
        "a worker does not talk to the API server; mount a projected volume with a serviceAccountToken where one is needed",
    ),
    (
        "nodeName",
        "a pod that is bound to a node cannot move when the node is lost; use nodeSelector or affinity",
    ),
    (
        "enableServiceLinks",
        "variables of Services could replace those of the worker; set what is needed in spec.env",
    ),
    (
        "activeDeadlineSeconds",
        "a worker has no end; suspend or delete the StreamJob instead",
    ),
    (
        "ephemeralContainers",
        "they are added to a pod that runs; use kubectl debug",
    ),
];

/// Fields of the worker's container that a template may set.
const OF_THE_WORKER: [&str; 9] = [
    "name",
    "env",
    "envFrom",
    "volumeMounts",
    "volumeDevices",
    "securityContext",
    "imagePullPolicy",
    "lifecycle",
    "resizePolicy",
];

/// What to do instead, for the fields of the worker's container that are asked for most.
const INSTEAD: [(&str, &str); 5] = [
    ("image", "set spec.image"),
    ("resources", "set spec.workers.resources"),
    (
        "ports",
        "its ports are fixed; open others in a sidecar container",
    ),
    (
        "command",
        "the operator says what the worker runs; put other programs into sidecar or init containers",
    ),
    (
        "args",
        "the operator says what the worker runs; put other programs into sidecar or init containers",
    ),
];

/// Volumes of the operator whose content is not the user's.
const VOLUMES: [&str; 3] = ["sql", "keys", "ca-bundle"];
/// Folders of the operator in the worker.
const FOLDERS: [&str; 4] = [
    "/etc/streamjob",
    "/etc/streamjob-tls",
    "/etc/streamjob-token",
    "/etc/streamjob-ca",
];
/// Labels that say what a pod is.
const LABELS: [&str; 5] = [
    "app.kubernetes.io/name",
    "app.kubernetes.io/component",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/part-of",
];
/// The least grace period, in seconds, in which a final checkpoint has a chance.
const LEAST_GRACE: i64 = 10;

type Checked = Result<(), TemplateError>;

/// Whether a key is written, with a value.
fn is_set(value: &Value, field: &str) -> bool {
    value.get(field).is_some_and(|value| !value.is_null())
}

/// Refuses metadata that is not labels and annotations, and labels that are the operator's.
pub(super) fn of_metadata(written: Option<&Value>, path: &str) -> Checked {
    let fields = written.and_then(Value::as_object).into_iter().flatten();
    for (name, value) in fields {
        let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        if empty || name == "annotations" {
            continue;
        }
        if name != "labels" {
            return Err(TemplateError::at(
                format!("{path}.{name}"),
                "it belongs to the operator: a template gives labels and annotations to its pods; remove it",
            ));
        }
        let labels = value.as_object().into_iter().flatten();
        for (label, _) in labels {
            let domain = label.split_once('/').map(|(domain, _)| domain);
            if domain == Some(GROUP) || LABELS.contains(&label.as_str()) {
                return Err(TemplateError::at(
                    format!("{path}.labels.{label}"),
                    "it belongs to the operator, which finds the pods by it; use a label of another name",
                ));
            }
        }
    }
    Ok(())
}

/// Refuses what of a pod belongs to the operator.
pub(super) fn of_pod(written: &Value, pod: &PodSpec, path: &str) -> Checked {
    for (field, instead) in OF_THE_POD {
        if is_set(written, field) {
            return Err(belongs(&format!("{path}.{field}"), instead));
        }
    }
    if let Some(seconds) = pod.termination_grace_period_seconds
        && seconds < LEAST_GRACE
    {
        return Err(TemplateError::at(
            format!("{path}.terminationGracePeriodSeconds"),
            format!("a final checkpoint takes time; write {LEAST_GRACE} or more"),
        ));
    }
    for (at, volume) in pod.volumes.iter().flatten().enumerate() {
        let path = format!("{path}.volumes[{at}]");
        if VOLUMES.contains(&volume.name.as_str()) {
            return Err(belongs(
                &format!("{path}.name"),
                "that volume holds what the worker starts with; choose another name",
            ));
        }
        is_unique(
            &path,
            &volume.name,
            pod.volumes.iter().flatten().take(at).map(|one| &one.name),
        )?;
    }
    let init = pod.init_containers.iter().flatten();
    let names: Vec<&String> = pod
        .containers
        .iter()
        .chain(init.clone())
        .map(|container| &container.name)
        .collect();
    for (at, container) in pod.containers.iter().enumerate() {
        let path = format!("{path}.containers[{at}]");
        is_unique(&path, &container.name, names.iter().take(at).copied())?;
        if container.name == CONTAINER {
            of_worker(&written["containers"][at], container, &path)?;
        } else {
            of_sidecar(container, &path)?;
        }
    }
    for (at, container) in init.enumerate() {
        let path = format!("{path}.initContainers[{at}]");
        let before = names.iter().take(pod.containers.len() + at).copied();
        is_unique(&path, &container.name, before)?;
        if container.name == CONTAINER {
            return Err(belongs(
                &format!("{path}.name"),
                "that is the name of the worker's container; choose another one",
            ));
        }
        of_sidecar(container, &path)?;
    }
    Ok(())
}

fn belongs(path: &str, instead: &str) -> TemplateError {
    TemplateError::at(path, format!("it belongs to the operator: {instead}"))
}

fn is_unique<'a>(path: &str, name: &str, mut before: impl Iterator<Item = &'a String>) -> Checked {
    let path = format!("{path}.name");
    if name.is_empty() {
        return Err(TemplateError::at(path, "it is missing; write a name"));
    }
    if before.any(|other| other == name) {
        return Err(TemplateError::at(
            path,
            format!("`{name}` is there twice; write each name once"),
        ));
    }
    Ok(())
}

fn of_worker(written: &Value, container: &Container, path: &str) -> Checked {
    for (field, value) in written.as_object().into_iter().flatten() {
        if value.is_null() || OF_THE_WORKER.contains(&field.as_str()) {
            continue;
        }
        let instead = INSTEAD.iter().find(|(name, _)| name == field);
        let instead = instead.map_or_else(
            || {
                format!(
                    "of the container `{CONTAINER}` a template may set {}",
                    OF_THE_WORKER.join(", ")
                )
            },
            |(_, instead)| (*instead).to_owned(),
        );
        return Err(belongs(&format!("{path}.{field}"), &instead));
    }
    for (at, variable) in container.env.iter().flatten().enumerate() {
        if variable.name.starts_with("STREAMKEEPER_") {
            return Err(belongs(
                &format!("{path}.env[{at}].name"),
                "variables that start with STREAMKEEPER_ configure the worker; choose another name",
            ));
        }
    }
    for (at, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let folder = mount.mount_path.trim_end_matches('/');
        let above = |own: &str| {
            folder == own
                || own
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.starts_with('/'))
                || folder
                    .strip_prefix(own)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        if FOLDERS.iter().any(|own| above(own)) {
            return Err(belongs(
                &format!("{path}.volumeMounts[{at}].mountPath"),
                "the worker finds its query and its keys there; mount it elsewhere",
            ));
        }
        if folder == "/tmp" {
            return Err(belongs(
                &format!("{path}.volumeMounts[{at}].mountPath"),
                "the worker writes there; give the volume `tmp` another source instead",
            ));
        }
    }
    Ok(())
}

fn of_sidecar(container: &Container, path: &str) -> Checked {
    if container.image.as_ref().is_none_or(String::is_empty) {
        return Err(TemplateError::at(
            format!("{path}.image"),
            format!(
                "it is missing; write the image of the sidecar, or name the container `{CONTAINER}` if the worker's own is meant"
            ),
        ));
    }
    for (at, port) in container.ports.iter().flatten().enumerate() {
        let taken = [DATA_PORT, CONTROL_PORT, JOB_API_PORT, HEALTH_PORT];
        if taken
            .iter()
            .any(|own| i32::from(*own) == port.container_port)
        {
            return Err(TemplateError::at(
                format!("{path}.ports[{at}].containerPort"),
                format!(
                    "the worker listens on {} in the same pod; choose another port",
                    port.container_port
                ),
            ));
        }
    }
    let resources = container.resources.as_ref();
    for (list, name) in [
        (resources.and_then(|all| all.requests.as_ref()), "requests"),
        (resources.and_then(|all| all.limits.as_ref()), "limits"),
    ] {
        if let Some(why) = list.and_then(memory::fault) {
            return Err(TemplateError::at(format!("{path}.resources.{name}"), why));
        }
    }
    Ok(())
}
