//! Which jobs a snapshot must be kept for.

use streamkeeper_api::v1alpha1::{RestoreFrom, StreamJob};

/// A snapshot: namespace, name, and where its folder is once that is known.
pub type Place<'a> = (&'a str, &'a str, Option<&'a str>);

/// Whether a job is on its way to a snapshot, or is to go to it and could not yet: it is suspended,
/// it is stalled, its turn has not come.
pub fn needs(job: &StreamJob, (namespace, name, folder): Place<'_>) -> bool {
    let status = job.status.as_ref();
    let there = |uri: &String| folder.is_some_and(|folder| is_same(uri, folder));
    let transition = status.and_then(|status| status.transition.as_ref());
    if transition.is_some_and(|transition| transition.restores.as_ref().is_some_and(there)) {
        return true;
    }
    let acted_on = status.and_then(|status| status.restore_from.as_ref());
    let asked = job.spec.restore_from.as_ref().filter(|asked| {
        let done = acted_on.is_some_and(|done| done.value == asked.value());
        !done && job.metadata.deletion_timestamp.is_none()
    });
    // Names are those of one namespace, folders those of a bucket.
    let name = (job.metadata.namespace.as_deref() == Some(namespace)).then_some(name);
    asked.is_some_and(|asked| is_named(asked, name, folder))
}

/// Whether this is the snapshot that `spec.restoreFrom` names.
pub(crate) fn is_named(asked: &RestoreFrom, name: Option<&str>, folder: Option<&str>) -> bool {
    let by_name = asked.snapshot_ref.as_ref().zip(name);
    let by_folder = asked.uri.as_ref().zip(folder);
    by_name.is_some_and(|(asked, name)| asked.name == name)
        || by_folder.is_some_and(|(asked, folder)| is_same(asked, folder))
}

/// Whether two URIs name one folder.
fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
