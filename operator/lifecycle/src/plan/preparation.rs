//! How far a revision in standby is, and what is wrong with its pods.

use k8s_openapi::jiff::Timestamp;
use streamkeeper_api::condition::Stalled;
use streamkeeper_guard::guard;
use streamkeeper_protocol::job_api::PreflightVerdict;

use crate::{
    observed::facts::{Fact, PodFacts, RevisionFacts, Waiting},
    plan::input::Input,
    revision::record::RevisionRecord,
    status::failures,
};

/// How far a revision in standby is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preparation {
    /// Some of its objects are missing.
    Missing,
    /// It needs time; a reason when it also needs help from outside that may come by itself.
    Waiting {
        /// What keeps it, if something does.
        trouble: Option<Stalled>,
        /// What it waits for.
        message: String,
    },
    /// Its pods are up, its plan is compiled, its state fits.
    Ready,
    /// It will not come up as it is.
    Broken {
        /// Why.
        reason: Stalled,
        /// What is wrong and what to do.
        message: String,
    },
}

/// Something wrong with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodProblem {
    /// Why.
    pub reason: Stalled,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether it has lasted so long that people should know of it.
    pub lasting: bool,
    /// Whether it is bad enough to give up on it now, rather than to wait.
    pub settled: bool,
}

/// Restarts after which a container that waits for its next start counts as crash looping, and
/// after which a job that fails by its own fault is not waited for.
const CRASHES: u32 = 3;

/// How far a revision is that is being prepared since `since`.
pub(crate) fn preparation(input: &Input<'_>, number: u64, since: Timestamp) -> Preparation {
    let facts = input.revision(number);
    let broken = |reason, message: &str| Preparation::Broken {
        reason,
        message: message.to_owned(),
    };
    if !facts.is_complete() {
        let refused = input.observed.unapplied.as_ref();
        return match refused.filter(|refused| refused.revision == number) {
            None => Preparation::Missing,
            Some(refused) if refused.invalid => broken(
                Stalled::InvalidSpec,
                &format!("{}; correct the spec", refused.message),
            ),
            Some(refused) if input.passed(since, input.settings.unschedulable_grace) => broken(
                Stalled::QuotaExceeded,
                &format!("{}; make room for it", refused.message),
            ),
            Some(refused) => Preparation::Waiting {
                trouble: Some(Stalled::QuotaExceeded),
                message: refused.message.clone(),
            },
        };
    }
    let mut message = String::new();
    let mut trouble = None;
    let mut may_pass = false;
    if let Fact::Known(preflight) = &facts.preflight
        && guard!("a check speaks of its own revision": preflight.revision == number)
    {
        match preflight.verdict {
            PreflightVerdict::Compatible => return Preparation::Ready,
            PreflightVerdict::InvalidSql => {
                return broken(Stalled::InvalidSql, &preflight.message);
            }
            PreflightVerdict::Incompatible => {
                return broken(Stalled::StateIncompatible, &preflight.message);
            }
            PreflightVerdict::SnapshotNotFound => {
                return broken(Stalled::SnapshotNotFound, &preflight.message);
            }
            PreflightVerdict::RestoreFailed => {
                return broken(Stalled::RestoreFailed, &preflight.message);
            }
            PreflightVerdict::StorageUnavailable => {
                trouble = Some(Stalled::StorageUnreachable);
                message.clone_from(&preflight.message);
            }
            PreflightVerdict::Pending => message.clone_from(&preflight.message),
        }
    }
    if let Some(error) = input
        .report(number)
        .and_then(|report| report.error.as_ref())
    {
        match Stalled::named(&error.reason) {
            Some(reason @ (Stalled::InvalidSql | Stalled::StateIncompatible)) => {
                return broken(reason, &error.message);
            }
            Some(reason) => {
                trouble = Some(reason);
                message.clone_from(&error.message);
            }
            None => {}
        }
    }
    if let Some(problem) = problem(input, number, since) {
        if problem.settled {
            return broken(problem.reason, &problem.message);
        }
        if problem.lasting {
            trouble = Some(problem.reason);
        }
        // It has its own time, from when it began.
        may_pass = matches!(
            problem.reason,
            Stalled::ImagePullFailed | Stalled::InvalidSpec
        );
        message = problem.message;
    }
    if message.is_empty() {
        message = pods_up(facts);
    }
    if !may_pass && input.passed(since, input.job.spec.upgrade.progress_deadline.to_std()) {
        return broken(
            trouble.unwrap_or_else(|| overdue(facts)),
            &format!(
                "it was not ready within {}: {message}",
                input.job.spec.upgrade.progress_deadline
            ),
        );
    }
    Preparation::Waiting { trouble, message }
}

/// The worst that is wrong with the pods of a revision; graces count from `since`.
pub(crate) fn problem(input: &Input<'_>, number: u64, since: Timestamp) -> Option<PodProblem> {
    let facts = input.revision(number);
    let record = facts.record.as_ref();
    let mut found: Vec<PodProblem> = facts
        .pods
        .iter()
        .filter(|pod| !pod.deleting)
        .filter_map(|pod| pod_ailment(input, pod, record, since))
        .collect();
    found.sort_by_key(|problem| (!problem.settled, !problem.lasting));
    found.into_iter().next()
}

