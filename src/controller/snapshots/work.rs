//! Work on folders of snapshots takes longer than a reconcile may; it goes on beside them, and is lost with the operator without harm.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    lifecycle::{
        Grant,
        snapshot::{Work, WorkState},
    },
    storage::{Folders, Progress, folders::Outcome},
};

/// One piece of work.
#[derive(Debug, Clone)]
struct Piece {
    work: Work,
    progress: Progress,
    result: Option<Outcome>,
}

/// Work that was begun, by the uid of its snapshot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Works(Arc<Mutex<HashMap<String, Piece>>>);

impl Works {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Piece>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What became of the last work for a snapshot.
    pub(super) fn state(&self, uid: &str) -> WorkState {
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
    pub(super) fn begin(
        &self,
        uid: &str,
        work: Work,
        folders: Arc<dyn Folders>,
        place: Grant,
        job_uid: Option<String>,
    ) {
        let progress = Progress::default();
        let begun = self.with(|all| {
            if all.get(uid).is_some_and(|piece| piece.result.is_none()) {
                return false;
            }
            let piece = Piece {
                work,
                progress: progress.clone(),
                result: None,
            };
            all.insert(uid.to_owned(), piece);
            true
        });
        if !begun {
            return;
        }
        let (all, uid) = (self.clone(), uid.to_owned());
        tokio::spawn(async move {
            let result = folders
                .work(work, &place, job_uid.as_deref(), &progress)
                .await;
            all.with(|all| {
                if let Some(piece) = all.get_mut(&uid) {
                    piece.result = Some(result);
                }
            });
        });
    }

    /// How many there are.
    pub(in super::super) fn len(&self) -> usize {
        self.with(|all| all.len())
    }

    /// Forgets a snapshot.
    pub(in super::super) fn forget(&self, uid: &str) {
        self.with(|all| all.remove(uid));
    }
}
