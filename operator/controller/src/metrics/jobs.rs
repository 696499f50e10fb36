//! What is known of each job, kept small: there may be thousands, and each has many lines. Lines
//! are made when a scrape asks.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{
        MetricType,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Unit,
};

use crate::metrics::JobFacts;

/// Namespace and name.
type Key = (String, String);

/// A job.
#[derive(Debug, Default)]
struct Job {
    restarts: u64,
    last_checkpoint: Option<i64>,
    /// `(type, status)`.
    conditions: Vec<(Box<str>, Box<str>)>,
    engine: Box<str>,
    version: Box<str>,
    image: Box<str>,
    revision: u64,
    paused: f64,
    /// Durations by kind and result.
    transitions: BTreeMap<(Box<str>, Box<str>), Histogram>,
}

/// All jobs.
#[derive(Debug, Clone, Default)]
pub(super) struct Jobs(Arc<Mutex<BTreeMap<Key, Job>>>);

impl Jobs {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Key, Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, namespace: &str, name: &str, change: impl FnOnce(&mut Job)) {
        let key = (namespace.to_owned(), name.to_owned());
        change(self.all().entry(key).or_default());
    }

    pub(super) fn observe(&self, namespace: &str, name: &str, facts: &JobFacts<'_>) {
        self.change(namespace, name, |job| {
            job.restarts = facts.restarts;
            job.last_checkpoint = facts.last_checkpoint.or(job.last_checkpoint);
            let conditions = facts.conditions.iter();
            job.conditions = conditions
                .map(|&(kind, status)| (kind.into(), status.into()))
                .collect();
            job.engine = facts.engine.as_str().into();
            job.version = facts.version.into();
            job.image = facts.image.into();
            job.revision = facts.revision;
        });
    }

    pub(super) fn ended(&self, namespace: &str, name: &str, kind: &str, result: &str, took: f64) {
        // From an unnoticeable pause to the longest deadline.
        let empty = || Histogram::new(exponential_buckets(0.5, 2.0, 11));
        self.change(namespace, name, |job| {
            let all = job.transitions.entry((kind.into(), result.into()));
            all.or_insert_with(empty).observe(took);
        });
    }

    pub(super) fn paused(&self, namespace: &str, name: &str, seconds: f64) {
        self.change(namespace, name, |job| job.paused += seconds);
    }

    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.all().remove(&(namespace.to_owned(), name.to_owned()));
    }
}

/// Types of conditions that every job has a line for, also while it is not so.
const ALWAYS: [&str; 6] = {
    use streamkeeper_api::condition::kind;
    [
        kind::READY,
        kind::RUNNING,
        kind::CHECKPOINTS_HEALTHY,
        kind::SUSPENDED,
        kind::RECONCILING,
        kind::STALLED,
    ]
};

impl Collector for Jobs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let jobs = self.all();
        if jobs.is_empty() {
            return Ok(());
        }
        let labels = |(namespace, name): &Key| {
            [
                ("namespace", namespace.clone()),
                ("streamjob", name.clone()),
            ]
        };

        let help = "1, with what the job runs as";
        let mut family = encoder.encode_descriptor("info", help, None, MetricType::Gauge)?;
        for (key, job) in jobs.iter() {
            let [namespace, name] = labels(key);
            let all = [
                namespace,
                name,
                ("engine", job.engine.to_string()),
                ("version", job.version.to_string()),
                ("image", job.image.to_string()),
                ("revision", job.revision.to_string()),
            ];
            family.encode_family(&all)?.encode_gauge(&1_i64)?;
        }

        let help = "Restarts of the job after a failure since it was created";
        let mut family = encoder.encode_descriptor("restarts", help, None, MetricType::Counter)?;
        for (key, job) in jobs.iter() {
            family
                .encode_family(&labels(key))?
                .encode_counter::<NoLabelSet, _, u64>(&job.restarts, None)?;
        }

        let (name, help) = (
            "last_checkpoint_timestamp",
            "Completion of the newest checkpoint",
        );
        let unit = Some(&Unit::Seconds);
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (key, job) in jobs.iter() {
            if let Some(seconds) = job.last_checkpoint {
                family.encode_family(&labels(key))?.encode_gauge(&seconds)?;
            }
        }

        let help = "1 for the current status of each condition";
        let mut family = encoder.encode_descriptor("condition", help, None, MetricType::Gauge)?;
        for (key, job) in jobs.iter() {
            let mut line = |condition: &str, status: &str, value: i64| {
                let [namespace, name] = labels(key);
                let all = [
                    namespace,
                    name,
                    ("condition", condition.to_owned()),
                    ("status", status.to_owned()),
                ];
                family.encode_family(&all)?.encode_gauge(&value)
            };
            for (condition, status) in &job.conditions {
                line(condition, status, 1)?;
            }
            for condition in ALWAYS {
                let is_true = |(kind, status): &(Box<str>, Box<str>)| {
                    **kind == *condition && **status == *"True"
                };
                if !job.conditions.iter().any(is_true) {
                    line(condition, "True", 0)?;
                }
            }
        }

        let (name, help) = (
            "pause",
            "Time without records in transitions and after failures, as the job measured it",
        );
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (key, job) in jobs.iter() {
            family
                .encode_family(&labels(key))?
                .encode_counter::<NoLabelSet, _, u64>(&job.paused, None)?;
        }

        let (name, help) = (
            "transition_duration",
            "Time from the start of a transition to its end, by kind and result",
        );
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (key, job) in jobs.iter() {
            for ((kind, result), took) in &job.transitions {
                let [namespace, name] = labels(key);
                let all = [
                    namespace,
                    name,
                    ("kind", kind.to_string()),
                    ("result", result.to_string()),
                ];
                took.encode(family.encode_family(&all)?)?;
            }
        }
        Ok(())
    }
}
