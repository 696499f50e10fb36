//! The operator's program.

use std::{process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};
use streamkeeper::{
    api::crd,
    config::RunFlags,
    controller::{Context, Ports, run},
    engine::NativeJobApi,
    events::Events,
    health::{self, Readiness},
    metrics::Metrics,
    storage::S3,
    telemetry::{self, LogFormat},
};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Parser)]
#[command(
    name = "streamkeeper",
    version,
    about = "Kubernetes operator that keeps stateful streaming jobs alive"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look after StreamJobs until told to stop.
    Run {
        #[command(flatten)]
        flags: Box<RunFlags>,
        /// Log filter, as in RUST_LOG.
        #[arg(long, env = "STREAMKEEPER_LOG", default_value = "info")]
        log: String,
        /// How log lines look.
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
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Crds => print_crds(),
        Command::Run {
            flags,
            log,
            log_format,
        } => {
            telemetry::init(log_format, &log);
            serve(&flags)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "giving up");
            eprintln_error(&error);
            ExitCode::FAILURE
        }
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[expect(clippy::print_stderr, reason = "`crds` has no log")]
fn eprintln_error(error: &AnyError) {
    eprintln!("streamkeeper: {error}");
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn print_crds() -> Result<(), AnyError> {
    print!("{}", crd::yaml()?);
    Ok(())
}

/// Runs the operator on one thread: it waits for answers, it does not compute.
fn serve(flags: &RunFlags) -> Result<(), AnyError> {
    // Two TLS users, one provider: named before either asks for "the" default.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a TLS provider is installed already")?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let client = kube::Client::try_default().await?;
            let (metrics, readiness, stop) = (
                Metrics::default(),
                Readiness::default(),
                CancellationToken::new(),
            );
            let buckets = Arc::new(S3::default());
            let ports = Ports {
                jobs: Arc::new(NativeJobApi::default()),
                heads: buckets.clone(),
                folders: buckets,
            };
            let events = Events::new(client.clone(), flags.identity.clone());
            let namespaces: Vec<Option<&str>> = match flags
                .watch_namespaces
                .iter()
                .map(String::as_str)
                .filter(|name| !name.is_empty())
                .collect::<Vec<_>>()
            {
                names if names.is_empty() => vec![None],
                names => names.into_iter().map(Some).collect(),
            };
            let controllers = namespaces.into_iter().map(|namespace| {
                let (client, ports, events, metrics) = (
                    client.clone(),
                    ports.clone(),
                    events.clone(),
                    metrics.clone(),
                );
                let (settings, pod_settings) = (flags.settings(), flags.pod_settings());
                run(
                    client.clone(),
                    namespace,
                    readiness.clone(),
                    stop.clone(),
                    move |caches| {
                        Context::new(
                            client,
                            ports,
                            events,
                            metrics,
                            settings,
                            pod_settings,
                            caches,
                        )
                    },
                )
            });
            let server = health::serve(
                flags.listen,
                readiness.clone(),
                metrics.clone(),
                stop.clone(),
            );
            let signals = async {
                shutdown_signal().await?;
                tracing::info!("stopping");
                stop.cancel();
                Ok::<(), AnyError>(())
            };
            let work = futures::future::join_all(controllers);
            let ((), served, signalled) = tokio::join!(async { drop(work.await) }, server, signals);
            served?;
            signalled
        })
}

async fn shutdown_signal() -> Result<(), AnyError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
