//! What a status proves.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use streamkeeper_api::{
    condition,
    v1alpha1::{HistoryEntry, Outcome, SnapshotPhase, StreamJob, StreamSnapshot, TransitionKind},
};

use crate::self_test::SelfTestError;

/// What a complete snapshot holds, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) checkpoint: u64,
    pub(super) uri: String,
}

/// None while it is not complete.
pub(super) fn saved(snapshot: &StreamSnapshot) -> Option<Saved> {
    let status = snapshot.status.as_ref()?;
    let saved = Saved {
        checkpoint: status.checkpoint.as_ref()?.id,
        uri: status.uri.clone()?,
    };
    (status.phase == Some(SnapshotPhase::Completed)).then_some(saved)
}

/// Its way to a snapshot, once it had its first record there. What it went through after a failure
/// names no snapshot.
pub(super) fn restoration(job: &StreamJob) -> Option<&HistoryEntry> {
    let history = &job.status.as_ref()?.history;
    let went = |entry: &&HistoryEntry| {
        entry.kind == TransitionKind::Restore
            && entry.result == Outcome::Succeeded
            && !entry.message.is_empty()
    };
    history
        .iter()
        .find(went)
        .filter(|entry| entry.pause.is_some())
}

/// The checkpoint that the job went on from: its own copy of the one in the snapshot, with a number
/// of its own, for numbers never go back.
pub(super) fn returned(job: &StreamJob, name: &str, to: &Saved) -> Result<u64, SelfTestError> {
    let status = job.status.as_ref();
    let acted = status.and_then(|status| status.restore_from.as_ref());
    let last = status.and_then(|status| status.last_restore.as_ref());
    let went = restoration(job);
    let from = went.and_then(|went| went.restored_from);
    let named = acted.is_some_and(|acted| {
        acted.value == format!("snapshot {name}") && acted.result == Outcome::Succeeded
    });
    // The folder bears the uid of the StreamSnapshot: another one of that name has another.
    let there = went.is_some_and(|went| went.message.ends_with(&format!(" {}", to.uri)));
    let copied = from.filter(|from| *from > to.checkpoint);
    let known = last.is_some_and(|last| Some(last.checkpoint) >= from);
    match copied {
        Some(from) if named && there && known => Ok(from),
        Some(_) | None => Err(SelfTestError::Elsewhere {
            asked: format!(
                "snapshot {name} of checkpoint {}, in {}",
                to.checkpoint, to.uri
            ),
            says: format!(
                "restoreFrom {}, history {:?} from checkpoint {from:?}, lastRestore {:?}",
                acted.map_or("none", |acted| &acted.value),
                went.map_or("none", |went| &went.message),
                last.map(|last| last.checkpoint)
            ),
        }),
    }
}

/// Whether its status is about its newest spec, and nothing is under way.
pub(super) fn settled(job: &StreamJob) -> bool {
    job.status.as_ref().is_some_and(|status| {
        status.observed_generation == job.metadata.generation && status.transition.is_none()
    })
}

pub(super) fn is(job: &StreamJob, kind: &str) -> bool {
    let status = job.status.as_ref();
    status.is_some_and(|status| condition::is_true(&status.conditions, kind))
}

pub(super) fn checkpoint(job: &StreamJob) -> Option<u64> {
    Some(job.status.as_ref()?.last_checkpoint.as_ref()?.id)
}

/// Its resumption, once it had its first record.
pub(super) fn resumption(job: &StreamJob) -> Option<&HistoryEntry> {
    let history = &job.status.as_ref()?.history;
    let resumed = |entry: &&HistoryEntry| entry.kind == TransitionKind::Resume;
    history
        .iter()
        .find(resumed)
        .filter(|entry| entry.pause.is_some())
}

pub(super) fn says(job: &StreamJob) -> String {
    told(
        job.status.iter().flat_map(|status| &status.conditions),
        &job.namespace().unwrap_or_default(),
    )
}

pub(super) fn snapshot_says(snapshot: &StreamSnapshot) -> String {
    told(
        snapshot.status.iter().flat_map(|status| &status.conditions),
        &snapshot.namespace().unwrap_or_default(),
    )
}

