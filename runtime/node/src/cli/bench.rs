//! `bench`: events per CPU-second of whole jobs in this process, with and without checkpoints.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use streamkeeper_storage::{ObjectStore, StorageConfig};

use super::{
    args::{OptionalDuration, optional_duration},
    connection, fail,
    measurement::{Spread, cpu_seconds},
};
use crate::solo::Solo;
use crate::telemetry::{self, LogFormat};
use streamkeeper_control::clock;
use streamkeeper_coordinator::{CoordinatorEnd, compile};
use streamkeeper_tables::stores::UriStores;

/// Measures whole jobs, from a generator to nowhere: what a CPU-second does, and what checkpoints
/// cost. CPU time is that of the process: source, network, state, checkpoints and their upload
/// included.
#[derive(Debug, Clone, Args)]
pub(super) struct BenchArgs {
    /// Rows per run.
    #[arg(long, default_value_t = 20_000_000)]
    rows: u64,
    /// Runs of each case; the median is printed, and the range.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Subtasks, a thread each.
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    parallelism: u32,
    /// From the start of a checkpoint to the start of the next, in the runs with checkpoints.
    #[arg(long, default_value = "1s", value_parser = optional_duration)]
    checkpoint_interval: OptionalDuration,
    /// Measures only what bytes between two workers cost, with and without TLS.
    #[arg(long)]
    connections: bool,
    /// Where checkpoints go: a folder (removed afterwards) or s3://bucket/prefix.
    #[arg(long)]
    storage: Option<String>,
    /// URL of an S3-compatible server.
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    endpoint: Option<String>,
    /// Region of the bucket.
    #[arg(long, env = "AWS_REGION")]
    region: Option<String>,
}

/// A query to measure.
struct Case {
    name: &'static str,
    query: &'static str,
    sink: &'static str,
}

const CASES: [Case; 3] = [
    Case {
        name: "stateless (filter, 3 expressions)",
        query: "SELECT auction, bidder, price * 89 / 100 AS price, ts FROM bids WHERE MOD(auction, 8) <> 0",
        sink: "auction BIGINT, bidder BIGINT, price BIGINT, ts TIMESTAMP(3)",
    },
    Case {
        name: "window (10 s tumble, 1,000 keys, COUNT SUM MAX)",
        query: "SELECT window_start, auction, COUNT(*) AS n, SUM(price) AS total, MAX(price) AS top \
                FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
                GROUP BY window_start, window_end, auction",
        sink: "window_start TIMESTAMP(3), auction BIGINT, n BIGINT, total BIGINT, top BIGINT",
    },
    Case {
        name: "group (unbounded, 100,000 keys, COUNT SUM)",
        query: "SELECT bidder, COUNT(*) AS n, SUM(price) AS total FROM bids GROUP BY bidder",
        sink: "bidder BIGINT, n BIGINT, total BIGINT",
    },
];

impl Case {
    fn sql(&self, rows: u64) -> String {
        format!(
            "CREATE TABLE bids (
               id BIGINT, auction BIGINT, bidder BIGINT, price BIGINT,
               ts AS TO_TIMESTAMP_LTZ(id, 3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
             ) WITH (
               'connector' = 'datagen', 'rows-per-second' = '1000000000', 'number-of-rows' = '{rows}',
               'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '{}',
               'fields.auction.min' = '1', 'fields.auction.max' = '1000',
               'fields.bidder.min' = '1', 'fields.bidder.max' = '100000',
               'fields.price.min' = '1', 'fields.price.max' = '1000000'
             );
             CREATE TABLE nowhere ({}) WITH ('connector' = 'blackhole');
             INSERT INTO nowhere {};",
            rows.saturating_sub(1),
            self.sink.replace("TIMESTAMP(3)", "TIMESTAMP_LTZ(3)"),
            self.query
        )
    }
}

/// One run.
#[derive(Debug, Clone, Copy)]
struct Measured {
    wall_s: f64,
    cpu_s: f64,
    checkpoints: u64,
}

pub(super) fn main(args: &BenchArgs) -> ExitCode {
    telemetry::init(LogFormat::Text, "error");
    if cfg!(debug_assertions) {
        eprintln!("this is not a release build: the figures mean little (`make bench` builds one)");
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format!("cannot start the runtime: {error}")),
    };
    match runtime.block_on(measure(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(message),
    }
}

