//! Snapshots that wait for a job look at it seldom, and at once when its watch tells of a change.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{
    Stream,
    channel::mpsc::{UnboundedSender, unbounded},
};
use kube::runtime::reflector::ObjectRef;
use streamkeeper_api::v1alpha1::StreamSnapshot;

use crate::watches::cache::JobKey;

type Snapshots = HashSet<ObjectRef<StreamSnapshot>>;

/// Who waits for which job. What is woken has to say again that it waits.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    by_job: Arc<Mutex<HashMap<JobKey, Snapshots>>>,
    woken: UnboundedSender<ObjectRef<StreamSnapshot>>,
}

impl Waiting {
    /// An empty table, and the stream of snapshots that are woken.
    pub(crate) fn new() -> (
        Self,
        impl Stream<Item = ObjectRef<StreamSnapshot>> + Send + 'static,
    ) {
        let (woken, stream) = unbounded();
        let by_job = Arc::default();
        (Self { by_job, woken }, stream)
    }

    fn by_job(&self) -> MutexGuard<'_, HashMap<JobKey, Snapshots>> {
        self.by_job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot waits for a job.
    pub(crate) fn wait(&self, job: JobKey, snapshot: &StreamSnapshot) {
        let waits = ObjectRef::from_obj(snapshot);
        self.by_job().entry(job).or_default().insert(waits);
    }

    /// A job has changed.
    pub(crate) fn changed(&self, job: &JobKey) {
        for snapshot in self.by_job().remove(job).into_iter().flatten() {
            // The other end lives as long as the controller.
            let _ = self.woken.unbounded_send(snapshot);
        }
    }

    /// A snapshot is gone.
    pub(crate) fn forget(&self, snapshot: &StreamSnapshot) {
        let gone = ObjectRef::from_obj(snapshot);
        self.by_job().retain(|_, waiting| {
            waiting.remove(&gone);
            !waiting.is_empty()
        });
    }

    /// How many jobs are waited for.
    pub(crate) fn len(&self) -> usize {
        self.by_job().len()
    }
}
