//! What `/metrics` shows: taken from the last report and the workers' heartbeats when it is
//! scraped, so nothing is counted twice.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use streamkeeper_protocol::job_api::Report;

use streamkeeper_control::{clock, messages::Heartbeat};

/// The metrics of one process.
#[derive(Debug, Default)]
pub struct Metrics {
    job: (String, String),
    snapshot: Arc<Mutex<Snapshot>>,
}

#[derive(Debug, Default)]
struct Snapshot {
    report: Option<Report>,
    heartbeats: BTreeMap<u32, Heartbeat>,
}

impl Metrics {
    /// Metrics of a process of this job.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            job: (namespace.to_owned(), name.to_owned()),
            snapshot: Arc::default(),
        }
    }

    /// Takes over what is known now.
    pub fn observe<'a>(
        &self,
        report: &Report,
        heartbeats: impl Iterator<Item = (u32, &'a Heartbeat)>,
    ) {
        let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.report = Some(report.clone());
        snapshot.heartbeats = heartbeats
            .map(|(worker, heartbeat)| (worker, heartbeat.clone()))
            .collect();
    }

    /// OpenMetrics text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let labels = [("namespace", &self.job.0), ("streamjob", &self.job.1)];
        let labels = labels
            .into_iter()
            .map(|(key, value)| (key.into(), value.clone().into()));
        let mut registry = Registry::with_prefix_and_labels("streamjob", labels);
        registry.register_collector(Box::new(Scrape(self.snapshot.clone())));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

#[derive(Debug)]
struct Scrape(Arc<Mutex<Snapshot>>);

type Labels = Vec<(&'static str, String)>;

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let snapshot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = &snapshot.report {
            of_job(&mut encoder, report)?;
        }
        of_workers(&mut encoder, &snapshot.heartbeats)
    }
}

fn of_job(encoder: &mut DescriptorEncoder, report: &Report) -> Result<(), fmt::Error> {
    counter(
        encoder,
        "restarts",
        "Restarts of the graph after a failure, since the process started",
        vec![(Labels::new(), report.restarts)],
    )?;
    gauge(
        encoder,
        "attempt",
        "Attempt claimed in HEAD",
        vec![(Labels::new(), lossy(report.attempt.unwrap_or(0)))],
    )?;
    gauge(
        encoder,
        "checkpoint_failures",
        "Checkpoints that failed since the last complete one",
        vec![(
            Labels::new(),
            f64::from(report.checkpoint_failures.consecutive),
        )],
    )?;
    if let Some(last) = &report.last_checkpoint {
        let seconds = |milliseconds: u64| lossy(milliseconds) / 1000.0;
        gauge(
            encoder,
            "checkpoint_duration_seconds",
            "From barrier to HEAD, of the newest checkpoint",
            vec![(Labels::new(), seconds(last.duration_ms))],
        )?;
        gauge(
            encoder,
            "checkpoint_size_bytes",
            "Bytes that a restore of the newest checkpoint reads",
            vec![(Labels::new(), lossy(last.total_bytes))],
        )?;
        let completed = seconds(u64::try_from(last.completed_ms).unwrap_or(0));
        gauge(
            encoder,
            "last_checkpoint_timestamp_seconds",
            "When the newest checkpoint was complete",
            vec![(Labels::new(), completed)],
        )?;
    }
    let paused: i64 = report
        .pauses
        .iter()
        .filter_map(|pause| {
            pause
                .first_after_ms
                .map(|after| (after - pause.last_before_ms).max(0))
        })
        .sum();
    let paused = lossy(u64::try_from(paused).unwrap_or(0)) / 1000.0;
    gauge(
        encoder,
        "recent_pauses_seconds",
        "Sum of the pauses that the report lists",
        vec![(Labels::new(), paused)],
    )
}

