//! Events about StreamJobs, through one recorder, so that repeats are counted instead of repeated.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event as KubeEvent, EventType, Recorder, Reporter},
};
use streamkeeper_lifecycle::{Event, EventKind};

use crate::kube_ext::bounded;

/// The API server refuses longer notes.
const NOTE_LIMIT: usize = 1000;

/// Publishes events.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// A publisher that signs as `instance`.
    pub fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter {
            controller: "streamkeeper.dev/operator".to_owned(),
            instance: Some(instance),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Publishes one event about `job`. A failure is logged: an event is never worth a retry of the
    /// whole reconcile.
    pub async fn publish(&self, job: &ObjectReference, event: &Event) {
        let type_ = match event.kind {
            EventKind::Normal => EventType::Normal,
            EventKind::Warning => EventType::Warning,
        };
        let note = cut(&event.note);
        let record = KubeEvent {
            type_,
            reason: event.reason.to_owned(),
            note: Some(note),
            action: event.reason.to_owned(),
            secondary: None,
        };
        let what = format!("event {}", event.reason);
        if let Err(error) = bounded("publish", what, self.recorder.publish(&record, job)).await {
            tracing::warn!(%error, reason = event.reason, "event lost");
        }
    }
}

/// The first kilobyte, at a character's boundary.
fn cut(note: &str) -> String {
    if note.len() <= NOTE_LIMIT {
        return note.to_owned();
    }
    let end = (0..NOTE_LIMIT - 3)
        .rev()
        .find(|&end| note.is_char_boundary(end))
        .unwrap_or(0);
    format!("{}…", &note[..end])
}
