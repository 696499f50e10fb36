//! The connection to the coordinator: made again whenever it is lost.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{io::BufReader, sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::WorkerConfig;
use streamkeeper_control::{
    messages::{
        CONTROL_FORMAT, Register, SILENCE_LIMIT, ToCoordinator, ToWorker, read_first_message,
        read_message, write_message,
    },
    transport::wire::{WireReader, WireWriter},
};

/// Longest wait between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What the session tells the worker loop.
#[derive(Debug)]
pub(super) enum FromSession {
    /// The coordinator took this worker in.
    Connected,
    /// It said something.
    Told(ToWorker),
    /// The connection is gone.
    Lost,
}

/// The attempt that runs here, as [`Register::running`] tells it; 0 for none.
pub(super) type Running = Arc<AtomicU64>;

/// Keeps a connection for as long as it lives.
pub(super) async fn keep<E: From<FromSession> + Send + 'static>(
    config: WorkerConfig,
    running: Running,
    mut outbox: mpsc::UnboundedReceiver<ToCoordinator>,
    worker_loop: mpsc::UnboundedSender<E>,
) {
    let mut pause = Duration::from_millis(20);
    let mut complained = String::new();
    loop {
        match register(&config, &running).await {
            Ok((read, write)) => {
                tracing::info!(coordinator = config.coordinator, "registered");
                pause = Duration::from_millis(20);
                complained.clear();
                if worker_loop.send(FromSession::Connected.into()).is_err() {
                    return;
                }
                let why = converse(read, write, &mut outbox, &worker_loop).await;
                tracing::warn!(
                    coordinator = config.coordinator,
                    why,
                    "connection to the coordinator lost"
                );
                if worker_loop.send(FromSession::Lost.into()).is_err() {
                    return;
                }
            }
            Err(error) => {
                let error = error.to_string();
                if error != complained {
                    tracing::warn!(
                        coordinator = config.coordinator,
                        error,
                        "no coordinator yet; trying on"
                    );
                    complained = error;
                }
            }
        }
        if worker_loop.is_closed() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn register(
    config: &WorkerConfig,
    running: &Running,
) -> io::Result<(BufReader<WireReader>, WireWriter)> {
    let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
    let dialled = config
        .transport
        .dial_peer(&config.coordinator, Duration::from_secs(3));
    let stream = dialled.await?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let register = ToCoordinator::Register(Register {
        format: CONTROL_FORMAT,
        worker: config.worker,
        job_uid: config.job_uid.clone(),
        revision: config.revision,
        data_addr: config.data_addr.clone(),
        slots: config.slots,
        version: config.version.clone(),
        running: Some(running.load(Ordering::Relaxed)).filter(|attempt| *attempt != 0),
    });
    write_message(&mut write, &register).await?;
    match timeout(Duration::from_secs(5), read_first_message(&mut read))
        .await
        .map_err(timed_out)??
    {
        Some(ToWorker::Registered) => Ok((read, write)),
        Some(ToWorker::Refused { why }) => {
            Err(io::Error::other(format!("it refuses this worker: {why}")))
        }
        Some(_) => Err(io::Error::other("it does not answer the registration")),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

async fn converse<E: From<FromSession> + Send + 'static>(
    mut read: BufReader<WireReader>,
    mut write: WireWriter,
    outbox: &mut mpsc::UnboundedReceiver<ToCoordinator>,
    worker_loop: &mpsc::UnboundedSender<E>,
) -> String {
    let worker_loop = worker_loop.clone();
    let mut reading = AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            match timeout(SILENCE_LIMIT, read_message::<ToWorker>(&mut read)).await {
                Ok(Ok(Some(ToWorker::Ping))) => {}
                Ok(Ok(Some(message))) => {
                    if worker_loop.send(FromSession::Told(message).into()).is_err() {
                        return "this worker ends".to_owned();
                    }
                }
                Ok(Ok(None)) => return "it closed the connection".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return format!("silent for {} s", SILENCE_LIMIT.as_secs()),
            }
        }
    }));
    loop {
        tokio::select! {
            why = &mut reading => return why.unwrap_or_else(|error| error.to_string()),
            message = outbox.recv() => {
                let Some(message) = message else { return "this worker ends".to_owned() };
                if let Err(error) = write_message(&mut write, &message).await {
                    return error.to_string();
                }
            }
        }
    }
}
