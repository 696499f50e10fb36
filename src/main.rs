//! The operator's program: parses its arguments and runs one command.

mod cli;
mod operator;

use std::process::ExitCode;

use clap::Parser as _;
use streamkeeper_controller::{self_test::SelfTest, telemetry};

use crate::{
    cli::{Cli, Command},
    operator::AnyError,
};

/// Gives memory of large lists back to the system; variables that the chart sets say how soon (see
/// `docs/operator.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "giving up");
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "output of the commands")]
fn execute(command: Command) -> Result<(), AnyError> {
    match command {
        Command::Crds => print!("{}", streamkeeper_api::crd::yaml()?),
        Command::SelfTest {
            namespace,
            name,
            patience,
            deadline,
        } => {
            let test = SelfTest {
                namespace,
                name,
                patience,
                deadline,
            };
            block_on(async {
                let client = kube::Client::try_default().await?;
                test.run(client, |step| println!("{step}")).await?;
                Ok(())
            })?;
        }
        Command::Run {
            flags,
            log,
            log_format,
        } => {
            telemetry::init(log_format, &log);
            block_on(operator::run(&flags))?;
        }
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "`crds` has no log")]
fn print_error(error: &AnyError) {
    eprintln!("streamkeeper: {error}");
}

/// Runs a command on one thread: it waits for answers, it does not compute.
fn block_on(work: impl Future<Output = Result<(), AnyError>>) -> Result<(), AnyError> {
    // Two crates use TLS; both take this provider.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a TLS provider is installed already")?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
