//! The command line of the operator.

use std::time::Duration;

use clap::{Parser, Subcommand};
use streamkeeper_controller::{
    config::{self, RunFlags},
    telemetry::LogFormat,
};

/// The command line of the operator.
#[derive(Debug, Parser)]
#[command(
    name = "streamkeeper",
    version,
    about = "Kubernetes operator that keeps stateful streaming jobs alive"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Reconcile StreamJobs and StreamSnapshots until the process is told to stop.
    Run {
        #[command(flatten)]
        flags: Box<RunFlags>,
        /// Log filter, as in RUST_LOG.
        #[arg(long, env = "STREAMKEEPER_LOG", default_value = "info")]
        log: String,
        /// Format of log lines.
        #[arg(
            long,
            env = "STREAMKEEPER_LOG_FORMAT",
            value_enum,
            default_value = "json"
        )]
        log_format: LogFormat,
    },
    /// Print the CustomResourceDefinitions.
    Crds,
    /// Run a small job through its life on the cluster and report each step.
    SelfTest {
        /// Namespace of the job; the operator must watch it.
        #[arg(long, env = "STREAMKEEPER_NAMESPACE", default_value = "default")]
        namespace: String,
        /// Name of the job.
        #[arg(long, default_value = "streamkeeper-self-test")]
        name: String,
        /// How long each step may take.
        #[arg(long, default_value = "2m", value_parser = config::duration)]
        patience: Duration,
        /// How long all steps together may take. `helm test` itself gives up after five minutes and
        /// says less.
        #[arg(long, default_value = "4m", value_parser = config::duration)]
        deadline: Duration,
    },
}
