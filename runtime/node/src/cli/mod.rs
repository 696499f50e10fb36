//! The commands of the binary.
//!
//! * [`node`]: a pod's process. [`run`]: a job in one process. [`check`]: does a text compile?
//! * [`verify`]: is a savepoint whole? [`salvage`]: what a restore left behind becomes one.
//!   [`report`]: what a running coordinator says.
//! * [`bench`]: events per CPU-second, and [`connection`]: what TLS costs. [`measurement`]: their
//!   figures.
//! * [`args`], [`signals`]: what several of them take and wait for.

mod args;
mod bench;
mod check;
mod connection;
mod measurement;
mod node;
mod report;
mod run;
mod salvage;
mod signals;
mod verify;

use std::{
    io::{ErrorKind, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

/// Runs streaming SQL: as a pod of a StreamJob, or by itself.
#[derive(Debug, Parser)]
#[command(
    name = "streamjob-runtime",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a pod of a StreamJob: a worker, and in the pod with ordinal 0 the coordinator too.
    Node(Box<node::NodeArgs>),
    /// Compiles SQL and prints its plan, or what is wrong with it.
    Check(check::CheckArgs),
    /// Runs the job of a SQL file in this process, without Kubernetes.
    Run(run::RunArgs),
    /// Reads a savepoint and holds every object against its checksums.
    Verify(verify::VerifyArgs),
    /// Makes a savepoint of the newest state that a restore left behind.
    Salvage(salvage::SalvageArgs),
    /// Prints the report of the coordinator in this pod, as JSON.
    Report(report::ReportArgs),
    /// Measures events per CPU-second, and what checkpoints cost.
    Bench(bench::BenchArgs),
    /// Prints a completion script: `source <(streamjob-runtime completions bash)`.
    Completions {
        /// Shell it is for.
        shell: clap_complete::Shell,
    },
}

/// Exit code of a process that lost HEAD to another one.
pub const EXIT_FENCED: u8 = 3;
/// Exit code of a command line that makes no sense.
pub const EXIT_USAGE: u8 = 2;

/// Runs the command of this process.
pub fn main() -> ExitCode {
    // One provider in the whole graph; a second installation of it is no
    // error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    match cli.command {
        Command::Node(args) => node::main(*args),
        Command::Check(args) => check::main(&args),
        Command::Run(args) => run::main(&args),
        Command::Verify(args) => verify::main(&args),
        Command::Salvage(args) => salvage::main(&args),
        Command::Report(args) => report::main(&args),
        Command::Bench(args) => bench::main(&args),
        Command::Completions { shell } => {
            let (mut command, mut script) = (Cli::command(), Vec::new());
            clap_complete::generate(shell, &mut command, "streamjob-runtime", &mut script);
            answer(&script)
        }
    }
}

/// Writes what was asked for to standard output; a reader that stopped has seen enough.
fn answer(text: &[u8]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            fail(format!("writing to standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Returns a runtime for a command that does one thing, on this thread.
fn one_thread() -> Result<Runtime, String> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))
}

/// Prints an error the way every command does, and fails.
fn fail(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("streamjob-runtime: {message}");
    ExitCode::FAILURE
}
