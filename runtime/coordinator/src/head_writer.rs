//! Keeps HEAD for its owner: one write at a time, each settled before the next.
//!
//! A write whose outcome is open blocks the ones behind it until the store has told: acting on a
//! guess is how output gets lost or doubled. No other part stands still for that: requests are
//! answered by their futures.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use streamkeeper_protocol::{
    head::{Head, HeadChange, HeadError, Owner},
    paths::StatePaths,
};
use streamkeeper_storage::{
    Condition, HeadAccessError, ObjectStore, StorageError, SwapResult, swap_head,
};
use tokio::sync::{mpsc, oneshot, watch};
use ulid::Ulid;

/// Between two attempts to settle a write.
const RETRY: Duration = Duration::from_millis(500);

/// Why a change of HEAD did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadWriteError {
    /// HEAD as it is does not allow it.
    #[error(transparent)]
    Refused(#[from] HeadError),
    /// Another coordinator owns the job.
    #[error("{0} owns the job now")]
    Fenced(Owner),
    /// HEAD was removed.
    #[error("HEAD was removed under its owner")]
    Gone,
}

type Change = Box<dyn Fn(&Head) -> Result<HeadChange, HeadError> + Send + Sync>;

struct Request {
    change: Change,
    reply: oneshot::Sender<Result<Arc<Head>, HeadWriteError>>,
}

/// Handle to the head writer of one claim; it ends with its last handle.
#[derive(Clone)]
pub(crate) struct HeadWriter {
    requests: mpsc::UnboundedSender<Request>,
    current: watch::Receiver<Arc<Head>>,
    trouble: watch::Receiver<Option<StorageError>>,
}

impl HeadWriter {
    /// Keeps `head`, which its caller has just written with this version.
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        paths: StatePaths,
        head: Head,
        etag: String,
    ) -> Self {
        let (requests, inbox) = mpsc::unbounded_channel();
        let (current_sender, current) = watch::channel(Arc::new(head));
        let (trouble_sender, trouble) = watch::channel(None);
        let task = Task {
            store,
            paths,
            etag,
            current: current_sender,
            trouble: trouble_sender,
        };
        tokio::spawn(task.run(inbox));
        Self {
            requests,
            current,
            trouble,
        }
    }

    /// HEAD as last written by this owner.
    pub(crate) fn head(&self) -> Arc<Head> {
        self.current.borrow().clone()
    }

    /// Waits until HEAD says that all sink output of a checkpoint is committed; gives up when
    /// `progress` stands still for this long.
    pub(crate) async fn committed(
        &self,
        checkpoint: u64,
        patience: Duration,
        mut progress: watch::Receiver<u64>,
    ) -> bool {
        let mut current = self.current.clone();
        let mut committed = pin!(current.wait_for(|head| head.is_committed(checkpoint)));
        loop {
            tokio::select! {
                biased;
                found = &mut committed => return found.is_ok(),
                Ok(()) = progress.changed() => {}
                () = tokio::time::sleep(patience) => return false,
            }
        }
    }

    /// Why the write in progress is not settled yet, if the store is to blame.
    pub(crate) fn trouble(&self) -> Option<StorageError> {
        self.trouble.borrow().clone()
    }

    /// Writes the next record: `change` of HEAD as it is when its turn comes. The write happens
    /// even if no caller waits for the answer.
    pub(crate) fn change(
        &self,
        change: impl Fn(&Head) -> Result<HeadChange, HeadError> + Send + Sync + 'static,
    ) -> impl Future<Output = Result<Arc<Head>, HeadWriteError>> + Send + 'static {
        let (reply, answer) = oneshot::channel();
        let _ = self.requests.send(Request {
            change: Box::new(change),
            reply,
        });
        // The head writer's task ends only after it answered that HEAD is lost, or with the
        // process.
        async move { answer.await.unwrap_or(Err(HeadWriteError::Gone)) }
    }
}

