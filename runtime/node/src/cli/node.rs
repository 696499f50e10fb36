//! `node`: a pod's process.

use std::{
    future::Future, io, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use streamkeeper_protocol::{
    job_api::{CONTROL_PORT, DATA_PORT, JOB_API_PORT},
    manifest::Guarantee,
    paths::StatePaths,
};
use streamkeeper_security::Rotation;
use streamkeeper_storage::ObjectStore;
use tokio_util::sync::CancellationToken;

use super::{
    EXIT_FENCED, EXIT_USAGE,
    args::{OptionalDuration, WriteArgs, duration, optional_duration},
    fail,
    signals::EndSignals,
};
use crate::{
    http::{self, CoordinatorApi},
    telemetry::{self, LogFormat},
    worker::{self, WorkerConfig},
};
use streamkeeper_control::transport::{Transport, files};
use streamkeeper_coordinator::{
    BackOff, CheckpointPolicy, Coordinator, CoordinatorConfig, CoordinatorEnd, CoordinatorEvent,
    JobIdentity, JobText, StandbyScope, StartMode, liveness::Liveness, metrics::Metrics,
};
use streamkeeper_tables::{access::Access, stores::UriStores};

/// A deployment that takes longer has failed: state is read back in it.
const DEPLOY_TIMEOUT: Duration = Duration::from_mins(5);
/// What is left of the grace period after the final checkpoint, for the exit itself.
const EXIT_MARGIN: Duration = Duration::from_secs(5);

/// Runs a pod of a StreamJob. Every pod starts in standby; pod 0 runs the coordinator beside its
/// worker. Every flag may be given by its environment variable.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  streamjob-runtime node --job-namespace flights --job-name delays --job-uid 4c1f --revision 1 --workers 2 \\\n    --storage-uri s3://bucket/state --sql-file /etc/streamjob/job.sql --coordinator delays-r1-0.delays-r1:7001\n\nExit codes: 0 asked to end, 1 cannot start, 2 wrong command line, 3 lost HEAD to another process."
)]
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
    /// Uid of the pod: once another pod has taken the job from it, it never runs the job again
    #[arg(
        long,
        env = "STREAMKEEPER_POD_UID",
        default_value = "",
        hide_default_value = true
    )]
    pod_uid: String,
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
    /// Where state lives: s3://bucket/prefix, or file:///dir for tests. The job's root is
    /// <uri>/<namespace>/<name>.
    #[arg(long, env = "STREAMKEEPER_STORAGE_URI")]
    storage_uri: String,
    /// URL of an S3-compatible server; AWS when absent. Tables use it too. Credentials come from
    /// the environment.
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    endpoint: Option<String>,
    /// Region of the bucket.
    #[arg(long, env = "AWS_REGION")]
    region: Option<String>,
    #[command(flatten)]
    writes: WriteArgs,
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
    /// What checkpoints promise when the job restarts. With AtLeastOnce no channel waits for
    /// another's barrier.
    #[arg(
        long,
        env = "STREAMKEEPER_GUARANTEE",
        value_enum,
        default_value = "ExactlyOnce",
        ignore_case = true
    )]
    guarantee: CheckpointGuarantee,
    /// What brings the job to life.
    #[arg(
        long,
        env = "STREAMKEEPER_START",
        value_enum,
        default_value = "standby"
    )]
    start: Start,
    /// Whose registration a standby waits for before it says that it could take over.
    #[arg(
        long,
        env = "STREAMKEEPER_STANDBY",
        value_enum,
        default_value = "Full",
        ignore_case = true
    )]
    standby: Standby,
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
    /// Folder where the job's Secret is mounted. With it pods talk TLS 1.3 among each other and to
    /// the operator, with certificates of the job on both sides, and show the job's token.
    #[arg(long, env = "STREAMKEEPER_TLS_FOLDER")]
    tls_folder: Option<PathBuf>,
    /// Folder where the job's Secret is mounted, for pods without TLS: every connection and every
    /// call that changes something shows the job's token. Without this and without --tls-folder
    /// every listen address must be one of loopback.
    #[arg(long, env = "STREAMKEEPER_TOKEN_FOLDER", conflicts_with = "tls_folder")]
    token_folder: Option<PathBuf>,
    /// How long certificates and tokens are used; the same for all pods and the operator.
    #[arg(long, env = "STREAMKEEPER_TLS_ROTATION", value_parser = duration, hide = true)]
    tls_rotation: Option<Duration>,
    /// Listen address of health and metrics alone, without TLS. With --tls-folder or --token-folder
    /// they are nowhere else.
    #[arg(long, env = "STREAMKEEPER_LISTEN_HEALTH")]
    listen_health: Option<String>,
    /// Host name or address under which other pods reach this one; by default the host name.
    #[arg(long, env = "STREAMKEEPER_ADVERTISE_ADDRESS")]
    advertise_address: Option<String>,
    /// Time between SIGTERM and SIGKILL: how long a final checkpoint may take.
    #[arg(long, env = "STREAMKEEPER_GRACE", default_value = "60s", value_parser = duration)]
    grace: Duration,
    /// Wait before the second restart at the same checkpoint; the first is at once, then it
    /// doubles.
    #[arg(long, env = "STREAMKEEPER_RESTART_INITIAL", default_value = "1s", value_parser = duration)]
    restart_initial: Duration,
    /// Longest wait before a restart.
    #[arg(long, env = "STREAMKEEPER_RESTART_MAX", default_value = "5m", value_parser = duration)]
    restart_max: Duration,
    /// What happens to state that the SQL does not have any more.
    #[arg(
        long,
        env = "STREAMKEEPER_DROPPED_STATE",
        value_enum,
        default_value = "reject",
        ignore_case = true
    )]
    dropped_state: DroppedState,
    /// A worker silent for longer is lost.
    #[arg(long, env = "STREAMKEEPER_WORKER_SILENCE", default_value = "3s", value_parser = duration)]
    worker_silence: Duration,
    /// Sinks whose commit does not get on for longer abort the operation that waits for them.
    #[arg(long, env = "STREAMKEEPER_COMMIT_TIMEOUT", default_value = "60s", value_parser = duration)]
    commit_timeout: Duration,
    /// A rescale waits this long for workers to register.
    #[arg(long, env = "STREAMKEEPER_RESCALE_TIMEOUT", default_value = "5m", value_parser = duration)]
    rescale_timeout: Duration,
    /// Names of the variables that SQL may use, separated by commas; without it all but secrets of
    /// this process.
    #[arg(long, env = "STREAMKEEPER_VARIABLES")]
    variables: Option<String>,
    /// Folder that the files of tables must lie in.
    #[arg(long, default_value = "/tmp")]
    files: PathBuf,
    /// How logs are written.
    #[arg(
        long,
        env = "STREAMKEEPER_LOG_FORMAT",
        value_enum,
        default_value = "json"
    )]
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
enum Standby {
    /// All workers.
    #[value(name = "Full")]
    Full,
    /// The worker of pod 0: it proves image, query and state; the other pods come with the
    /// promotion.
    #[value(name = "First")]
    First,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CheckpointGuarantee {
    /// Every record counts once.
    #[value(name = "ExactlyOnce")]
    ExactlyOnce,
    /// Every record counts; some count again after a restart.
    #[value(name = "AtLeastOnce")]
    AtLeastOnce,
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

pub(super) fn main(args: NodeArgs) -> ExitCode {
    telemetry::init(args.log_format.into(), "info");
    let Some(ordinal) = args.ordinal.or_else(ordinal_of_host) else {
        let hint = "give --ordinal, or run in a pod of a StatefulSet";
        return leave(EXIT_USAGE, &format!("the host name has no ordinal: {hint}"));
    };
    Access::of_pod(args.variables.as_deref(), args.files.clone()).settle();
    // Network, store and HTTP only: subtasks have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return leave(1, &format!("cannot start the runtime: {error}")),
    };
    match runtime.block_on(pod(args, ordinal)) {
        Ok(code) => code,
        Err(message) => leave(1, &message),
    }
}

/// Ends the process with last words.
fn leave(code: u8, message: &str) -> ExitCode {
    streamkeeper_control::termination_message::write_termination_message(message);
    let _ = fail(message);
    ExitCode::from(code)
}

/// Runs the roles of a pod until it must end.
async fn pod(args: NodeArgs, ordinal: u32) -> Result<ExitCode, String> {
    let signals =
        EndSignals::new().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let liveness = Arc::new(Liveness::of(Metrics::new(
        &args.job_namespace,
        &args.job_name,
    )));
    let stop = CancellationToken::new();
    let listening = |error: io::Error| error.to_string();
    let transport = transport(&args)?;
    let health = match &args.listen_health {
        Some(address) => {
            let (listener, _) = http::bind(address, "health and metrics")
                .await
                .map_err(listening)?;
            Some(http::serve_health(
                listener,
                liveness.clone(),
                stop.child_token(),
            ))
        }
        None => None,
    };
    let (api, _) = http::bind(&args.listen_api, "the Job API")
        .await
        .map_err(listening)?;
    let (data, data_at) = http::bind(&args.listen_data, "records of other workers")
        .await
        .map_err(listening)?;
    let stores = Stores::of(&args)?;
    let coordinator = if ordinal == 0 {
        let (control, _) = http::bind(&args.listen_control, "the control plane")
            .await
            .map_err(listening)?;
        let config = coordinator_config(&args, &stores, &transport)?;
        Some(Coordinator::start(config, liveness.clone(), control, &stop))
    } else {
        None
    };
    let host = args.advertise_address.clone().or_else(host_name);
    let host = host.ok_or("this host has no name: give --advertise-address")?;
    let worker = WorkerConfig {
        worker: ordinal,
        job_uid: args.job_uid.clone(),
        revision: args.revision,
        slots: args.slots,
        coordinator: args.coordinator.clone().unwrap_or_else(|| {
            let port = port_of(&args.listen_control);
            format!("127.0.0.1:{port}")
        }),
        data_addr: address(&host, data_at.port()),
        store: stores.state.clone(),
        stores: stores.tables.clone(),
        transport: transport.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        orphan_limit: WorkerConfig::ORPHAN_LIMIT,
        leave_within: time_to_leave(args.grace),
        cache_bytes: WorkerConfig::CACHE_BYTES,
    };
    tracing::info!(
        version = worker.version,
        worker = ordinal,
        revision = args.revision,
        data = worker.data_addr,
        tls = matches!(transport, Transport::Tls(_)),
        token = transport.identity().is_some(),
        "started"
    );
    let routes = coordinator.as_ref().map(|coordinator| CoordinatorApi {
        published_status: coordinator.published_status.clone(),
        events: coordinator.events.clone(),
    });
    let api = http::serve(api, liveness.clone(), routes, transport, stop.child_token());
    let serving = async move {
        match health {
            Some(health) => futures::future::try_join(api, health).await.map(|_| ()),
            None => api.await,
        }
    };
    let leave = CancellationToken::new();
    let working = worker::run(worker, data, leave.clone(), stop.child_token());
    let asked = Asked {
        signals,
        grace: time_to_leave(args.grace),
        leave,
    };
    let code = live(asked, &liveness, coordinator, working, serving, &stop).await;
    tracing::info!("ended");
    Ok(code)
}

/// How long a final checkpoint may take, of the time between SIGTERM and SIGKILL.
fn time_to_leave(grace: Duration) -> Duration {
    grace.saturating_sub(EXIT_MARGIN).max(grace / 2)
}

/// How this process is asked to end.
struct Asked {
    signals: EndSignals,
    grace: Duration,
    /// Lets a worker go without its coordinator.
    leave: CancellationToken,
}

/// Waits for the first end of a role, or for a signal, and lets the others follow.
async fn live(
    Asked {
        mut signals,
        grace,
        leave,
    }: Asked,
    liveness: &Liveness,
    coordinator: Option<Coordinator>,
    working: impl Future<Output = ()> + Send + 'static,
    serving: impl Future<Output = io::Result<()>> + Send + 'static,
    stop: &CancellationToken,
) -> ExitCode {
    let mut working = tokio::spawn(working);
    let mut serving = tokio::spawn(serving);
    let (events, mut coordinating) = match coordinator {
        Some(Coordinator { events, end, .. }) => (Some(events), Some(end)),
        None => (None, None),
    };
    let mut asked = false;
    let code = loop {
        tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "asked to end");
                liveness.leave();
                if std::mem::replace(&mut asked, true) {
                    break ExitCode::SUCCESS;
                }
                match &events {
                    // The final checkpoint needs the worker of this pod, so that goes on.
                    Some(events) => drop(events.send(CoordinatorEvent::Terminate { grace })),
                    None => leave.cancel(),
                }
            }
            end = ended(&mut coordinating) => break code_of(end),
            _ = &mut working => {
                tracing::info!("the worker has left");
                break ExitCode::SUCCESS;
            }
            served = &mut serving => {
                tracing::error!(?served, "the HTTP server ended");
                break ExitCode::FAILURE;
            }
        }
    };
    stop.cancel();
    if !working.is_finished() {
        let _ = tokio::time::timeout(EXIT_MARGIN, working).await;
    }
    code
}

