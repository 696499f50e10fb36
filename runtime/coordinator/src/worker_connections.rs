//! Control connections of workers: accepted, welcomed or refused, read and written by tasks of
//! their own.

use std::time::Duration;

use tokio::{io::BufReader, net::TcpListener, sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{events::CoordinatorEvent, worker_link::WorkerLink};
use streamkeeper_control::{
    messages::{
        CONTROL_FORMAT, HEARTBEAT_EVERY, Register, ToCoordinator, ToWorker, read_first_message,
        read_message, write_message,
    },
    transport::{
        Acceptor, Caller, Wire,
        wire::{WireReader, WireWriter},
    },
};

/// A stranger gets this long to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(5);

/// The workers that a coordinator accepts.
#[derive(Debug, Clone)]
pub(crate) struct AcceptedWorkers {
    /// Uid of the StreamJob.
    pub job_uid: String,
    /// Revision of the coordinator: workers of another one belong to another coordinator.
    pub revision: u64,
    /// Subtasks a worker must be able to run.
    pub slots: u32,
    /// A worker silent for longer is lost.
    pub silence: Duration,
}

impl AcceptedWorkers {
    /// Why this worker does not belong here, if so.
    fn refusal(&self, register: &Register) -> Option<String> {
        if register.format != CONTROL_FORMAT {
            return Some(format!(
                "the coordinator speaks control format {CONTROL_FORMAT}, the worker {}: run one image",
                register.format
            ));
        }
        if register.job_uid != self.job_uid || register.revision != self.revision {
            return Some(format!(
                "this is the coordinator of revision {} of {}, the worker belongs to revision {} of {}",
                self.revision, self.job_uid, register.revision, register.job_uid
            ));
        }
        (register.slots < self.slots).then(|| {
            format!(
                "{} slots are needed, the worker offers {}",
                self.slots, register.slots
            )
        })
    }
}

/// Accepts workers until `stop` is cancelled.
pub(crate) async fn accept(
    listener: TcpListener,
    acceptor: Acceptor,
    welcome: AcceptedWorkers,
    events: mpsc::UnboundedSender<CoordinatorEvent>,
    stop: CancellationToken,
) {
    loop {
        let pending = tokio::select! {
            pending = acceptor.next(&listener) => pending,
            () = stop.cancelled() => return,
        };
        let (acceptor, welcome, events) = (acceptor.clone(), welcome.clone(), events.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            if let Some((stream, caller)) = acceptor.admit(pending).await {
                serve(stream, caller, welcome, events).await;
            }
        }));
    }
}

async fn serve(
    stream: Wire,
    caller: Caller,
    welcome: AcceptedWorkers,
    events: mpsc::UnboundedSender<CoordinatorEvent>,
) {
    let peer = caller.peer.to_string();
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let register = match timeout(INTRODUCTION, read_first_message::<ToCoordinator>(&mut read)).await
    {
        Ok(Ok(Some(ToCoordinator::Register(register)))) => register,
        Ok(Ok(other)) => {
            tracing::debug!(
                peer,
                said = other.is_some(),
                "a control connection without registration"
            );
            return;
        }
        Ok(Err(error)) => {
            tracing::warn!(peer, %error, "a control connection cannot be read");
            return;
        }
        Err(_) => return,
    };
    if let Some(why) = welcome.refusal(&register) {
        tracing::warn!(peer, worker = register.worker, why, "worker refused");
        let _ = write_message(&mut write, &ToWorker::Refused { why }).await;
        return;
    }
    let (link, outbox) = WorkerLink::new();
    let (worker, id) = (register.worker, link.id);
    link.send(ToWorker::Registered);
    if events
        .send(CoordinatorEvent::WorkerRegistered { register, link })
        .is_err()
    {
        return;
    }
    let why = tokio::select! {
        why = listen(read, worker, id, welcome.silence, &events) => why,
        why = speak(write, outbox) => why,
    };
    let _ = events.send(CoordinatorEvent::WorkerLost {
        worker,
        link: id,
        why,
    });
}

async fn listen(
    mut read: BufReader<WireReader>,
    worker: u32,
    link: u64,
    silence: Duration,
    events: &mpsc::UnboundedSender<CoordinatorEvent>,
) -> String {
    loop {
        match timeout(silence, read_message::<ToCoordinator>(&mut read)).await {
            Ok(Ok(Some(message))) => {
                let event = CoordinatorEvent::WorkerMessage {
                    worker,
                    link,
                    message,
                };
                if events.send(event).is_err() {
                    return "the coordinator ends".to_owned();
                }
            }
            Ok(Ok(None)) => return "it closed the connection: its process ended".to_owned(),
            Ok(Err(error)) => return format!("its connection failed: {error}"),
            Err(_) => return format!("no sign of life for {} ms", silence.as_millis()),
        }
    }
}

async fn speak(mut write: WireWriter, mut outbox: mpsc::UnboundedReceiver<ToWorker>) -> String {
    let mut ping = tokio::time::interval(HEARTBEAT_EVERY);
    loop {
        let message = tokio::select! {
            message = outbox.recv() => match message {
                Some(message) => message,
                None => return "the coordinator let it go".to_owned(),
            },
            _ = ping.tick() => ToWorker::Ping,
        };
        if let Err(error) = write_message(&mut write, &message).await {
            return format!("its connection failed: {error}");
        }
    }
}
