//! What the operator counts.

mod jobs;

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

use self::jobs::Jobs;

/// Outcome of a reconcile: the only label of the reconcile counters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    outcome: &'static str,
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
    leader: Gauge,
    jobs: Jobs,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("streamjob");
        let reconciles = Family::default();
        let errors = Counter::default();
        let duration = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let leader = Gauge::default();
        let jobs = Jobs::default();
        registry.register(
            "operator_leader",
            "1 while this replica does the work, else 0",
            leader.clone(),
        );
        registry.register(
            "operator_reconcile",
            "Reconciles by outcome: settled, acted, waiting, conflict, behind (the caches do not show yet what was written), paced (the job changes too often), failed",
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
            "operator_build",
            "Version of the operator",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register_collector(Box::new(jobs.clone()));
        Self {
            registry: Arc::new(registry),
            reconciles,
            errors,
            duration,
            leader,
            jobs,
        }
    }
}

impl Metrics {
    /// Says whether this replica does the work.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

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
        self.jobs.observe(namespace, name, facts);
    }

    /// Counts a transition that ended with this kind and result.
    pub fn ended(&self, namespace: &str, name: &str, (kind, result): (&str, &str), seconds: f64) {
        self.jobs.ended(namespace, name, kind, result, seconds);
    }

    /// Adds a time without records.
    pub fn paused(&self, namespace: &str, name: &str, seconds: f64) {
        self.jobs.paused(namespace, name, seconds);
    }

    /// Forgets a job that is gone.
    pub fn forget_job(&self, namespace: &str, name: &str) {
        self.jobs.forget(namespace, name);
    }

    /// The exposition text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
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
        metrics.ended("flights", "delays", ("Upgrade", "Succeeded"), 3.0);
        metrics.paused("flights", "delays", 0.2);
        metrics.forget_job("flights", "delays");
        assert!(!metrics.encode().contains("delays"));
    }

    #[test]
    fn pauses_and_transitions_are_summed_up_by_job() {
        let metrics = Metrics::default();
        metrics.observe_job("flights", "delays", &facts("0.1.0"));
        let job = r#"namespace="flights",streamjob="delays""#;
        let none = format!("streamjob_pause_seconds_total{{{job}}} 0.0");
        assert!(metrics.encode().lines().any(|line| line == none));
        metrics.paused("flights", "delays", 0.25);
        metrics.paused("flights", "delays", 1.5);
        metrics.ended("flights", "delays", ("Upgrade", "Succeeded"), 3.0);
        let text = metrics.encode();
        for line in [
            format!("streamjob_pause_seconds_total{{{job}}} 1.75"),
            format!(
                r#"streamjob_transition_duration_seconds_sum{{{job},kind="Upgrade",result="Succeeded"}} 3.0"#
            ),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn one_replica_leads() {
        let metrics = Metrics::default();
        for (leads, line) in [
            (false, "streamjob_operator_leader 0"),
            (true, "streamjob_operator_leader 1"),
        ] {
            metrics.leads(leads);
            let text = metrics.encode();
            assert!(text.lines().any(|found| found == line), "{text}");
        }
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
