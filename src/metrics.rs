//! What the operator counts.

use std::sync::Arc;

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

/// All metrics of the operator.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<OutcomeLabel, Counter>,
    errors: Counter,
    duration: Histogram,
    restarts: Family<JobLabels, Gauge>,
    last_checkpoint: Family<JobLabels, Gauge>,
    conditions: Family<ConditionLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("streamjob");
        let reconciles = Family::default();
        let errors = Counter::default();
        let duration = Histogram::new(exponential_buckets(0.001, 2.0, 14));
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

    /// Sets what is known of a job. `conditions` are (type, status) pairs.
    pub fn observe_job<'a>(
        &self,
        namespace: &str,
        name: &str,
        restarts: i64,
        last_checkpoint_seconds: Option<i64>,
        conditions: impl Iterator<Item = (&'a str, &'a str)>,
    ) {
        let job = JobLabels {
            namespace: namespace.to_owned(),
            streamjob: name.to_owned(),
        };
        self.restarts.get_or_create(&job).set(restarts);
        if let Some(seconds) = last_checkpoint_seconds {
            self.last_checkpoint.get_or_create(&job).set(seconds);
        }
        let now: Vec<(&str, &str)> = conditions.collect();
        for condition in [
            "Ready",
            "Running",
            "CheckpointsHealthy",
            "Suspended",
            "Reconciling",
            "Stalled",
        ] {
            for status in ["True", "False", "Unknown"] {
                let labels = ConditionLabels {
                    namespace: namespace.to_owned(),
                    streamjob: name.to_owned(),
                    condition: condition.to_owned(),
                    status: status.to_owned(),
                };
                let held = now.contains(&(condition, status));
                self.conditions.get_or_create(&labels).set(i64::from(held));
            }
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
        for condition in [
            "Ready",
            "Running",
            "CheckpointsHealthy",
            "Suspended",
            "Reconciling",
            "Stalled",
        ] {
            for status in ["True", "False", "Unknown"] {
                self.conditions.remove(&ConditionLabels {
                    namespace: namespace.to_owned(),
                    streamjob: name.to_owned(),
                    condition: condition.to_owned(),
                    status: status.to_owned(),
                });
            }
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