/// How the coordinator ended; never, where there is none.
async fn ended(
    coordinating: &mut Option<tokio::task::JoinHandle<CoordinatorEnd>>,
) -> Result<CoordinatorEnd, tokio::task::JoinError> {
    match coordinating {
        Some(handle) => handle.await,
        None => std::future::pending().await,
    }
}

fn code_of(end: Result<CoordinatorEnd, tokio::task::JoinError>) -> ExitCode {
    match end {
        Ok(CoordinatorEnd::Terminated | CoordinatorEnd::Completed | CoordinatorEnd::Stopped) => {
            ExitCode::SUCCESS
        }
        Ok(CoordinatorEnd::Fenced(_)) => ExitCode::from(EXIT_FENCED),
        Ok(CoordinatorEnd::InvalidSql(message)) => leave(1, &message),
        Err(error) => leave(
            1,
            &format!("the coordinator failed, which is a defect: {error}"),
        ),
    }
}

/// Where state and tables live.
struct Stores {
    state: Arc<dyn ObjectStore>,
    paths: StatePaths,
    tables: Arc<UriStores>,
}

impl Stores {
    fn of(args: &NodeArgs) -> Result<Self, String> {
        let (config, tables) = (args.writes).configs(args.endpoint.as_ref(), args.region.as_ref());
        let (state, prefix) =
            streamkeeper_storage::open(&args.storage_uri, &config).map_err(|e| e.to_string())?;
        Ok(Self {
            state,
            paths: StatePaths::new(&prefix, &args.job_namespace, &args.job_name),
            tables: Arc::new(UriStores::new(tables)),
        })
    }
}