/// Pods that were asked for at `since` and that do not exist yet.
pub(crate) fn missing_pods(input: &Input<'_>, number: u64, since: Timestamp) -> Option<PodProblem> {
    let message = absent(input.revision(number))?;
    let late = input.passed(since, input.settings.unschedulable_grace);
    Some(PodProblem {
        reason: Stalled::QuotaExceeded,
        message,
        lasting: late,
        settled: late,
    })
}

/// Why a revision that has the job fails at the same place again and again, if nothing but its
/// own content, or what it goes on from, can be the cause.
pub(crate) fn own_fault(input: &Input<'_>, number: u64) -> Option<String> {
    let report = input.report(number)?;
    let error = report.error.as_ref()?;
    let own = matches!(
        Stalled::named(&error.reason)?,
        Stalled::BadRecord
            | Stalled::InvalidSpec
            | Stalled::InvalidSql
            | Stalled::StateIncompatible
            | Stalled::RestoreFailed
    );
    (own && report.restarts >= u64::from(CRASHES)).then(|| error.message.clone())
}

fn pod_ailment(
    input: &Input<'_>,
    pod: &PodFacts,
    record: Option<&RevisionRecord>,
    since: Timestamp,
) -> Option<PodProblem> {
    let image = record.map_or("", |record| record.image.as_str());
    if let Some(why) = &pod.unschedulable {
        let message = format!(
            "pod {} finds no node: {why}; add room, or lower spec.workers.resources or replicas",
            pod.name
        );
        let late = input.passed(since, input.settings.unschedulable_grace);
        return Some(PodProblem {
            reason: Stalled::Unschedulable,
            message,
            lasting: late,
            settled: late,
        });
    }
    let Waiting { reason, message } = pod.waiting.as_ref()?;
    let pod_name = &pod.name;
    // A registry or a Secret may come back, and the kubelet tries again and again, later and
    // later. The pod was not in trouble before it stopped being ready.
    let began = pod.unready_since.map_or(since, |then| then.max(since));
    let lasting = input.passed(began, input.settings.image_pull_grace);
    let deadline = input.job.spec.upgrade.progress_deadline.to_std();
    let hopeless = input.passed(began, deadline);
    match reason.as_str() {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable" => Some(PodProblem {
            reason: Stalled::ImagePullFailed,
            message: format!(
                "pod {pod_name} cannot pull image {image} ({reason}: {message}); correct spec.image, or make the image available"
            ),
            lasting: lasting || reason == "InvalidImageName",
            settled: hopeless || reason == "InvalidImageName",
        }),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(PodProblem {
                reason: Stalled::InvalidSpec,
                message: format!(
                    "pod {pod_name} cannot start its container ({reason}: {message}); create what is missing, or correct spec.env"
                ),
                lasting,
                settled: hopeless,
            })
        }
        "CrashLoopBackOff" => Some(PodProblem {
            reason: Stalled::CrashLooping,
            message: crash(pod, record.and_then(failures::memory_limit)),
            lasting: pod.restarts >= CRASHES,
            settled: pod.restarts >= CRASHES,
        }),
        _ => None,
    }
}

/// Pod, reason and remedy of a crash loop.
fn crash(pod: &PodFacts, limit: Option<&str>) -> String {
    let name = &pod.name;
    let restarts = pod.restarts;
    let Some(end) = &pod.terminated else {
        return format!(
            "pod {name} crashed {restarts} times; read its log with: kubectl logs --previous {name}"
        );
    };
    let code = end.exit_code;
    if end.reason == "OOMKilled" {
        let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
        return format!(
            "pod {name} was killed {restarts} times for using more memory than its limit{limit}; raise spec.workers.resources.limits.memory"
        );
    }
    let cause = if end.message.trim().is_empty() {
        end.reason.as_str()
    } else {
        end.message.trim()
    };
    format!(
        "pod {name} crashed {restarts} times (exit code {code}): {cause}; correct the spec, or read its log with: kubectl logs --previous {name}"
    )
}

/// Why a revision that is silently late is late.
fn overdue(facts: &RevisionFacts) -> Stalled {
    if absent(facts).is_some() {
        Stalled::QuotaExceeded
    } else {
        Stalled::ProgressDeadlineExceeded
    }
}

/// The message about pods that were not created, if there are any.
fn absent(facts: &RevisionFacts) -> Option<String> {
    let asked = facts.stateful_set.map_or(0, |set| set.replicas);
    let there = facts.pods.len();
    (u32::try_from(there).unwrap_or(u32::MAX) < asked).then(|| {
        format!(
            "{there} of {asked} pods were created; if no more come, a ResourceQuota or an admission rule refuses them: see the events of the StatefulSet"
        )
    })
}

fn pods_up(facts: &RevisionFacts) -> String {
    if let Some(message) = absent(facts) {
        return message;
    }
    let there = facts.pods.len();
    let ready = facts
        .pods
        .iter()
        .filter(|pod| pod.ready && !pod.deleting)
        .count();
    match (&facts.report, ready < there) {
        (_, true) => format!("{ready} of {there} pods are up"),
        (Fact::Unknown(unknown), false) => {
            format!("the coordinator does not answer yet: {}", unknown.why)
        }
        (Fact::Known(_), false) => "the check of query and state still runs".to_owned(),
    }
}