struct Task {
    store: Arc<dyn ObjectStore>,
    paths: StatePaths,
    etag: String,
    current: watch::Sender<Arc<Head>>,
    trouble: watch::Sender<Option<StorageError>>,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Request>) {
        let mut lost: Option<HeadWriteError> = None;
        while let Some(request) = inbox.recv().await {
            let answer = match &lost {
                Some(error) => Err(error.clone()),
                None => self.carry_out(&request.change).await,
            };
            if let Err(error @ (HeadWriteError::Fenced(_) | HeadWriteError::Gone)) = &answer {
                lost = Some(error.clone());
            }
            let _ = request.reply.send(answer);
        }
    }

    async fn carry_out(&mut self, change: &Change) -> Result<Arc<Head>, HeadWriteError> {
        loop {
            let now = self.current.borrow().clone();
            let next = change(&now)?.seal(&Ulid::generate().to_string())?;
            match self.settle(&next).await {
                SwapResult::Won { etag } => {
                    self.etag = etag;
                    let next = Arc::new(next);
                    self.current.send_replace(next.clone());
                    return Ok(next);
                }
                // Ours, from before an answer was lost: decide again from there.
                SwapResult::Lost { found, etag } => {
                    self.etag = etag;
                    self.current.send_replace(Arc::new(*found));
                }
                SwapResult::Fenced { by } => return Err(HeadWriteError::Fenced(by)),
                SwapResult::Gone => return Err(HeadWriteError::Gone),
            }
        }
    }

    async fn settle(&self, next: &Head) -> SwapResult {
        loop {
            match swap_head(&*self.store, &self.paths, next, condition(&self.etag)).await {
                Ok(result) => {
                    self.trouble.send_replace(None);
                    return result;
                }
                Err(error) => {
                    tracing::warn!(%error, "the write of HEAD is not settled; trying again");
                    self.trouble.send_replace(Some(as_storage_error(error)));
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

/// The store's part of an error; a HEAD that cannot be read counts as one too.
pub(crate) fn as_storage_error(error: HeadAccessError) -> StorageError {
    match error {
        HeadAccessError::Storage(error) => error,
        HeadAccessError::Head { at, source } => StorageError::Invalid {
            action: "read HEAD",
            at,
            detail: source.to_string(),
        },
    }
}

#[cfg(not(feature = "test-unfenced"))]
fn condition(etag: &str) -> Condition {
    Condition::Matches(etag.to_owned())
}

/// Negative control of the zombie test: with the fence off, its ledger must be wrong.
#[cfg(feature = "test-unfenced")]
fn condition(etag: &str) -> Condition {
    if std::env::var("STREAMKEEPER_TEST_UNFENCED").is_ok_and(|value| value == "1") {
        Condition::Always
    } else {
        Condition::Matches(etag.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper_storage::MemoryStore;

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    /// Keeps a HEAD whose restore point, checkpoint 42, is not committed.
    fn head_writer() -> HeadWriter {
        let golden = include_bytes!("../../protocol/tests/golden/head-v1-open-stop.json");
        let mut head = Head::parse(golden).unwrap();
        head.last.as_mut().unwrap().committed = false;
        let (store, paths) = (Arc::new(MemoryStore::new()), StatePaths::at("state"));
        HeadWriter::new(store, paths, head, String::new())
    }

    // A commit of 256 MiB at 1 MiB/s takes four times what a commit without progress gets.
    #[tokio::test(start_paused = true)]
    async fn a_savepoint_waits_for_a_commit_that_gets_on_and_for_no_other() {
        let head_writer = head_writer();
        let (progress, seen) = watch::channel(0_u64);
        let began = tokio::time::Instant::now();
        let moving = tokio::spawn(async move {
            for second in 0..256 {
                progress.send_replace(second << 20);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            progress
        });
        assert!(!head_writer.committed(42, PATIENCE, seen.clone()).await);
        assert!(began.elapsed() >= Duration::from_secs(255) + PATIENCE);
        let _progress = moving.await.unwrap();
        let stuck = tokio::time::Instant::now();
        assert!(!head_writer.committed(42, PATIENCE, seen.clone()).await);
        assert_eq!(stuck.elapsed(), PATIENCE, "nothing moved");
        assert!(head_writer.committed(41, PATIENCE, seen).await, "before it");
    }
}
