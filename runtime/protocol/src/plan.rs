//! `StreamPlan`: what the SQL front end produces and the engine runs. Stored with every checkpoint,
//! so it has a version.
//!
//! A plan is a DAG in topological order: `nodes[i].id == i`, and inputs point to smaller ids. Every
//! node runs in every subtask (parallelism P). A subtask sends a row over a `Hash` exchange to the
//! subtask that owns the key group of the row's key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{aggregate::AggregateCall, expr::Expr, types::Schema};

/// Version of the IR; a reader accepts its own and older ones.
pub const PLAN_FORMAT: u32 = 1;

/// Most operators on a way from a source to a sink. The engine calls one from the other, so each
/// costs stack.
pub const MAX_DEPTH: usize = 500;

/// Position of a node in [`StreamPlan::nodes`].
pub type NodeId = usize;

/// A compiled job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamPlan {
    /// [`PLAN_FORMAT`] of the writer.
    pub format: u32,
    /// Nodes in topological order.
    pub nodes: Vec<PlanNode>,
    /// Settings from `SET` statements.
    pub settings: Settings,
}

/// Values of the `SET` keys that change execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// `table.local-time-zone`, an IANA name; default UTC.
    pub time_zone: Option<String>,
    /// `streamkeeper.source.rows-per-second`: each table source of the job, over all its subtasks,
    /// emits at most this many rows a second. For replays and demonstrations; Flink ignores the
    /// key.
    pub source_rows_per_second: Option<u64>,
    /// `table.exec.source.idle-timeout` in milliseconds; 0 or absent means none.
    pub source_idle_timeout_ms: Option<u64>,
    /// `table.exec.state.ttl` in milliseconds; 0 or absent keeps state without a limit.
    pub state_ttl_ms: Option<u64>,
    /// `streamkeeper.sink.buffer-size` in bytes: rows that each subtask of a sink keeps at most
    /// until they are committed. Absent means a share of the worker's memory, at most
    /// [`SINK_BUFFER_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink_buffer_bytes: Option<u64>,
}

/// Default limit of what a subtask of a sink keeps in memory until it is committed.
pub const SINK_BUFFER_BYTES: u64 = 256 << 20;

/// One operator of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanNode {
    /// Position in the plan.
    pub id: NodeId,
    /// Identity of the node's state across plan changes (16 hex digits): a hash of operator kind,
    /// normalised key expressions, lineage to source tables, window and ordinal among equals; not
    /// the plan position. Sources and sinks have one too (positions, commit markers).
    pub state_uid: String,
    /// Short label for people, like `WindowAggregate(carrier, TUMBLE 1h)`.
    pub label: String,
    /// What it does.
    pub operator: Operator,
    /// Where its rows come from; a source has none, a union several.
    pub inputs: Vec<Input>,
    /// Columns of its output; for a sink, of its input.
    pub schema: Schema,
    /// Kinds of change its output may carry.
    pub changelog: ChangelogMode,
}

/// An edge into a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Upstream node.
    pub node: NodeId,
    /// How rows travel.
    pub exchange: Exchange,
}

/// How rows travel between two nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// Same subtask, same thread: fused.
    Forward,
    /// By key group of these columns of the upstream output; no columns means that one key group
    /// takes all.
    Hash {
        /// Key columns, positions in the upstream schema.
        keys: Vec<usize>,
    },
}

/// Kinds of change on an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangelogMode {
    /// Only `+I`.
    InsertOnly,
    /// `+I -U +U -D`.
    Retract,
    /// `+I +U -D`, by the key of the producing aggregation.
    Upsert,
}

/// What a node does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Reads a table. Output: the table's physical columns.
    Source(TableRef),
    /// Filters, then projects. Filter and projections see the input's columns. Changes keep their
    /// kind.
    Calc {
        /// Rows where this is not TRUE are dropped.
        filter: Option<Expr>,
        /// Output columns.
        project: Vec<Expr>,
    },
    /// Emits watermarks `expr(row)`, monotonous, in epoch milliseconds. A NULL watermark is
    /// ignored, a NULL time column fails the job. Rows pass unchanged.
    WatermarkAssigner {
        /// The time column, TIMESTAMP(3) or TIMESTAMP_LTZ(3).
        column: usize,
        /// The watermark of a row, same type.
        expr: Expr,
    },
    /// All rows of all inputs (same schema).
    Union,
    /// Window aggregation in one phase (`Single`), or split around the shuffle.
    WindowAggregate(WindowAggregate),
    /// Unbounded `GROUP BY`. Input: any changelog. Output columns: keys, then aggregates. Emits
    /// `+I` on the first row of a key, then `-U +U` (`+U` alone in [`ChangelogMode::Upsert`]) when
    /// the result changed, `-D` when the last row of a key was retracted. Without keys it starts
    /// with the first row.
    GroupAggregate {
        /// Key columns of the input.
        keys: Vec<usize>,
        /// Aggregates.
        aggregates: Vec<AggregateCall>,
    },
    /// Writes a table.
    Sink(TableRef),
}

/// A table of the catalog with its connector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableRef {
    /// Name in the SQL text.
    pub name: String,
    /// `WITH ('connector' = …)`.
    pub connector: String,
    /// The other options, checked by the connector; `${VAR}` is expanded by the worker, never
    /// stored expanded.
    pub options: BTreeMap<String, String>,
    /// Physical columns.
    pub schema: Schema,
    /// `PRIMARY KEY (…) NOT ENFORCED`, positions in `schema`.
    pub primary_key: Vec<usize>,
}

/// A window aggregation over an insert-only input.
///
/// Single and Global emit, when the watermark passes `window end - 1 ms`, one row per key and
/// window: keys, aggregates, `window_start`, `window_end` (TIMESTAMP(3) or TIMESTAMP_LTZ(3) as the
/// time column), `window_time` (= end - 1 ms). Local emits, at the end of every input batch or
/// later but at the latest before a watermark or barrier passes, one row per key and slice: keys,
/// `partial_types` of each aggregate in order, then `records` (BIGINT: the rows behind them) and
/// `slice_end` (BIGINT, epoch milliseconds). Global's `keys` and `time` count in Local's output. A
/// row whose windows are all past the watermark is late: dropped and counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowAggregate {
    /// Which part of the work.
    pub phase: Phase,
    /// The window.
    pub window: Window,
    /// Time column of the input (`slice_end` for Global).
    pub time: usize,
    /// Key columns of the input.
    pub keys: Vec<usize>,
    /// Aggregates. For Global, `arg` and `filter` are those of the Local input and not used.
    pub aggregates: Vec<AggregateCall>,
}

/// Part of a window aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// All of it, after the shuffle.
    Single,
    /// Partial accumulators before the shuffle. Stateless across barriers.
    Local,
    /// Merges partial accumulators.
    Global,
}

/// A window of event time. Slices (panes) are `gcd(size, slide)` long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// `TUMBLE(TABLE t, DESCRIPTOR(c), size [, offset])`, milliseconds.
    Tumble {
        /// Length.
        size: i64,
        /// Shift of the windows' starts.
        offset: i64,
    },
    /// `HOP(TABLE t, DESCRIPTOR(c), slide, size [, offset])`, milliseconds; size is a multiple of
    /// slide.
    Hop {
        /// Distance between starts.
        slide: i64,
        /// Length.
        size: i64,
        /// Shift of the windows' starts.
        offset: i64,
    },
}

impl StreamPlan {
    /// Hash of the plan as stored: 16 hex digits of xxh3-64 over its JSON.
    pub fn hash(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&text))
    }
}
