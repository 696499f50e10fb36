//! The operator's program.

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::{Parser, Subcommand};
use streamkeeper::{
    api::crd,
    buckets::S3,
    clock::Clock,
    config::{self, RunFlags},
    controller::{Context, Ports, run},
    coordinator_client::NativeJobApi,
    events::Events,
    health::{self, Readiness},
    leader::{Candidate, Leadership, LeaseClient, decision::Terms},
    metrics::Metrics,
    self_test::SelfTest,
    telemetry::{self, LogFormat},
};
use tokio_util::sync::CancellationToken;

/// Lists of thousands of objects come and go. How soon what they took goes back to the system is
/// said by variables that the chart sets: see `docs/operator.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Take a small job through its life on the cluster, and tell how it went.
    SelfTest {
        /// Namespace of the job: one that the operator looks after.
        #[arg(long, env = "STREAMKEEPER_NAMESPACE", default_value = "default")]
        namespace: String,
        /// Name of the job.
        #[arg(long, default_value = "streamkeeper-self-test")]
        name: String,
        /// How long each step may take.
        #[arg(long, default_value = "2m", value_parser = config::duration)]
        patience: Duration,
        /// How long all steps together may take. `helm test` gives up after five minutes by itself,
        /// and says less.
        #[arg(long, default_value = "4m", value_parser = config::duration)]
        deadline: Duration,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Crds => print_crds(),
        Command::SelfTest {
            namespace,
            name,
            patience,
            deadline,
        } => test(&SelfTest {
            namespace,
            name,
            patience,
            deadline,
        }),
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

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn test(with: &SelfTest) -> Result<(), AnyError> {
    run_async(async {
        let client = kube::Client::try_default().await?;
        with.run(client, |step| println!("{step}")).await?;
        Ok(())
    })
}

/// Runs the operator on one thread: it waits for answers, it does not compute.
fn serve(flags: &RunFlags) -> Result<(), AnyError> {
    run_async(operate(flags))
}

fn run_async(work: impl Future<Output = Result<(), AnyError>>) -> Result<(), AnyError> {
    // Two TLS users, one provider: named before either asks for "the" default.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a TLS provider is installed already")?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// After SIGTERM, what is under way may take this long: a standby replica waits for the Lease
/// meanwhile.
const DRAIN: Duration = Duration::from_secs(2);

async fn operate(flags: &RunFlags) -> Result<(), AnyError> {
    let keyring = Arc::new(flags.keyring()?);
    tracing::info!(fingerprint = keyring.current(), "master key");
    if !flags.tls {
        tracing::warn!(
            "TLS is off: coordinators and workers of new revisions show their job's token in plain text"
        );
    }
    let config = kube::Config::infer().await?;
    let (metrics, readiness, stop) = (
        Metrics::default(),
        Readiness::default(),
        CancellationToken::new(),
    );
    let leadership = if flags.leader_elect {
        Leadership::standing_by()
    } else {
        Leadership::without_lease()
    };
    metrics.leads(leadership.leads());
    let client = leadership.client(config.clone())?;
    let ended = CancellationToken::new();
    let candidacy = async {
        if flags.leader_elect {
            let ended = ended.clone().cancelled_owned();
            let candidate = candidate(flags, config, leadership.clone(), metrics.clone())?;
            candidate.run(ended).await;
        }
        Ok::<(), AnyError>(())
    };
    let namespaces = flags.namespaces();
    let events = Events::new(client.clone(), flags.identity.clone());
    let (led, counted, maker) = (leadership.clone(), metrics.clone(), client.clone());
    let context = move |caches| {
        let buckets = Arc::new(S3::default());
        let ports = Ports {
            jobs: Arc::new(NativeJobApi),
            heads: buckets.clone(),
            folders: buckets,
        };
        let (settings, pod_settings) = (flags.settings(keyring.current()), flags.pod_settings());
        Context::new(
            maker,
            ports,
            events,
            counted,
            settings,
            pod_settings,
            caches,
        )
        .with_leadership(led)
        .with_keys(keyring)
    };
    let controller = run(
        client,
        &namespaces,
        readiness.clone(),
        stop.clone(),
        context,
    );
    let work = async {
        tokio::select! {
            () = controller => {}
            () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await } => {
                tracing::warn!("what is under way does not end in time: it is dropped, and done again by whoever comes next");
            }
        }
        ended.cancel();
    };
    let server = health::serve(
        flags.listen,
        readiness.clone(),
        leadership.clone(),
        flags.metrics.then(|| metrics.clone()),
        ended.clone(),
    );
    let signals = async {
        shutdown_signal().await?;
        tracing::info!("stopping");
        stop.cancel();
        Ok::<(), AnyError>(())
    };
    tokio::try_join!(
        async {
            work.await;
            Ok::<(), AnyError>(())
        },
        candidacy,
        async { Ok(server.await?) },
        signals
    )?;
    Ok(())
}

/// The Lease is renewed by a client of its own: nothing else may stand in its way, and it is what
/// writes are held to.
fn candidate(
    flags: &RunFlags,
    config: kube::Config,
    leadership: Leadership,
    metrics: Metrics,
) -> Result<Candidate, AnyError> {
    let client = Leadership::without_lease().client(config)?;
    let lease = LeaseClient::new(
        client,
        &flags.namespace,
        &flags.lease_name,
        &flags.identity,
        flags.pod_uid.as_deref(),
        Clock::default(),
    );
    let terms = Terms::of(flags.lease_duration);
    Ok(Candidate::new(lease, terms, leadership, metrics))
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
