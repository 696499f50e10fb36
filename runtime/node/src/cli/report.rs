//! `report`: what the coordinator in this pod says of its job.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use http::Method;
use streamkeeper_protocol::job_api::JOB_API_PORT;
use streamkeeper_security::Rotation;

use super::{answer, args::duration, fail};
use streamkeeper_control::{
    job_api_client,
    transport::{Transport, files},
};

/// Prints the report of the coordinator in this pod, as JSON: phase, checkpoints, pauses, failures.
/// Only processes of the job may ask.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  kubectl exec delays-r1-0 -- /streamjob-runtime report\n\nExit codes: 0 printed, 1 no answer."
)]
pub(super) struct ReportArgs {
    /// Address of the Job API, `host:port`.
    #[arg(long, default_value_t = format!("127.0.0.1:{JOB_API_PORT}"))]
    address: String,
    /// Folder where the job's Secret is mounted where pods talk TLS.
    #[arg(
        long,
        env = "STREAMKEEPER_TLS_FOLDER",
        default_value = "/etc/streamjob-tls"
    )]
    tls_folder: PathBuf,
    /// Folder where it is mounted where pods show only the token of the job; with neither folder
    /// the call is made without any keys.
    #[arg(
        long,
        env = "STREAMKEEPER_TOKEN_FOLDER",
        default_value = "/etc/streamjob-token"
    )]
    token_folder: PathBuf,
    /// How long certificates and tokens are used.
    #[arg(long, env = "STREAMKEEPER_TLS_ROTATION", value_parser = duration, hide = true)]
    tls_rotation: Option<Duration>,
}

pub(super) fn main(args: &ReportArgs) -> ExitCode {
    let rotation = args
        .tls_rotation
        .map_or_else(Rotation::default, Rotation::every);
    let keys: [(_, fn(_) -> _); 2] = [
        (&args.tls_folder, Transport::Tls),
        (&args.token_folder, Transport::Token),
    ];
    let transport = match keys.into_iter().find(|(folder, _)| folder.is_dir()) {
        Some((folder, transport)) => match files::read(folder, rotation) {
            Ok((identity, _)) => transport(identity),
            Err(message) => return fail(message),
        },
        None => Transport::Plain,
    };
    let called = match super::one_thread() {
        Ok(runtime) => runtime.block_on(job_api_client::call(
            &transport,
            Method::GET,
            &args.address,
            "/v1/report",
        )),
        Err(message) => return fail(message),
    };
    match called {
        Ok((status, body)) if status.is_success() => answer(&[&body[..], b"\n"].concat()),
        Ok((status, body)) => fail(format!(
            "{} answers {status}: {}",
            args.address,
            String::from_utf8_lossy(&body)
        )),
        Err(error) => fail(format!("no report from {}: {error}", args.address)),
    }
}
