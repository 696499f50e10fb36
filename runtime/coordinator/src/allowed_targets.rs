//! What a call may name: a folder among the job's own savepoints, a successor within reach, an
//! address of the job's own pods. Pure.
//!
//! A caller that has the token of the job, or of another part of it, still cannot make the
//! coordinator write or call elsewhere.

use std::net::SocketAddr;

use streamkeeper_protocol::{
    job_api::{HandOverRequest, JOB_API_PORT},
    paths::StatePaths,
};
use streamkeeper_storage::ObjectStore;

use crate::{commands::Refusal, config::JobIdentity};

/// Revisions by which a successor may be ahead of the revision that runs.
///
/// The operator numbers every change that needs new pods, also those that were replaced before they
/// ran, so the successor need not be the next number. A number at the end of the range would leave
/// none for what follows.
pub(crate) const REACH: u64 = 1_000;
/// Longest name of a savepoint: that of a StreamSnapshot with a part of its uid.
const NAME_LIMIT: usize = 300;

/// The folder of a savepoint, when it is a folder right below the job's own `savepoints/`.
pub(crate) fn savepoint(paths: &StatePaths, folder: &str) -> Result<(), Refusal> {
    let own = paths.savepoint("");
    let name = folder.strip_prefix(&own).unwrap_or_default();
    let is_name = (1..=NAME_LIMIT).contains(&name.len())
        && !name.starts_with('.')
        && name.chars().all(is_plain);
    if is_name {
        return Ok(());
    }
    Err(Refusal::bad_request(&format!(
        "'{folder}' is no folder for a savepoint of this job: it must be {own} and a name of letters, digits, '-', '_' and '.', which does not begin with '.'"
    )))
}