async fn measure(args: &BenchArgs) -> Result<(), String> {
    if args.connections {
        return connection::measure(args.runs).await;
    }
    let interval = args.checkpoint_interval.0.map_or_else(
        || "no checkpoints".to_owned(),
        |every| format!("checkpoints every {every:?}"),
    );
    println!(
        "{} rows per run, median of {} runs (range), parallelism {}, {interval}",
        args.rows, args.runs, args.parallelism
    );
    println!(
        "{:<50} {:>24} {:>24} {:>12} {:>11}",
        "query", "M events / CPU-s", "without checkpoints", "checkpoints", "their cost"
    );
    for case in &CASES {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        // In turns, so that a noisy neighbour hits both.
        for _ in 0..args.runs {
            without.push(one(args, case, None).await?);
            with.push(one(args, case, args.checkpoint_interval.0).await?);
        }
        let rate = |runs: &[Measured]| Spread::of(runs.iter().map(|run| events(args) / run.cpu_s));
        let (rate_with, rate_without) = (rate(&with), rate(&without));
        let cost = (rate_without.median / rate_with.median - 1.0) * 100.0;
        let checkpoints: u64 = with.iter().map(|run| run.checkpoints).sum();
        println!(
            "{:<50} {:>24} {:>24} {:>12} {:>10.1}%",
            case.name,
            rate_with.text(),
            rate_without.text(),
            checkpoints / u64::from(args.runs),
            cost
        );
        let wall = Spread::of(with.iter().map(|run| events(args) / run.wall_s));
        println!("{:<50} {:>24} M events / wall second", "", wall.text());
    }
    connection::measure(args.runs).await
}

#[expect(clippy::cast_precision_loss, reason = "rows of a benchmark")]
fn events(args: &BenchArgs) -> f64 {
    args.rows as f64 / 1e6
}

async fn one(
    args: &BenchArgs,
    case: &Case,
    checkpoint_interval: Option<Duration>,
) -> Result<Measured, String> {
    let compiled = compile(&case.sql(args.rows)).map_err(|error| error.describe(case.name))?;
    let config = StorageConfig {
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        ..StorageConfig::default()
    };
    let folder = Scratch::new(args.storage.as_deref())?;
    let (store, prefix): (Arc<dyn ObjectStore>, String) =
        streamkeeper_storage::open(&folder.uri, &config).map_err(|error| error.to_string())?;
    let solo = Solo {
        name: format!("bench-{}", ulid::Ulid::generate()),
        compiled: Arc::new(compiled),
        slots: args.parallelism,
        max_parallelism: 128,
        checkpoint_interval,
        may_drop_state: false,
        store,
        prefix,
        tables: Arc::new(UriStores::new(config)),
    };
    let (cpu, began) = (cpu_seconds()?, clock::now());
    let mut job = solo.start().await?;
    let end = job.ended().await?;
    let measured = Measured {
        wall_s: began.elapsed().as_secs_f64(),
        cpu_s: cpu_seconds()? - cpu,
        checkpoints: job.report().checkpoints_in_attempt,
    };
    let report = job.report();
    job.close().await;
    if end != CoordinatorEnd::Completed || report.records_in != args.rows {
        return Err(format!(
            "{}: {end:?} after {} of {} rows; {:?}",
            case.name, report.records_in, args.rows, report.error
        ));
    }
    Ok(measured)
}

/// Where the checkpoints of a run go.
struct Scratch {
    uri: String,
    folder: Option<PathBuf>,
}

impl Scratch {
    fn new(storage: Option<&str>) -> Result<Self, String> {
        if let Some(uri) = storage.filter(|storage| storage.contains("://")) {
            return Ok(Self {
                uri: uri.to_owned(),
                folder: None,
            });
        }
        let parent = storage.map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = parent.join(format!("streamjob-bench-{}", ulid::Ulid::generate()));
        let told = |error: std::io::Error| format!("{}: {error}", folder.display());
        std::fs::create_dir_all(&folder).map_err(told)?;
        let path = std::fs::canonicalize(&folder).map_err(told)?;
        Ok(Self {
            uri: format!("file://{}", path.display()),
            folder: Some(path),
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_compiles() {
        for case in &CASES {
            if let Err(error) = compile(&case.sql(10)) {
                panic!("{}: {error}", case.name);
            }
        }
    }
}
