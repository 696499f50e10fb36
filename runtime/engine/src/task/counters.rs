//! Counters of a subtask. Its thread writes them, any thread may read them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use streamkeeper_protocol::plan::{Operator, StreamPlan};

/// Counters of one subtask since it was built.
#[derive(Debug)]
pub struct Counters {
    /// Rows by node: handed out by a source, taken by a sink.
    rows: Vec<AtomicU64>,
    /// Bytes by sink node that were prepared and are not committed yet.
    uncommitted: Vec<AtomicU64>,
    /// Rows that came after the watermark and were dropped.
    pub late: AtomicU64,
    /// Records that could not be decoded and were skipped.
    pub skipped: AtomicU64,
    /// Values that were cut, or read as NULL because they do not fit their column.
    pub misfits: AtomicU64,
    /// Microseconds in which it worked.
    pub busy_us: AtomicU64,
    /// Microseconds in which it had input but no room downstream.
    pub back_pressured_us: AtomicU64,
    /// When a source last handed out rows, milliseconds since the epoch; 0 before.
    last_record_ms: AtomicI64,
    /// Smallest watermark of its sinks; `i64::MIN` before the first.
    sink_watermark: AtomicI64,
}

impl Counters {
    /// Counters for a plan, all zero.
    pub fn new(plan: &StreamPlan) -> Self {
        Self {
            rows: plan.nodes.iter().map(|_| AtomicU64::new(0)).collect(),
            uncommitted: plan.nodes.iter().map(|_| AtomicU64::new(0)).collect(),
            late: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            misfits: AtomicU64::new(0),
            busy_us: AtomicU64::new(0),
            back_pressured_us: AtomicU64::new(0),
            last_record_ms: AtomicI64::new(0),
            sink_watermark: AtomicI64::new(i64::MIN),
        }
    }

    /// Rows of a source or sink node.
    pub fn rows(&self, node: usize) -> u64 {
        self.rows.get(node).map_or(0, |rows| rows.load(Relaxed))
    }

    pub(crate) fn add_rows(&self, node: usize, count: usize) {
        if let Some(rows) = self.rows.get(node) {
            rows.fetch_add(count as u64, Relaxed);
        }
    }

    /// Bytes of a sink node that were prepared and are not committed yet.
    pub fn uncommitted(&self, node: usize) -> u64 {
        let bytes = self.uncommitted.get(node);
        bytes.map_or(0, |bytes| bytes.load(Relaxed))
    }

    pub(crate) fn prepared(&self, node: usize, bytes: usize) {
        if let Some(uncommitted) = self.uncommitted.get(node) {
            uncommitted.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// Records that bytes of a sink node are committed, and no longer in memory.
    pub fn committed(&self, node: usize, bytes: usize) {
        if let Some(uncommitted) = self.uncommitted.get(node) {
            uncommitted.fetch_sub(bytes as u64, Relaxed);
        }
    }

    /// When a source last handed out rows, milliseconds since the epoch.
    pub fn last_record_ms(&self) -> Option<i64> {
        Some(self.last_record_ms.load(Relaxed)).filter(|at| *at != 0)
    }

    pub(crate) fn set_last_record_ms(&self, at: i64) {
        self.last_record_ms.store(at, Relaxed);
    }

    /// Smallest watermark of its sinks, epoch milliseconds.
    pub fn sink_watermark(&self) -> Option<i64> {
        Some(self.sink_watermark.load(Relaxed)).filter(|at| *at != i64::MIN)
    }

    pub(crate) fn set_sink_watermark(&self, watermark: Option<i64>) {
        self.sink_watermark
            .store(watermark.unwrap_or(i64::MIN), Relaxed);
    }

    /// Rows handed out by all sources and taken by all sinks of a plan.
    pub fn totals(&self, plan: &StreamPlan) -> (u64, u64) {
        let mut totals = (0, 0);
        for node in &plan.nodes {
            match node.operator {
                Operator::Source(_) => totals.0 += self.rows(node.id),
                Operator::Sink(_) => totals.1 += self.rows(node.id),
                _ => {}
            }
        }
        totals
    }
}