/// How this pod talks to others.
fn transport(args: &NodeArgs) -> Result<Transport, String> {
    let (flag, folder, transport): (_, _, fn(_) -> _) = match (&args.tls_folder, &args.token_folder)
    {
        (Some(folder), _) => ("--tls-folder", folder, Transport::Tls),
        (None, Some(folder)) => ("--token-folder", folder, Transport::Token),
        (None, None) => return without_keys(args),
    };
    let rotation = args
        .tls_rotation
        .map_or_else(Rotation::default, Rotation::every);
    let (identity, uid) = files::read(folder, rotation)?;
    if uid != args.job_uid {
        return Err(format!(
            "{flag} {} holds the keys of job {uid}, not of --job-uid {}",
            folder.display(),
            args.job_uid
        ));
    }
    Ok(transport(identity))
}

/// A process without keys talks to its own host alone.
fn without_keys(args: &NodeArgs) -> Result<Transport, String> {
    for (flag, address) in [
        ("--listen-api", &args.listen_api),
        ("--listen-control", &args.listen_control),
        ("--listen-data", &args.listen_data),
    ] {
        if !is_loopback(address) {
            return Err(format!(
                "{flag} {address} is open to other hosts, and nothing says who may use it: give --tls-folder or --token-folder with the keys of the job, or listen on 127.0.0.1"
            ));
        }
    }
    Ok(Transport::Plain)
}

