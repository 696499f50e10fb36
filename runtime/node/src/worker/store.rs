//! Frozen state and staged rows of one worker, encoded and written as one object.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use streamkeeper_protocol::{manifest::ObjectRange, paths::StatePaths};
use streamkeeper_state::{FrozenState, ObjectWriter, StateReport, encode_run};
use streamkeeper_storage::{Condition, ObjectStore, StorageError};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::commit::PendingId;
use streamkeeper_control::{clock, failpoint};

/// A state of one subtask.
#[derive(Debug)]
pub(super) struct FrozenPart {
    pub(super) state_uid: String,
    pub(super) label: String,
    pub(super) subtask: u32,
    pub(super) frozen: FrozenState,
}

/// Everything a worker writes for one checkpoint.
#[derive(Debug)]
pub(super) struct ToStore {
    pub(super) attempt: u64,
    pub(super) checkpoint: u64,
    pub(super) worker: u32,
    pub(super) root: String,
    pub(super) parts: Vec<FrozenPart>,
    pub(super) staged: Vec<(PendingId, Bytes)>,
}

/// Where it is.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) reports: Vec<StateReport>,
    pub(super) staged: Vec<(PendingId, ObjectRange)>,
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// Before an object that could not be written is sent again; doubled up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait before an object is sent again.
const LONGEST: Duration = Duration::from_secs(30);

/// Encodes on a thread for blocking work, then uploads. What a store does not take now is sent
/// again, as it is: encoding it anew, with what came since, would make it larger each time.
/// `delayed` hears why, each time; `gone` ends it.
pub(super) async fn store(
    store: Arc<dyn ObjectStore>,
    what: ToStore,
    gone: CancellationToken,
    delayed: impl Fn(String) + Send,
) -> Result<Stored, String> {
    let began = clock::now();
    let encoded = tokio::task::spawn_blocking(move || encode(what))
        .await
        .map_err(|error| format!("encoding state: {error}"))?;
    let (writer, reports, staged) = encoded?;
    let (key, bytes) = writer.into_parts();
    let size = bytes.len() as u64;
    if size > 0 {
        send(&*store, &key, bytes, &gone, delayed).await?;
    }
    failpoint::pass(failpoint::CHECKPOINT_STORED);
    Ok(Stored {
        reports,
        staged,
        bytes: size,
        took: began.elapsed(),
    })
}

/// Writes an object, as often as it takes. Once the graph is gone no manifest names it: a write
/// that is under way would hold its bytes in memory, and take a slow link from what the next graph
/// sends.
async fn send(
    store: &dyn ObjectStore,
    key: &str,
    bytes: Bytes,
    gone: &CancellationToken,
    delayed: impl Fn(String) + Send,
) -> Result<(), String> {
    let mut wait = FIRST;
    loop {
        let put = tokio::select! {
            () = gone.cancelled() => return Err(format!("writing {key}: its graph is gone")),
            put = store.put(key, bytes.clone(), Condition::Always) => put,
        };
        let Err(error) = put else {
            return Ok(());
        };
        let why = format!("writing {key}: {error}");
        if !may_pass(&error) {
            return Err(why);
        }
        delayed(why.clone());
        tokio::select! {
            () = gone.cancelled() => return Err(why),
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST),
        }
    }
}

/// Whether the same write may succeed later: credentials are renewed, and buckets made.
fn may_pass(error: &StorageError) -> bool {
    match error {
        StorageError::Unavailable { .. }
        | StorageError::Unknown { .. }
        | StorageError::Conflict { .. }
        | StorageError::AccessDenied { .. }
        | StorageError::NoSuchBucket { .. } => true,
        StorageError::NotFound { .. }
        | StorageError::Precondition { .. }
        | StorageError::Unsupported { .. }
        | StorageError::TooLarge { .. }
        | StorageError::OverMemoryLimit { .. }
        | StorageError::Invalid { .. } => false,
    }
}

type Encoded = (
    ObjectWriter,
    Vec<StateReport>,
    Vec<(PendingId, ObjectRange)>,
);

fn encode(what: ToStore) -> Result<Encoded, String> {
    let key = StatePaths::at(&what.root).data(
        what.checkpoint,
        what.attempt,
        what.worker,
        &Ulid::generate().to_string(),
    );
    let mut writer = ObjectWriter::new(key);
    let mut reports = Vec::with_capacity(what.parts.len());
    for FrozenPart {
        state_uid,
        label,
        subtask,
        frozen,
    } in what.parts
    {
        let (descriptor, kind) = (frozen.descriptor.clone(), frozen.kind);
        let run = encode_run(frozen)
            .map_err(|error| format!("{label}: encoding state '{}': {error}", descriptor.name))?;
        let run = run.map(|run| writer.push_run(run, what.checkpoint, subtask));
        reports.push(StateReport {
            state_uid,
            label,
            descriptor,
            subtask,
            kind,
            run,
        });
    }
    let staged = what
        .staged
        .into_iter()
        .map(|(id, rows)| (id, writer.push_bytes(&rows)))
        .collect();
    Ok((writer, reports, staged))
}