fn of_workers(
    encoder: &mut DescriptorEncoder,
    heartbeats: &BTreeMap<u32, Heartbeat>,
) -> Result<(), fmt::Error> {
    let per_table = |tables: fn(&Heartbeat) -> &BTreeMap<String, u64>| {
        let rows = heartbeats.iter().flat_map(move |(worker, heartbeat)| {
            tables(heartbeat).iter().map(move |(table, rows)| {
                (
                    vec![("operator", table.clone()), ("worker", worker.to_string())],
                    *rows,
                )
            })
        });
        rows.collect::<Vec<_>>()
    };
    let per_worker = |value: fn(&Heartbeat) -> Option<f64>| {
        let values = heartbeats.iter().filter_map(move |(worker, heartbeat)| {
            Some((vec![("worker", worker.to_string())], value(heartbeat)?))
        });
        values.collect::<Vec<_>>()
    };
    let counted = |value: fn(&Heartbeat) -> u64| {
        heartbeats
            .iter()
            .map(move |(worker, heartbeat)| {
                (vec![("worker", worker.to_string())], value(heartbeat))
            })
            .collect::<Vec<_>>()
    };
    counter(
        encoder,
        "records_in",
        "Records read, per source table, in this attempt",
        per_table(|heartbeat| &heartbeat.records_in),
    )?;
    counter(
        encoder,
        "records_out",
        "Records handed to sinks, per table, in this attempt",
        per_table(|heartbeat| &heartbeat.records_out),
    )?;
    counter(
        encoder,
        "late_records",
        "Records dropped because they came after the watermark",
        counted(|heartbeat| heartbeat.late_records),
    )?;
    counter(
        encoder,
        "errors",
        "Records skipped because they cannot be decoded",
        counted(|heartbeat| heartbeat.skipped_records),
    )?;
    counter(
        encoder,
        "misfit_values",
        "Values that were cut, or read as NULL because they do not fit their column",
        counted(|heartbeat| heartbeat.misfit_values),
    )?;
    gauge(
        encoder,
        "busy_ratio",
        "Part of the time in which the subtasks worked",
        per_worker(|heartbeat| Some(heartbeat.busy)),
    )?;
    gauge(
        encoder,
        "backpressured_ratio",
        "Part of the time in which a subtask had no room downstream",
        per_worker(|heartbeat| Some(heartbeat.back_pressured)),
    )?;
    gauge(
        encoder,
        "worker_memory_bytes",
        "Resident memory of the worker's process",
        per_worker(|heartbeat| Some(lossy(heartbeat.memory_bytes))),
    )?;
    let lag = per_worker(|heartbeat| {
        let watermark = heartbeat
            .watermark
            .filter(|watermark| *watermark != i64::MAX)?;
        Some(lossy(u64::try_from(clock::now_ms() - watermark).unwrap_or(0)) / 1000.0)
    });
    gauge(
        encoder,
        "watermark_lag_seconds",
        "How far the smallest watermark of a worker's sinks is behind its clock",
        lag,
    )
}

fn counter(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: Vec<(Labels, u64)>,
) -> Result<(), fmt::Error> {
    let mut descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        ConstCounter::new(value).encode(descriptor.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: Vec<(Labels, f64)>,
) -> Result<(), fmt::Error> {
    let mut descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(descriptor.encode_family(&labels)?)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn lossy(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_names_its_job_and_counters_end_in_total() {
        let metrics = Metrics::new("flights", "delays");
        assert!(metrics.text().unwrap().ends_with("# EOF\n"));
        let job = crate::JobIdentity {
            namespace: "flights".into(),
            name: "delays".into(),
            uid: "u".into(),
            revision: 1,
            pod: String::new(),
        };
        let report = crate::PublishedStatus::new(&job, 1, 1).report();
        let heartbeat = Heartbeat {
            records_in: BTreeMap::from([("flights".to_owned(), 7)]),
            watermark: Some(i64::MAX),
            ..Heartbeat::default()
        };
        metrics.observe(&report, [(0, &heartbeat)].into_iter());
        let text = metrics.text().unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("streamjob_records_in_total{"))
            .unwrap();
        for part in [
            "namespace=\"flights\"",
            "streamjob=\"delays\"",
            "operator=\"flights\"",
            "worker=\"0\"",
        ] {
            assert!(line.contains(part), "{line}");
        }
        assert!(line.ends_with(" 7"), "{line}");
        assert!(
            !text.contains("watermark_lag_seconds{"),
            "an ended stream does not lag"
        );
    }
}