/// Whether a listen address is reached from this host alone.
fn is_loopback(listen: &str) -> bool {
    listen
        .parse::<SocketAddr>()
        .is_ok_and(|address| address.ip().is_loopback())
}

fn coordinator_config(
    args: &NodeArgs,
    stores: &Stores,
    transport: &Transport,
) -> Result<CoordinatorConfig, String> {
    let name = args.sql_file.display().to_string();
    let text = super::check::read(&args.sql_file)
        .map_err(|error| format!("cannot read --sql-file {name}: {error}"))?;
    Ok(CoordinatorConfig {
        job: JobIdentity {
            namespace: args.job_namespace.clone(),
            name: args.job_name.clone(),
            uid: args.job_uid.clone(),
            revision: args.revision,
            pod: args.pod_uid.clone(),
        },
        store: stores.state.clone(),
        paths: stores.paths.clone(),
        stores: stores.tables.clone(),
        transport: transport.clone(),
        on_loopback: is_loopback(&args.listen_api),
        text: JobText::Sql { name, text },
        workers: args.workers,
        slots: args.slots,
        max_parallelism: args.max_parallelism,
        checkpoints: CheckpointPolicy {
            interval: args.checkpoint_interval.0,
            timeout: args.checkpoint_timeout,
            retain: usize::from(args.retain),
            guarantee: match args.guarantee {
                CheckpointGuarantee::ExactlyOnce => Guarantee::ExactlyOnce,
                CheckpointGuarantee::AtLeastOnce => Guarantee::AtLeastOnce,
            },
        },
        back_off: BackOff {
            initial: args.restart_initial,
            max: args.restart_max,
        },
        may_drop_state: args.dropped_state == DroppedState::Allow,
        worker_silence: args.worker_silence,
        deploy_timeout: DEPLOY_TIMEOUT,
        commit_timeout: args.commit_timeout,
        rescale_timeout: args.rescale_timeout,
        start: match args.start {
            Start::Standby => StartMode::Standby,
            Start::Auto => StartMode::Auto,
        },
        standby: match args.standby {
            Standby::Full => StandbyScope::Full,
            Standby::First => StandbyScope::First,
        },
    })
}