#[cfg(test)]
mod tests {
    use std::{future::pending, ops::Range, sync::Mutex};

    use streamkeeper_storage::{
        Action, Fault, FaultStore, MemoryStore, Object, ObjectMeta, Rule, StoreFuture,
    };

    use super::*;

    fn share() -> ToStore {
        ToStore {
            attempt: 1,
            checkpoint: 7,
            worker: 0,
            root: "root".to_owned(),
            parts: Vec::new(),
            staged: vec![(1, Bytes::from_static(b"rows"))],
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_that_could_not_be_written_is_sent_again_under_the_same_name() {
        let faults = FaultStore::new(MemoryStore::new());
        faults.fail(Rule {
            times: 3,
            ..Rule::once(Action::Put, "data/", Fault::Unavailable)
        });
        let heard = Arc::new(Mutex::new(Vec::new()));
        let delayed = {
            let heard = heard.clone();
            move |why| heard.lock().unwrap().push(why)
        };
        let shared: Arc<dyn ObjectStore> = Arc::new(faults.clone());
        let stored = store(shared, share(), CancellationToken::new(), delayed)
            .await
            .unwrap();
        assert_eq!(stored.bytes, 4);
        assert_eq!(heard.lock().unwrap().len(), 3);
        let keys: Vec<_> = faults.calls().into_iter().map(|call| call.key).collect();
        assert_eq!(keys.len(), 4);
        assert!(
            keys.iter().all(|key| *key == stored.staged[0].1.object),
            "{keys:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_is_sent_until_its_graph_is_gone() {
        let faults = FaultStore::new(MemoryStore::new());
        faults.fail(Rule {
            times: usize::MAX,
            ..Rule::once(Action::Put, "data/", Fault::Unavailable)
        });
        let gone = CancellationToken::new();
        let (tries, end) = (Mutex::new(0), gone.clone());
        let delayed = move |_| {
            let mut tries = tries.lock().unwrap();
            *tries += 1;
            if *tries == 20 {
                end.cancel();
            }
        };
        let shared: Arc<dyn ObjectStore> = Arc::new(faults);
        let error = store(shared, share(), gone, delayed).await.unwrap_err();
        assert!(error.contains("the store does not answer"), "{error}");
    }

    /// Takes requests and never answers.
    #[derive(Debug)]
    struct Deaf {
        /// Ended once a write came.
        asked: CancellationToken,
    }

    impl ObjectStore for Deaf {
        fn get<'a>(&'a self, _: &'a str) -> StoreFuture<'a, Object> {
            Box::pin(pending())
        }

        fn get_range<'a>(&'a self, _: &'a str, _: Range<u64>) -> StoreFuture<'a, Bytes> {
            Box::pin(pending())
        }

        fn get_range_of<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            _: Range<u64>,
        ) -> StoreFuture<'a, Bytes> {
            Box::pin(pending())
        }

        fn put<'a>(&'a self, _: &'a str, _: Bytes, _: Condition) -> StoreFuture<'a, String> {
            self.asked.cancel();
            Box::pin(pending())
        }

        fn delete<'a>(&'a self, _: &'a str) -> StoreFuture<'a, ()> {
            Box::pin(pending())
        }

        fn list<'a>(&'a self, _: &'a str) -> StoreFuture<'a, Vec<ObjectMeta>> {
            Box::pin(pending())
        }

        fn copy<'a>(&'a self, _: &'a str, _: &'a str) -> StoreFuture<'a, ()> {
            Box::pin(pending())
        }

        fn describe(&self) -> String {
            "deaf".to_owned()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_under_way_ends_with_its_graph() {
        let (asked, gone) = (CancellationToken::new(), CancellationToken::new());
        let deaf = Deaf {
            asked: asked.clone(),
        };
        let rows = Bytes::from(vec![1; 1000]);
        let what = ToStore {
            staged: vec![(1, rows)],
            ..share()
        };
        let storing = tokio::spawn(store(Arc::new(deaf), what, gone.clone(), |_| {}));
        asked.cancelled().await;
        assert!(!storing.is_finished(), "nobody gave it up");
        gone.cancel();
        let error = storing.await.unwrap().unwrap_err();
        assert!(error.contains("its graph is gone"), "{error}");
    }
}
