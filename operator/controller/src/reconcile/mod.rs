//! The reconcile loop of every kind: observe, plan, persist, execute. It decides nothing.
//!
//! * [`error`]: why a reconcile did not finish, and when to try again.
//! * `tell_unreadable`: objects that cannot be read are told which field is wrong.

pub mod error;
pub(crate) mod tell_unreadable;

use std::{fmt::Debug, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Api, ResourceExt, runtime::controller::Action as Requeue};
use streamkeeper_lifecycle::Event;
use tracing::{Instrument, Span};

use self::error::{ReconcileError, retry_after};
use crate::{
    context::shared::Context,
    kube_ext::{Namespaced, bounded, write_status_unless_changed},
    watches::written::Kind,
};

/// A kind that the operator reconciles.
pub(crate) trait Reconciled: Namespaced {
    /// The kind, among those that are cached.
    const KIND: Kind;
    /// What a plan can ask for.
    type Action: Debug + PartialEq + Send + Sync;
    /// The status.
    type Status: Clone + Default + PartialEq + Send + Sync;

    /// The log span of a pass.
    fn span(&self) -> Span;

    /// The status as it was observed.
    fn status(&self) -> Option<&Self::Status>;

    /// This object with another status.
    fn with_status(&self, status: Self::Status) -> Self;

    /// Observes everything that a decision may depend on, and decides.
    fn plan(
        &self,
        context: &Context,
    ) -> impl Future<Output = Result<Planned<Self>, ReconcileError>> + Send;

    /// Executes one action.
    fn execute(
        &self,
        action: &Self::Action,
        context: &Context,
    ) -> impl Future<Output = Result<(), ReconcileError>> + Send;

    /// Verb and detail of an action, for the log.
    fn describe(action: &Self::Action) -> (&'static str, String);

    /// Whether the operator holds nothing of this object any more once these actions are done.
    fn is_released(&self, actions: &[Self::Action]) -> bool;

    /// What is left to do once nothing was done: `waiting` or `settled`.
    fn at_rest(&self) -> &'static str;

    /// Measures a pass after which the object is like this.
    fn measure(&self, _before: &Self, _context: &Context) {}

    /// Counts a pass.
    fn count(_outcome: &'static str, _seconds: f64, _context: &Context) {}
}

/// What a pass came to.
#[derive(Debug)]
pub(crate) struct Planned<K: Reconciled> {
    /// The status to write, if it differs, before anything else is done.
    pub(crate) status: K::Status,
    /// What to do then, in order; the first failure stops it.
    pub(crate) actions: Vec<K::Action>,
    /// Events, once the status is written.
    pub(crate) events: Vec<Event>,
    /// Another object that the events are about.
    pub(crate) also_about: Option<ObjectReference>,
    /// When to look again if nothing happens before.
    pub(crate) requeue: Duration,
    /// Why, for the log.
    pub(crate) why: String,
}

/// Reconciles one object.
pub(crate) async fn reconcile<K: Reconciled>(
    object: Arc<K>,
    context: Arc<Context>,
) -> Result<Requeue, ReconcileError> {
    // The Controller waits for its own kind only.
    context.caches.filled().await;
    let began = context.clock.now();
    let span = object.span();
    let result = Box::pin(pass(object.as_ref(), &context))
        .instrument(span)
        .await;
    let seconds = (context.clock.now().as_millisecond() - began.as_millisecond()).max(0);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one pass")]
    let seconds = seconds as f64 / 1000.0;
    let outcome = match &result {
        Ok((outcome, _)) => outcome,
        Err(_) => "failed",
    };
    K::count(outcome, seconds, &context);
    result.map(|(_, requeue)| {
        context.succeeded(&object.uid().unwrap_or_default());
        requeue
    })
}

/// When to try again after a failure.
#[expect(clippy::needless_pass_by_value, reason = "as the Controller calls it")]
pub(crate) fn on_error<K: Reconciled>(
    object: Arc<K>,
    error: &ReconcileError,
    context: Arc<Context>,
) -> Requeue {
    let uid = object.uid().unwrap_or_default();
    let failures = context.failed(&uid);
    tracing::warn!(kind = %K::kind(&()), namespace = object.namespace().unwrap_or_default(), name = object.name_any(), %error, failures, "reconcile failed");
    let asked = error.asked_to_wait();
    if !asked.is_zero() {
        context.wait(&uid, asked);
    }
    Requeue::requeue(retry_after(failures).max(asked))
}

async fn pass<K: Reconciled>(
    object: &K,
    context: &Context,
) -> Result<(&'static str, Requeue), ReconcileError> {
    let uid = object.uid().unwrap_or_default();
    if let Some(behind) = context.behind(K::KIND, object) {
        tracing::debug!(what = ?behind.what, "not seen yet");
        return Ok(("behind", Requeue::requeue(behind.after)));
    }
    if let Err(wait) = context.turn(&uid) {
        tracing::debug!(?wait, "changes too often");
        return Ok(("paced", Requeue::requeue(wait)));
    }
    let planned = object.plan(context).await?;
    tracing::debug!(
        why = planned.why,
        actions = planned.actions.len(),
        "planned"
    );
    let Some(current) = persist(object, &planned, context).await? else {
        // The world moved on; what is planned next starts from there.
        return Ok(("conflict", Requeue::requeue(retry_after(0))));
    };
    current.measure(object, context);
    let about = [Some(current.object_ref(&())), planned.also_about];
    for event in &planned.events {
        tracing::info!(reason = event.reason, note = event.note, "event");
        for reference in about.iter().flatten() {
            context.events.publish(reference, event).await;
        }
    }
    for action in &planned.actions {
        let (verb, detail) = K::describe(action);
        tracing::info!(verb, detail, why = planned.why, "acting");
        current.execute(action, context).await?;
    }
    if current.is_released(&planned.actions) {
        context.forget_all_of(&current);
        return Ok(("acted", Requeue::await_change()));
    }
    let outcome = if planned.actions.is_empty() {
        current.at_rest()
    } else {
        "acted"
    };
    Ok((outcome, Requeue::requeue(planned.requeue)))
}

/// Writes the planned status, if it differs, to exactly the version that was observed. Returns the
/// object to act on, or nothing when it had changed. With nothing to write but something to do, the
/// version is checked all the same: the cache may be late.
async fn persist<K: Reconciled>(
    object: &K,
    planned: &Planned<K>,
    context: &Context,
) -> Result<Option<K>, ReconcileError> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(context.client.0.clone(), &namespace);
    let same = match object.status() {
        Some(status) => *status == planned.status,
        None => planned.status == K::Status::default(),
    };
    if same {
        if planned.actions.is_empty() {
            return Ok(Some(object.clone()));
        }
        let name = object.name_any();
        let called = format!("{} {name}", K::kind(&()));
        let fresh = bounded("read", called, api.get_opt(&name)).await?;
        return Ok(fresh.filter(|fresh| fresh.resource_version() == object.resource_version()));
    }
    let next = object.with_status(planned.status.clone());
    let written = write_status_unless_changed(&api, &next).await?;
    if let Some(written) = &written {
        let uid = object.uid().unwrap_or_default();
        context.wrote_version(&uid, K::KIND, written);
    }
    Ok(written)
}