fn told<'a>(conditions: impl Iterator<Item = &'a Condition>, namespace: &str) -> String {
    let all: Vec<String> = conditions
        .map(|condition| {
            let (kind, status) = (&condition.type_, &condition.status);
            format!(
                "{kind}={status} ({}: {})",
                condition.reason, condition.message
            )
        })
        .collect();
    if all.is_empty() {
        format!("nothing; is an operator looking after namespace {namespace}?")
    } else {
        all.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const FOLDER: &str = "s3://streams/flights/it/savepoints/it-6a1f0c1e";

    fn job(change: impl FnOnce(&mut Value)) -> StreamJob {
        let time = "2026-03-01T12:00:00Z";
        let mut status = json!({
            "restoreFrom": { "value": "snapshot it", "result": "Succeeded", "time": time },
            "lastRestore": { "checkpoint": 9, "time": time },
            "history": [{
                "kind": "Restore", "started": time, "time": time, "pause": "1.2s", "restoredFrom": 9, "result": "Succeeded",
                "message": format!("revision 2 runs, from the snapshot in {FOLDER}"),
            }],
        });
        change(&mut status);
        let job = json!({
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob", "metadata": { "name": "it" },
            "spec": { "sql": { "text": "SELECT 1" } }, "status": status,
        });
        serde_json::from_value(job).unwrap()
    }

    fn look(change: impl FnOnce(&mut Value)) -> Result<u64, String> {
        let to = Saved {
            checkpoint: 7,
            uri: FOLDER.to_owned(),
        };
        returned(&job(change), "it", &to).map_err(|error| error.to_string())
    }

    #[test]
    fn a_job_that_names_the_snapshot_and_its_folder_went_back_to_it() {
        assert_eq!(look(|_| {}), Ok(9));
        assert_eq!(
            look(|status| {
                let failure = json!({ "kind": "Restore", "started": "2026-03-01T12:01:00Z", "time": "2026-03-01T12:01:00Z", "pause": "2s", "restoredFrom": 11, "result": "Succeeded" });
                status["history"].as_array_mut().unwrap().insert(0, failure);
                status["lastRestore"]["checkpoint"] = json!(11);
            }),
            Ok(9),
            "a failure after it is another matter"
        );
    }

    #[test]
    fn a_job_that_went_elsewhere_says_where() {
        type Change = fn(&mut Value);
        let changes: [(&str, Change); 7] = [
            ("another name", |status| {
                status["restoreFrom"]["value"] = json!("snapshot that");
            }),
            ("nothing was acted on", |status| {
                status["restoreFrom"] = Value::Null;
            }),
            ("another folder", |status| {
                let other = format!("revision 2 runs, from the snapshot in {FOLDER}0");
                status["history"][0]["message"] = json!(other);
            }),
            ("the number of one before", |status| {
                status["history"][0]["restoredFrom"] = json!(7);
            }),
            ("from nothing", |status| {
                status["history"][0]["restoredFrom"] = Value::Null;
            }),
            ("an older restore", |status| {
                status["lastRestore"]["checkpoint"] = json!(3);
            }),
            ("no records yet", |status| {
                status["history"][0]["pause"] = Value::Null;
            }),
        ];
        for (what, change) in changes {
            let says = look(change).expect_err(what);
            assert!(
                says.contains("asked to go back to snapshot it of checkpoint 7")
                    && says.contains(FOLDER),
                "{what}: {says}"
            );
        }
    }

    #[test]
    fn a_snapshot_counts_once_it_is_complete() {
        let snapshot = |phase: &str| -> StreamSnapshot {
            let snapshot = json!({
                "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamSnapshot", "metadata": { "name": "it" }, "spec": { "jobRef": { "name": "it" } },
                "status": { "phase": phase, "uri": FOLDER, "checkpoint": { "id": 7, "completionTime": "2026-03-01T12:00:00Z" } },
            });
            serde_json::from_value(snapshot).unwrap()
        };
        assert_eq!(saved(&snapshot("InProgress")), None);
        assert_eq!(
            saved(&snapshot("Completed")).map(|saved| saved.checkpoint),
            Some(7)
        );
    }
}
