//! What the operator counts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};

use crate::api::condition::kind;

/// Types of conditions, each of which has one of [`STATUSES`] or is absent.
const CONDITIONS: [&str; 6] = [
    kind::READY,
    kind::RUNNING,
    kind::CHECKPOINTS_HEALTHY,
    kind::SUSPENDED,
    kind::RECONCILING,
    kind::STALLED,
];
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// Outcome of a reconcile: the only label of the reconcile counters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    outcome: &'static str,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct JobLabels {
    namespace: String,
    streamjob: String,
}

/// A condition of a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConditionLabels {
    namespace: String,
    streamjob: String,
    condition: String,
    status: String,
}

/// What a job runs as.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InfoLabels {
    namespace: String,
    streamjob: String,
    engine: String,
    version: String,
    image: String,
    revision: u64,
}

/// What is known of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFacts<'a> {
    /// Restarts after failures.
    pub restarts: u64,
    /// Completion of the newest checkpoint, in seconds since the epoch.
    pub last_checkpoint: Option<i64>,
    /// `(type, status)` of its conditions.
    pub conditions: Vec<(&'a str, &'a str)>,
    /// Engine of its spec.
    pub engine: String,
    /// Version of the runtime that runs it; empty until one does.
    pub version: &'a str,
    /// Image that it runs.
    pub image: &'a str,
    /// Revision that runs it.
    pub revision: u64,
}

/// All metrics of the operator.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<OutcomeLabel, Counter>,
    errors: Counter,
    duration: Histogram,
    info: Family<InfoLabels, Gauge>,
    /// The labels in `info`: those of before must go when they change.
    known: Arc<Mutex<HashMap<JobLabels, InfoLabels>>>,
    restarts: Family<JobLabels, Counter>,
    last_checkpoint: Family<JobLabels, Gauge>,
    conditions: Family<ConditionLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("streamjob");
        let reconciles = Family::default();
        let errors = Counter::default();
        let duration = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let info = Family::default();
        let restarts = Family::default();
        let last_checkpoint = Family::default();
        let conditions = Family::default();
        registry.register(
            "operator_reconcile",
            "Reconciles by outcome: settled, acted, waiting, conflict, failed",
            reconciles.clone(),
        );
        registry.register(
            "operator_reconcile_errors",
            "Reconciles that failed",
            errors.clone(),
        );
        registry.register_with_unit(
            "operator_reconcile_duration",
            "Time of a reconcile",
            Unit::Seconds,
            duration.clone(),
        );
        registry.register("info", "1, with what the job runs as", info.clone());
        registry.register(
            "restarts",
            "Restarts of the job after a failure since it was created",
            restarts.clone(),
        );
        registry.register_with_unit(
            "last_checkpoint_timestamp",
            "Completion of the newest checkpoint",
            Unit::Seconds,
            last_checkpoint.clone(),
        );
        registry.register(
            "condition",
            "1 for the current status of each condition",
            conditions.clone(),
        );
        registry.register(
            "operator_build",
            "Version of the operator",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        Self {
            registry: Arc::new(registry),
            reconciles,
            errors,
            duration,
            info,
            known: Arc::default(),
            restarts,
            last_checkpoint,
            conditions,
        }
    }
}

impl Metrics {
    /// Counts a finished reconcile.
    pub fn reconciled(&self, outcome: &'static str, seconds: f64) {
        self.reconciles
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
        self.duration.observe(seconds);
        if outcome == "failed" {
            self.errors.inc();
        }
    }

    /// Sets what is known of a job.
    pub fn observe_job(&self, namespace: &str, name: &str, facts: &JobFacts<'_>) {
        let job = JobLabels {
            namespace: namespace.to_owned(),
            streamjob: name.to_owned(),
        };
        self.restarts
            .get_or_create(&job)
            .inner()
            .store(facts.restarts, Ordering::Relaxed);
        if let Some(seconds) = facts.last_checkpoint {
            self.last_checkpoint.get_or_create(&job).set(seconds);
        }
        for (condition, status, labels) in condition_labels(&job) {
            let held = facts.conditions.contains(&(condition, status));
            self.conditions.get_or_create(&labels).set(i64::from(held));
        }
        let info = InfoLabels {
            namespace: namespace.to_owned(),
            streamjob: name.to_owned(),
            engine: facts.engine.clone(),
            version: facts.version.to_owned(),
            image: facts.image.to_owned(),
            revision: facts.revision,
        };
        self.info.get_or_create(&info).set(1);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = known.insert(job, info.clone()).filter(|old| *old != info) {
            self.info.remove(&before);
        }
    }

    /// Forgets a job that is gone.
    pub fn forget_job(&self, namespace: &str, name: &str) {
        let job = JobLabels {
            namespace: namespace.to_owned(),
            streamjob: name.to_owned(),
        };
        self.restarts.remove(&job);
        self.last_checkpoint.remove(&job);
        for (_, _, labels) in condition_labels(&job) {
            self.conditions.remove(&labels);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = known.remove(&job) {
            self.info.remove(&before);
        }
    }

    /// The exposition text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Every type and status of the conditions of a job.
fn condition_labels(
    job: &JobLabels,
) -> impl Iterator<Item = (&'static str, &'static str, ConditionLabels)> {
    CONDITIONS.into_iter().flat_map(move |condition| {
        STATUSES.into_iter().map(move |status| {
            let labels = ConditionLabels {
                namespace: job.namespace.clone(),
                streamjob: job.streamjob.clone(),
                condition: condition.to_owned(),
                status: status.to_owned(),
            };
            (condition, status, labels)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(version: &str) -> JobFacts<'_> {
        JobFacts {
            restarts: 3,
            last_checkpoint: Some(1_772_366_400),
            conditions: vec![("Ready", "False"), ("Stalled", "True")],
            engine: "Native".to_owned(),
            version,
            image: "runtime:1",
            revision: 7,
        }
    }

    #[test]
    fn a_job_is_shown_as_it_is_and_not_as_it_was() {
        let metrics = Metrics::default();
        metrics.observe_job("flights", "delays", &facts("0.1.0"));
        metrics.observe_job("flights", "delays", &facts("0.2.0"));
        let text = metrics.encode();
        let job = r#"namespace="flights",streamjob="delays""#;
        for line in [
            format!("streamjob_restarts_total{{{job}}} 3"),
            format!("streamjob_last_checkpoint_timestamp_seconds{{{job}}} 1772366400"),
            format!(r#"streamjob_condition{{{job},condition="Stalled",status="True"}} 1"#),
            format!(r#"streamjob_condition{{{job},condition="Ready",status="True"}} 0"#),
            format!(
                r#"streamjob_info{{{job},engine="Native",version="0.2.0",image="runtime:1",revision="7"}} 1"#
            ),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("0.1.0\",image"), "{text}");
    }

    #[test]
    fn a_job_that_is_gone_leaves_nothing() {
        let metrics = Metrics::default();
        metrics.observe_job("flights", "delays", &facts("0.1.0"));
        metrics.forget_job("flights", "delays");
        assert!(!metrics.encode().contains("delays"));
    }

    #[test]
    fn reconciles_are_counted_by_outcome() {
        let metrics = Metrics::default();
        metrics.reconciled("acted", 0.01);
        metrics.reconciled("failed", 0.01);
        let text = metrics.encode();
        for line in [
            r#"streamjob_operator_reconcile_total{outcome="acted"} 1"#,
            "streamjob_operator_reconcile_errors_total 1",
            "streamjob_operator_reconcile_duration_seconds_count 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
