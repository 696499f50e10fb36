//! What a spec change means.

use crate::revision::record::{Content, RevisionRecord};

/// What it takes to get from the running revision to what is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// No new pods: the content is the same.
    None,
    /// A new revision; these parts of the spec differ.
    Upgrade {
        /// For people.
        parts: Vec<&'static str>,
    },
    /// Not possible while there is state.
    Reject {
        /// What, and what to do instead.
        why: String,
    },
}

/// Compares what is asked for with what a revision holds. The number of workers is no part of a
/// revision.
pub fn classify(wanted: &RevisionRecord, running: &RevisionRecord) -> Change {
    let (there, here) = (&wanted.storage, &running.storage);
    let (wanted, held) = (&wanted.content, &running.content);
    if wanted == held {
        return Change::None;
    }
    if wanted.max_parallelism != held.max_parallelism {
        return Change::Reject {
            why: format!(
                "spec.maxParallelism cannot change from {} to {} while there is state, which is cut into that many key groups; set it back, or create a new StreamJob",
                held.max_parallelism, wanted.max_parallelism
            ),
        };
    }
    if !there.is_place_of(here) {
        let at = here.endpoint.as_deref();
        let at = at.map_or_else(String::new, |url| format!(" at {url}"));
        let field = if there.uri == here.uri {
            "endpoint"
        } else {
            "uri"
        };
        return Change::Reject {
            why: format!(
                "spec.storage.s3.{field} cannot change while there is state in {}{at}; set it back, or create a new StreamJob that starts from a snapshot of this one",
                here.uri
            ),
        };
    }
    Change::Upgrade {
        parts: parts(wanted, held),
    }
}

fn parts(wanted: &Content, held: &Content) -> Vec<&'static str> {
    [
        (wanted.engine != held.engine, "engine"),
        (wanted.sql != held.sql, "sql"),
        (wanted.image != held.image, "image"),
        (wanted.env != held.env, "env"),
        (wanted.slots != held.slots, "workers.slots"),
        (wanted.resources != held.resources, "workers.resources"),
        (
            wanted.pod_template != held.pod_template,
            "workers.podTemplate",
        ),
        (
            wanted.service_account_name != held.service_account_name,
            "serviceAccountName",
        ),
        (wanted.storage != held.storage, "storage"),
        (wanted.checkpoints != held.checkpoints, "checkpoints"),
        (
            wanted.restarted_at != held.restarted_at,
            "the restart annotation",
        ),
    ]
    .into_iter()
    .filter_map(|(differs, part)| differs.then_some(part))
    .collect()
}
