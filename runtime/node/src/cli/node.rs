//! `node`: a pod's process.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use streamkeeper_protocol::{
    job_api::{CONTROL_PORT, DATA_PORT, JOB_API_PORT},
    paths::StatePaths,
};
use streamkeeper_storage::{ObjectStore, StorageConfig};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    EXIT_FENCED, EXIT_USAGE,
    args::{OptionalDuration, duration, optional_duration},
    fail,
    signals::EndSignals,
};
use crate::{
    coordinator::{
        BackOff, Board, CheckpointPolicy, CoordinatorConfig, CoordinatorEnd, Event, JobIdentity, StartMode, Welcome,
        accept, coordinate,
    },
    http::{self, CoordinatorApi, Vitals},
    metrics::Metrics,
    telemetry::{self, LogFormat},
};

/// Runs a pod of a StreamJob. Every pod starts in standby; pod 0 runs the coordinator beside its worker. Every flag may be given by its environment variable.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  streamjob-runtime node --job-namespace flights --job-name delays --job-uid 4c1f --revision 1 --workers 2 \\\n    --storage-uri s3://bucket/state --sql-file /etc/streamjob/job.sql --coordinator delays-r1-0.delays-r1:7001\n\nExit codes: 0 asked to end, 1 cannot start, 2 wrong command line, 3 lost HEAD to another process.")]
pub(super) struct NodeArgs {
    /// Namespace of the StreamJob.
    #[arg(long, env = "STREAMKEEPER_JOB_NAMESPACE")]
    job_namespace: String,
    /// Name of the StreamJob.
    #[arg(long, env = "STREAMKEEPER_JOB_NAME")]
    job_name: String,
    /// Uid of the StreamJob.
    #[arg(long, env = "STREAMKEEPER_JOB_UID")]
    job_uid: String,
    /// Revision this pod belongs to.
    #[arg(long, env = "STREAMKEEPER_REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    revision: u64,
    /// Ordinal of the pod; by default the number at the end of the host name.
    #[arg(long, env = "STREAMKEEPER_ORDINAL")]
    ordinal: Option<u32>,
    /// Workers of this revision (pods).
    #[arg(long, env = "STREAMKEEPER_WORKERS", value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
    /// Subtasks per worker: parallelism is workers × slots.
    #[arg(long, env = "STREAMKEEPER_SLOTS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    slots: u32,
    /// Key groups; fixed once the job has state.
    #[arg(long, env = "STREAMKEEPER_MAX_PARALLELISM", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=32768))]
    max_parallelism: u16,
    /// Where state lives: s3://bucket/prefix, or file:///dir for tests. The job's root is <uri>/<namespace>/<name>.
    #[arg(long, env = "STREAMKEEPER_STORAGE_URI")]
    storage_uri: String,
    /// URL of an S3-compatible server; AWS when absent. Tables use it too. Credentials come from the environment.
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    endpoint: Option<String>,
    /// Region of the bucket.
    #[arg(long, env = "AWS_REGION")]
    region: Option<String>,
    /// File with the SQL text.
    #[arg(long, env = "STREAMKEEPER_SQL_FILE")]
    sql_file: PathBuf,
    /// From the start of a checkpoint to the start of the next; 0 takes none by itself.
    #[arg(long, env = "STREAMKEEPER_CHECKPOINT_INTERVAL", default_value = "10s", value_parser = optional_duration)]
    checkpoint_interval: OptionalDuration,
    /// A checkpoint that takes longer is given up.
    #[arg(long, env = "STREAMKEEPER_CHECKPOINT_TIMEOUT", default_value = "5m", value_parser = duration)]
    checkpoint_timeout: Duration,
    /// Complete checkpoints kept, the newest among them.
    #[arg(long, env = "STREAMKEEPER_RETAIN", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=10))]
    retain: u16,
    /// What brings the job to life.
    #[arg(long, env = "STREAMKEEPER_START", value_enum, default_value = "standby")]
    start: Start,
    /// Control address of pod 0, `host:port`; by default this host (right only in pod 0).
    #[arg(long, env = "STREAMKEEPER_COORDINATOR")]
    coordinator: Option<String>,
    /// Listen address of the Job API, health and metrics.
    #[arg(long, env = "STREAMKEEPER_LISTEN_API", default_value_t = format!("0.0.0.0:{JOB_API_PORT}"))]
    listen_api: String,
    /// Listen address for the control connections of workers (pod 0).
    #[arg(long, env = "STREAMKEEPER_LISTEN_CONTROL", default_value_t = format!("0.0.0.0:{CONTROL_PORT}"))]
    listen_control: String,
    /// Listen address for records from other workers.
    #[arg(long, env = "STREAMKEEPER_LISTEN_DATA", default_value_t = format!("0.0.0.0:{DATA_PORT}"))]
    listen_data: String,
    /// Host name or address under which other pods reach this one; by default the host name.
    #[arg(long, env = "STREAMKEEPER_ADVERTISE_ADDRESS")]
    advertise_address: Option<String>,
    /// Time between SIGTERM and SIGKILL: how long a final checkpoint may take.
    #[arg(long, env = "STREAMKEEPER_GRACE", default_value = "60s", value_parser = duration)]
    grace: Duration,
    /// Wait before the second restart at the same checkpoint; the first is at once, then it doubles.
    #[arg(long, env = "STREAMKEEPER_RESTART_INITIAL", default_value = "1s", value_parser = duration)]
    restart_initial: Duration,
    /// Longest wait before a restart.
    #[arg(long, env = "STREAMKEEPER_RESTART_MAX", default_value = "5m", value_parser = duration)]
    restart_max: Duration,
    /// What happens to state that the SQL does not have any more.
    #[arg(long, env = "STREAMKEEPER_DROPPED_STATE", value_enum, default_value = "reject", ignore_case = true)]
    dropped_state: DroppedState,
    /// A worker silent for longer is lost.
    #[arg(long, env = "STREAMKEEPER_WORKER_SILENCE", default_value = "3s", value_parser = duration)]
    worker_silence: Duration,
    /// Sinks that need longer to commit abort the operation that waits for them.
    #[arg(long, env = "STREAMKEEPER_COMMIT_TIMEOUT", default_value = "60s", value_parser = duration)]
    commit_timeout: Duration,
    /// A rescale waits this long for workers to register.
    #[arg(long, env = "STREAMKEEPER_RESCALE_TIMEOUT", default_value = "5m", value_parser = duration)]
    rescale_timeout: Duration,
    /// How logs are written.
    #[arg(long, env = "STREAMKEEPER_LOG_FORMAT", value_enum, default_value = "json")]
    log_format: LogStyle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Start {
    /// HEAD, or a promotion through the Job API.
    Standby,
    /// This process promotes itself: from HEAD, or from nothing when there is none.
    Auto,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DroppedState {
    /// The plan does not fit.
    Reject,
    /// It is dropped.
    Allow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogStyle {
    /// One JSON object a line.
    Json,
    /// Plain lines.
    Text,
}

pub(super) fn main(_args: NodeArgs) -> ExitCode { ExitCode::SUCCESS }