/// The name of a savepoint that was given only the key of its call: keys are free text, names are
/// not.
pub(crate) fn savepoint_name(key: &str) -> String {
    let first = |(at, c): (usize, char)| at == 0 && c == '.';
    key.char_indices()
        .map(|(at, c)| {
            if is_plain(c) && !first((at, c)) {
                c
            } else {
                '-'
            }
        })
        .collect()
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Whether the job may be handed to the revision that the call names, and that revision be told at
/// the address it names.
pub(crate) fn hand_over(
    job: &JobIdentity,
    on_loopback: bool,
    request: &HandOverRequest,
) -> Result<(), Refusal> {
    let (revision, to) = (job.revision, request.to_revision);
    if to <= revision {
        let message = format!("revision {to} cannot follow revision {revision}");
        return Err(Refusal::new("WrongRevision", message));
    }
    if to - revision > REACH {
        let message = format!(
            "revision {to} cannot follow revision {revision}: a successor is at most {REACH} revisions ahead"
        );
        return Err(Refusal::new("WrongRevision", message));
    }
    let Some(address) = &request.to_address else {
        return Ok(());
    };
    let JobIdentity {
        name, namespace, ..
    } = job;
    let own = format!("{name}-r{to}-0.{name}-r{to}.{namespace}.svc:{JOB_API_PORT}");
    let on_this_host = on_loopback
        && address
            .parse::<SocketAddr>()
            .is_ok_and(|address| address.ip().is_loopback());
    if *address == own || on_this_host {
        return Ok(());
    }
    Err(Refusal::bad_request(&format!(
        "to_address '{address}' is not the address of revision {to} of this job, which is {own}"
    )))
}

/// Returns the folder that a savepoint goes to: one of the job's own savepoints.
pub(crate) fn savepoint_folder(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    key: &str,
    uri: Option<&str>,
) -> Result<String, Refusal> {
    let Some(uri) = uri else {
        return Ok(paths.savepoint(&savepoint_name(key)));
    };
    let folder = folder_of(store, uri)?;
    savepoint(paths, &folder)?;
    Ok(folder)
}

/// Returns the URI of a folder in the job's bucket.
pub(crate) fn full_uri(store: &dyn ObjectStore, folder: &str) -> String {
    format!("{}/{folder}", store.describe())
}

/// Returns the folder of the job's bucket that a URI, or a key in it, names.
pub(crate) fn folder_of(store: &dyn ObjectStore, uri: &str) -> Result<String, Refusal> {
    let bucket = store.describe();
    let folder = match uri.strip_prefix(&bucket) {
        // Another bucket's name may begin with this one's.
        Some(rest) if rest.starts_with('/') => rest,
        _ if uri.contains("://") => {
            let message = format!("'{uri}' is not in {bucket}: savepoints lie in the job's bucket");
            return Err(Refusal::bad_request(&message));
        }
        _ => uri,
    };
    let folder = folder.trim_matches('/');
    if folder.is_empty()
        || folder
            .split('/')
            .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return Err(Refusal::bad_request(&format!(
            "'{uri}' is not the name of a folder in {bucket}"
        )));
    }
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use streamkeeper_storage::{S3Store, StorageConfig};

    use super::*;

    fn job() -> JobIdentity {
        JobIdentity {
            namespace: "flights".to_owned(),
            name: "delays".to_owned(),
            uid: "4c1f".to_owned(),
            revision: 7,
            pod: String::new(),
        }
    }

    fn request(to_revision: u64, to_address: Option<&str>) -> HandOverRequest {
        HandOverRequest {
            key: "a".to_owned(),
            to_revision,
            to_address: to_address.map(str::to_owned),
        }
    }

    #[test]
    fn a_savepoint_stays_among_the_jobs_own() {
        let paths = StatePaths::new("state", "flights", "delays");
        for folder in [
            "state/flights/delays/savepoints/monday-1a2b3c4d",
            "state/flights/delays/savepoints/a.b_c",
        ] {
            assert_eq!(savepoint(&paths, folder), Ok(()), "{folder}");
        }
        for folder in [
            "",
            "state/flights/delays/savepoints",
            "state/flights/delays/savepoints/",
            "state/flights/delays/savepoints/..",
            "state/flights/delays/savepoints/.",
            "state/flights/delays/savepoints/../../victim/savepoints/a",
            "state/flights/delays/savepoints/a/../../HEAD.json",
            "state/flights/delays/savepoints//a",
            "state/flights/delays/savepoints/a/b",
            "state/flights/delays/savepoints/%2e%2e",
            "state/flights/delays/savepoints/a b",
            "state/flights/delays/savepoints/a\\b",
            "state/flights/delays/savepoints/a?b",
            "state/flights/delays/chk",
            "state/flights/delays",
            "state/flights/delays2/savepoints/a",
            "state/victim/delays/savepoints/a",
            "flights/delays/savepoints/a",
        ] {
            assert!(savepoint(&paths, folder).is_err(), "{folder}");
        }
    }

    #[test]
    fn whatever_the_key_of_a_call_is_its_savepoint_stays_among_the_jobs_own() {
        let paths = StatePaths::new("state", "flights", "delays");
        for key in [
            "a", ".", "..", "../../x", "%2e%2e", "a/b", ".hidden", "\u{e9}",
        ] {
            let folder = paths.savepoint(&savepoint_name(key));
            assert_eq!(savepoint(&paths, &folder), Ok(()), "{key}: {folder}");
        }
        assert_eq!(savepoint_name("stop-1.2_x"), "stop-1.2_x");
    }

    #[test]
    fn a_successor_that_leaves_no_number_for_what_follows_is_refused() {
        for to in [8, 9, 7 + REACH] {
            assert_eq!(hand_over(&job(), false, &request(to, None)), Ok(()), "{to}");
        }
        for to in [0, 6, 7, 8 + REACH, u64::MAX - 1, u64::MAX] {
            let refused = hand_over(&job(), false, &request(to, None)).unwrap_err();
            assert_eq!(refused.code(), "WrongRevision", "{to}");
        }
    }

    #[test]
    fn only_the_first_pod_of_the_successor_is_told() {
        let own = "delays-r8-0.delays-r8.flights.svc:8081";
        assert_eq!(hand_over(&job(), false, &request(8, Some(own))), Ok(()));
        for address in [
            "",
            "attacker:8081",
            "169.254.169.254:80",
            "127.0.0.1:8081",
            "delays-r8-0.delays-r8.flights.svc:6443",
            "delays-r8-0.delays-r8.flights.svc",
            "delays-r8-0.delays-r8.flights.svc.attacker.example:8081",
            "attacker@delays-r8-0.delays-r8.flights.svc:8081",
            "delays-r9-0.delays-r9.flights.svc:8081",
            "delays-r8-1.delays-r8.flights.svc:8081",
            "delays-r8-0.delays-r8.victim.svc:8081",
            "delays-r8-0.delays-r8.flights.svc:8081/",
        ] {
            let refused = hand_over(&job(), false, &request(8, Some(address)));
            assert!(refused.is_err(), "{address}");
        }
        // Pods that are processes of one host.
        let here = |address| hand_over(&job(), true, &request(8, Some(address)));
        assert_eq!(here("127.0.0.1:31000"), Ok(()));
        assert!(here("10.0.0.1:8081").is_err());
    }

    #[test]
    fn a_folder_is_one_of_the_jobs_own_bucket() {
        let store = S3Store::new("bucket", StorageConfig::default());
        let folder = |uri: &str| folder_of(&store, uri).ok();
        for uri in ["s3://bucket/a/b", "s3://bucket/a/b/", "a/b", "/a/b/"] {
            assert_eq!(folder(uri).as_deref(), Some("a/b"), "{uri}");
        }
        for uri in [
            "s3://bucket2/a/b",
            "s3://other/a",
            "file:///a",
            "s3://bucket",
            "s3://bucket/",
            "",
            "a//b",
            "a/../b",
        ] {
            assert_eq!(folder(uri), None, "{uri}");
        }
    }
}
