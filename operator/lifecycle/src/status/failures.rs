//! What the status keeps of failures of the running revision: what its coordinator says, and what
//! only the kubelet knows.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use streamkeeper_api::v1alpha1::FailureStatus;
use streamkeeper_protocol::job_api::{Failure, Report};

use crate::plan::units::{bytes, millis_at, time};
use crate::{
    observed::facts::PodFacts,
    plan::{action::EventKind, plan_builder::PlanBuilder},
    revision::record::RevisionRecord,
};

const OUT_OF_MEMORY: &str = "OOMKilled";
/// Between the end of a container and the moment its coordinator misses the worker; clocks of nodes
/// differ too.
const SAME_FAILURE: SignedDuration = SignedDuration::from_secs(30);

/// Notes what failed last.
pub(crate) fn note(plan: &mut PlanBuilder<'_>, report: &Report) {
    told_by_coordinator(plan, report);
    out_of_memory(plan, report);
}

fn told_by_coordinator(plan: &mut PlanBuilder<'_>, report: &Report) {
    let Some(failure) = &report.last_failure else {
        return;
    };
    let at = millis_at(failure.at_ms);
    let worker = failure.worker.and_then(|worker| {
        let pods = &plan.input.revision(report.revision).pods;
        pods.iter().find(|pod| pod.ordinal == worker)
    });
    let name = worker.map(|pod| pod.name.clone());
    if plan.status.last_failure.as_ref().is_some_and(|known| {
        let named = known.reason == OUT_OF_MEMORY && known.worker == name;
        known.time.0 >= at.0 || named && is_same(known.time.0, at.0)
    }) {
        return;
    }
    let ended = worker.and_then(|pod| pod.terminated.as_ref());
    let ended = ended.filter(|ended| ended.at.is_none_or(|ended| is_same(ended, at.0)));
    plan.status.last_failure = Some(FailureStatus {
        time: at,
        reason: match ended {
            _ if failure.terminated => "Terminated".to_owned(),
            // Told below, with what is known about its memory.
            Some(ended) if ended.reason != OUT_OF_MEMORY => ended.reason.clone(),
            Some(_) | None => "Failed".to_owned(),
        },
        worker: name,
        message: failure.message.clone(),
    });
}

/// A pod that the kernel ended for its memory. If it was pod 0, the coordinator ended with it, and
/// only the kubelet can tell.
fn out_of_memory(plan: &mut PlanBuilder<'_>, report: &Report) {
    let facts = plan.input.revision(report.revision);
    let (pods, record) = (&facts.pods, facts.record.as_ref());
    for pod in pods {
        let ended = pod.terminated.as_ref();
        let Some(at) = ended
            .filter(|ended| ended.reason == OUT_OF_MEMORY)
            .and_then(|ended| ended.at)
        else {
            continue;
        };
        let at = time(at).0;
        let known = plan.status.last_failure.as_ref();
        if known.is_some_and(|known| {
            let later = known.time.0 >= at;
            later && (known.reason == OUT_OF_MEMORY || !is_same(known.time.0, at))
        }) {
            continue;
        }
        let failure = report.last_failure.as_ref().filter(|failure| {
            failure.worker == Some(pod.ordinal) && is_same(millis_at(failure.at_ms).0, at)
        });
        let note = format!(
            "{}; raise spec.workers.resources.limits.memory",
            killed(pod, record, failure)
        );
        plan.status.last_failure = Some(FailureStatus {
            time: failure.map_or(time(at), |failure| millis_at(failure.at_ms)),
            reason: OUT_OF_MEMORY.to_owned(),
            worker: Some(pod.name.clone()),
            message: failure.map_or_else(|| note.clone(), |failure| failure.message.clone()),
        });
        plan.emit_event(EventKind::Warning, "WorkerOOMKilled", note);
    }
}

fn killed(pod: &PodFacts, record: Option<&RevisionRecord>, failure: Option<&Failure>) -> String {
    let limit = record
        .and_then(memory_limit)
        .map_or_else(String::new, |limit| format!(" of {limit}"));
    let seen = failure
        .and_then(|failure| failure.memory_bytes)
        .map_or_else(String::new, |seen| format!(" (last seen: {})", bytes(seen)));
    format!(
        "pod {} was killed for using more memory than its limit{limit}{seen}",
        pod.name
    )
}

/// How much memory a worker may use.
pub(crate) fn memory_limit(record: &RevisionRecord) -> Option<&str> {
    let resources = record.resources.as_ref()?;
    Some(resources.limits.get("memory")?.0.as_str())
}

fn is_same(one: Timestamp, other: Timestamp) -> bool {
    one.duration_since(other).abs() <= SAME_FAILURE
}
