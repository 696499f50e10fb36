//! Names, labels and annotations of everything that belongs to a job. The only place that builds
//! one.

use std::collections::BTreeMap;

/// API group, label domain and annotation domain.
pub const GROUP: &str = "streamkeeper.dev";
/// Finalizer of a StreamJob; present from the first reconcile until its state is released.
pub const FINALIZER: &str = "streamkeeper.dev/state";
/// Label: name of the StreamJob.
pub const JOB_LABEL: &str = "streamkeeper.dev/job";
/// Label: revision number.
pub const REVISION_LABEL: &str = "streamkeeper.dev/revision";
/// Label: engine.
pub const ENGINE_LABEL: &str = "streamkeeper.dev/engine";
/// Label: `worker`.
pub const ROLE_LABEL: &str = "streamkeeper.dev/role";
/// Annotation of a StreamJob: a new value makes a new revision with the same content.
pub const RESTARTED_AT: &str = "streamkeeper.dev/restartedAt";
/// Annotation of a StreamJob: uid of a StreamJob that is gone although its state does not say so; a
/// person confirms with it that nothing of it runs any more.
pub const TAKE_OVER: &str = "streamkeeper.dev/take-over";
/// Annotation of a StreamSnapshot: a new value has all its objects read and their checksums
/// compared again.
pub const VERIFY: &str = "streamkeeper.dev/verify";
/// Label of a StreamSnapshot: what it was taken for (`Schedule`, `Upgrade`, `Rescale`, `Suspend`,
/// `Delete`); none means that a person made it.
pub const TRIGGER_LABEL: &str = "streamkeeper.dev/trigger";
/// Label of a StreamSnapshot that the operator took: uid of the StreamJob. Another job of that name
/// does not drop it.
pub const JOB_UID_LABEL: &str = "streamkeeper.dev/job-uid";
/// Finalizer of a StreamSnapshot whose folder is removed with it.
pub const SNAPSHOT_FINALIZER: &str = "streamkeeper.dev/snapshot";
/// Value of `app.kubernetes.io/managed-by`, and the field manager of everything the operator
/// writes.
pub const MANAGER: &str = "streamkeeper";
/// Longest name of a StreamJob: `{job}-r{n}-{ordinal}` must be a DNS label, with the controller
/// hash that a StatefulSet adds.
pub const JOB_NAME_LIMIT: usize = 40;
/// Name of the container that runs the job.
pub const CONTAINER: &str = "streamjob";
/// Key of the SQL text in a revision's ConfigMap, and its file name in the pod.
pub const SQL_KEY: &str = "job.sql";

/// Name of a revision's StatefulSet, Service, ConfigMap and ControllerRevision.
pub fn revision_name(job: &str, revision: u64) -> String {
    format!("{job}-r{revision}")
}

/// Name of the Secret with a job's keys. `tag` follows from those keys: no other client knows the
/// name before the operator has used it, so a Secret of that name is the operator's own and need
/// not be looked at.
pub fn keys_name(job: &str, tag: &str) -> String {
    format!("{job}-tls-{tag}")
}

/// Name of a pod of a revision.
pub fn pod_name(job: &str, revision: u64, ordinal: u32) -> String {
    format!("{}-{ordinal}", revision_name(job, revision))
}

/// DNS name of a pod of a revision within its namespace, resolvable before it is ready.
pub fn pod_address(job: &str, namespace: &str, revision: u64, ordinal: u32) -> String {
    format!(
        "{}.{}.{namespace}.svc",
        pod_name(job, revision, ordinal),
        revision_name(job, revision)
    )
}

/// Labels that select the workers of one revision.
pub fn revision_selector(job: &str, revision: u64) -> BTreeMap<String, String> {
    BTreeMap::from([
        (JOB_LABEL.to_owned(), job.to_owned()),
        (REVISION_LABEL.to_owned(), revision.to_string()),
        (ROLE_LABEL.to_owned(), "worker".to_owned()),
    ])
}

/// [`revision_selector`] as a label selector string.
pub fn revision_selector_text(job: &str, revision: u64) -> String {
    revision_selector(job, revision)
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// Name of a job's NetworkPolicy, one for all its revisions.
pub fn network_policy_name(job: &str) -> String {
    format!("{job}-workers")
}

/// Labels that select the workers of all revisions of a job.
pub fn worker_selector(job: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (JOB_LABEL.to_owned(), job.to_owned()),
        (ROLE_LABEL.to_owned(), "worker".to_owned()),
    ])
}

/// Labels of what belongs to a job and to none of its revisions.
pub fn job_labels(job: &str) -> BTreeMap<String, String> {
    [
        (JOB_LABEL, job),
        ("app.kubernetes.io/name", "streamjob"),
        ("app.kubernetes.io/managed-by", MANAGER),
        ("app.kubernetes.io/part-of", MANAGER),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Labels of every child of one revision.
pub fn child_labels(job: &str, revision: u64, version: &str) -> BTreeMap<String, String> {
    let mut labels = revision_selector(job, revision);
    for (key, value) in [
        ("app.kubernetes.io/name", "streamjob"),
        ("app.kubernetes.io/component", "worker"),
        ("app.kubernetes.io/managed-by", MANAGER),
        ("app.kubernetes.io/part-of", MANAGER),
        ("app.kubernetes.io/version", version),
        (ENGINE_LABEL, "native"),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}
