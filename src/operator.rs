//! The wiring of the operator: which part gets what, and in which order they end.

use std::{error::Error, sync::Arc, time::Duration};

use streamkeeper_controller::{
    Context, Ports,
    buckets::S3,
    clock::Clock,
    config::RunFlags,
    coordinator_client::NativeJobApi,
    events::Events,
    health::{self, Readiness},
    leader::{Candidate, Leadership, LeaseClient, decision::Terms},
    metrics::Metrics,
};
use tokio_util::sync::CancellationToken;

/// An error of any part, for the last line that the program prints.
pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// After SIGTERM, what is under way may take this long: a standby replica waits for the Lease
/// meanwhile.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs the operator until it is told to stop, or until a part that it needs fails.
pub(crate) async fn run(flags: &RunFlags) -> Result<(), AnyError> {
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
    let controller = streamkeeper_controller::run(
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
                tracing::warn!("what is under way does not end in time: it is dropped, and the next replica does it again");
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
