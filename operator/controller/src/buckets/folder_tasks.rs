//! Work on folders of snapshots takes longer than a reconcile may; it goes on beside them, and is
//! lost with the operator without harm.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use streamkeeper_lifecycle::{
    Grant,
    snapshots::{Trouble, TroubleKind, Work, WorkState},
};
use tokio::task::{AbortHandle, JoinError};

use crate::buckets::{Folders, Progress, folders::Outcome};

/// One piece of work.
#[derive(Debug)]
struct Piece {
    work: Work,
    progress: Progress,
    result: Option<Outcome>,
    task: AbortHandle,
}

/// No reconcile waits for work that is forgotten. Half of it is as if it had not begun, or is done
/// again.
impl Drop for Piece {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Work that was begun, by the uid of its snapshot.
#[derive(Debug, Clone, Default)]
pub(crate) struct FolderTasks(Arc<Mutex<HashMap<String, Piece>>>);

impl FolderTasks {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Piece>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What became of the last work for a snapshot.
    pub(crate) fn state(&self, uid: &str) -> WorkState {
        self.with(|all| match all.get(uid) {
            None => WorkState::None,
            Some(Piece {
                work,
                result: Some(result),
                ..
            }) => WorkState::Done {
                work: *work,
                result: result.clone(),
            },
            Some(Piece { work, progress, .. }) => {
                let (done, total) = progress.get();
                WorkState::Running {
                    work: *work,
                    done,
                    total,
                }
            }
        })
    }

    /// Begins work, unless some is under way for that snapshot.
    pub(crate) fn begin(
        &self,
        uid: &str,
        work: Work,
        folders: Arc<dyn Folders>,
        place: Grant,
        job_uid: Option<String>,
    ) {
        self.with(|all| {
            if all.get(uid).is_some_and(|piece| piece.result.is_none()) {
                return;
            }
            let progress = Progress::default();
            let of_work = progress.clone();
            let working = tokio::spawn(async move {
                let asked = folders.work(work, &place, job_uid.as_deref(), &of_work);
                asked.await
            });
            let task = working.abort_handle();
            let (works, of) = (self.clone(), (uid.to_owned(), task.id()));
            tokio::spawn(async move {
                let result = working.await.unwrap_or_else(|ended| Err(broken(ended)));
                works.with(|all| {
                    // Forgotten meanwhile, it may have been begun anew.
                    if let Some(piece) = all.get_mut(&of.0).filter(|piece| piece.task.id() == of.1)
                    {
                        piece.result = Some(result);
                    }
                });
            });
            let piece = Piece {
                work,
                progress,
                result: None,
                task,
            };
            all.insert(uid.to_owned(), piece);
        });
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.with(|all| all.len())
    }

    /// Forgets a snapshot.
    pub(crate) fn forget(&self, uid: &str) {
        self.with(|all| all.remove(uid));
    }
}

/// What is said of work that ended by a defect of the operator.
fn broken(ended: JoinError) -> Trouble {
    let what = match ended.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            text.unwrap_or("a panic without a message").to_owned()
        }
        Err(ended) => ended.to_string(),
    };
    tracing::error!(what, "work on a folder ended by a defect of the operator");
    Trouble {
        kind: TroubleKind::Down,
        message: format!(
            "the work on its folder ended by a defect of the operator, and is begun again: {what}; please report it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future, pending},
        pin::Pin,
    };

    use super::*;
    use streamkeeper_api::v1alpha1::S3;
    use streamkeeper_lifecycle::{Settings, grant};

    /// Folders on which work ends like this.
    enum Scripted {
        Fine,
        Panics,
        Hangs(Arc<()>),
    }

    impl Folders for Scripted {
        fn work<'a>(
            &'a self,
            _: Work,
            _: &'a Grant,
            _: Option<&'a str>,
            _: &'a Progress,
        ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
            Box::pin(async move {
                match self {
                    Self::Fine => Ok(None),
                    Self::Panics => panic!("attempt to add with overflow"),
                    Self::Hangs(held) => {
                        let _held = held.clone();
                        pending().await
                    }
                }
            })
        }
    }

    fn place() -> Grant {
        let settings = Settings {
            storage: Some(S3 {
                uri: "s3://shared/state".to_owned(),
                ..S3::default()
            }),
            ..Settings::default()
        };
        let storage = settings.default_storage().unwrap();
        grant(&settings, &storage, "a", "state/a/job").unwrap()
    }

    async fn end_of(works: &FolderTasks, folders: Scripted) -> Outcome {
        works.begin("uid", Work::Verify, Arc::new(folders), place(), None);
        for _ in 0..100 {
            if let WorkState::Done { result, .. } = works.state("uid") {
                return result;
            }
            tokio::task::yield_now().await;
        }
        panic!("{:?}", works.state("uid"))
    }

    #[tokio::test]
    async fn work_that_panics_has_failed_and_says_so_and_is_begun_again() {
        let works = FolderTasks::default();
        let trouble = end_of(&works, Scripted::Panics).await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::Down);
        assert!(
            trouble.message.contains("attempt to add with overflow"),
            "{trouble:?}"
        );
        // The control: work that does not, on the same snapshot.
        assert_eq!(end_of(&works, Scripted::Fine).await, Ok(None));
    }

    #[tokio::test]
    async fn work_that_is_forgotten_ends_and_says_nothing_about_what_is_begun_after() {
        let works = FolderTasks::default();
        let held = Arc::new(());
        let hangs = Arc::new(Scripted::Hangs(held.clone()));
        works.begin("uid", Work::Verify, hangs, place(), None);
        tokio::task::yield_now().await;
        assert!(matches!(works.state("uid"), WorkState::Running { .. }));
        works.forget("uid");
        assert_eq!(end_of(&works, Scripted::Fine).await, Ok(None));
        assert_eq!(Arc::strong_count(&held), 1, "nobody works any more");
    }
}
