//! What a worker tells about itself.

use std::sync::atomic::Ordering::Relaxed;

use streamkeeper_protocol::plan::Operator;
use tokio::time::Instant;

use super::graph::Graph;
use streamkeeper_control::messages::Heartbeat;

/// Makes heartbeats; remembers the last one, for rates.
#[derive(Debug)]
pub(super) struct Liveness {
    at: Instant,
    busy_us: u64,
    back_pressured_us: u64,
}

impl Liveness {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            at: now,
            busy_us: 0,
            back_pressured_us: 0,
        }
    }

    /// Signs of life, about `graph` if one runs.
    pub(super) fn heartbeat(&mut self, graph: Option<&Graph>, now: Instant) -> Heartbeat {
        let mut heartbeat = Heartbeat {
            memory_bytes: resident_bytes(),
            ..Heartbeat::default()
        };
        let Some(graph) = graph else { return heartbeat };
        let sum = |count: fn(&streamkeeper_engine::task::Counters) -> u64| {
            graph
                .counters
                .iter()
                .map(|counters| count(counters))
                .sum::<u64>()
        };
        heartbeat.attempt = Some(graph.attempt);
        for node in &graph.plan.nodes {
            let rows = || {
                graph
                    .counters
                    .iter()
                    .map(|counters| counters.rows(node.id))
                    .sum::<u64>()
            };
            match &node.operator {
                Operator::Source(table) => {
                    *heartbeat.records_in.entry(table.name.clone()).or_default() += rows();
                }
                Operator::Sink(table) => {
                    *heartbeat.records_out.entry(table.name.clone()).or_default() += rows();
                }
                _ => {}
            }
        }
        heartbeat.late_records = sum(|counters| counters.late.load(Relaxed));
        heartbeat.skipped_records = sum(|counters| counters.skipped.load(Relaxed));
        heartbeat.misfit_values = sum(|counters| counters.misfits.load(Relaxed));
        heartbeat.moved_bytes = graph.moved.bytes();
        heartbeat.last_record_ms = graph.last_record_ms();
        heartbeat.watermark = graph
            .counters
            .iter()
            .map(|counters| counters.sink_watermark())
            .min()
            .flatten();
        let (busy, back_pressured) = (
            sum(|counters| counters.busy_us.load(Relaxed)),
            sum(|counters| counters.back_pressured_us.load(Relaxed)),
        );
        let passed = now.duration_since(self.at).as_secs_f64()
            * 1e6
            * f64::from(u32::try_from(graph.counters.len()).unwrap_or(1).max(1));
        heartbeat.busy = part(busy.saturating_sub(self.busy_us), passed);
        heartbeat.back_pressured = part(
            back_pressured.saturating_sub(self.back_pressured_us),
            passed,
        );
        (self.at, self.busy_us, self.back_pressured_us) = (now, busy, back_pressured);
        heartbeat
    }
}

fn part(micros: u64, of: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "the microseconds between two heartbeats"
    )]
    let micros = micros as f64;
    if of > 0.0 {
        (micros / of).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

/// Resident memory of this process; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    // In kibibytes, whatever the size of a page.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}