impl From<LogStyle> for LogFormat {
    fn from(style: LogStyle) -> Self {
        match style {
            LogStyle::Json => Self::Json,
            LogStyle::Text => Self::Text,
        }
    }
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn ordinal_of_host() -> Option<u32> {
    ordinal_of(&host_name()?)
}

/// The number at the end of a pod's name.
fn ordinal_of(name: &str) -> Option<u32> {
    name.rsplit_once('-')?.1.parse().ok()
}

/// `host:port`, with brackets where the host is an IPv6 address.
fn address(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The port of a listen address.
fn port_of(listen: &str) -> &str {
    listen.rsplit_once(':').map_or(listen, |(_, port)| port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ordinal_is_the_number_at_the_end_of_the_pods_name() {
        assert_eq!(ordinal_of("delays-r12-3"), Some(3));
        assert_eq!(ordinal_of("delays"), None);
        assert_eq!(ordinal_of("delays-r1-x"), None);
    }

    #[test]
    fn only_loopback_is_listened_on_without_keys() {
        for address in ["127.0.0.1:0", "127.9.9.9:8081", "[::1]:8081"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["0.0.0.0:8081", "[::]:8081", "10.0.0.1:80", "localhost:80"] {
            assert!(!is_loopback(address), "{address}");
        }
    }

    #[test]
    fn an_ipv6_address_gets_brackets() {
        assert_eq!(address("10.0.0.1", 7000), "10.0.0.1:7000");
        assert_eq!(address("fd00::1", 7000), "[fd00::1]:7000");
    }
}
