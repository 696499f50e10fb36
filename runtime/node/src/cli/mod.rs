//! The commands of the binary.
//!
//! * [`node`]: a pod's process. [`run`]: a job in one process. [`check`]: does a text compile?
//! * [`state`]: what stands on a store. [`bench`]: events per CPU-second.
//! * [`args`]: values that several of them take.

mod args;
mod check;
mod node;
mod signals;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Runs streaming SQL: as a pod of a StreamJob, or by itself.
#[derive(Debug, Parser)]
#[command(name = "streamjob-runtime", version, propagate_version = true, arg_required_else_help = true)]
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
    /// Prints a completion script for a shell.
    #[command(hide = true)]
    MarkdownHelp,
}

/// Exit code of a process that lost HEAD to another one.
pub const EXIT_FENCED: u8 = 3;
/// Exit code of a command line that makes no sense.
pub const EXIT_USAGE: u8 = 2;

/// Runs the command of this process.
pub fn main() -> ExitCode {
    // One provider in the whole graph; a second installation of the same one is no error to anybody.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    match cli.command {
        Command::Node(args) => node::main(*args),
        Command::Check(args) => check::main(&args),
        Command::MarkdownHelp => {
            println!("{}", Cli::command().render_long_help());
            ExitCode::SUCCESS
        }
    }
}

/// Prints an error the way every command does, and fails.
fn fail(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("streamjob-runtime: {message}");
    ExitCode::FAILURE
}
