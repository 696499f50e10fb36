//! The one loop in which everything is decided.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use streamkeeper_engine::{
    exchange::Barrier,
    task::{Command, Event, Exit},
};
use streamkeeper_protocol::manifest::CheckpointKind;
use streamkeeper_state::ObjectCache;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    WorkerConfig,
    commit::{CommitJob, Outcome},
    deploy::{self, WorkerResources},
    events::{EventSender, WorkerEvent},
    failure::Failure,
    graph::{Built, Graph},
    liveness::Liveness,
    session::{self, FromSession, Running},
    store::{self, Stored},
};
use crate::data_plane::DataPlane;
use streamkeeper_control::{
    clock, failpoint,
    messages::{Deploy, FailureKind, HEARTBEAT_EVERY, Restored, ToCoordinator, ToWorker},
};

/// Runs a worker until its coordinator sends it home or `stop` is cancelled. Once `leave` is
/// cancelled it ends as soon as nothing is lost by it, at the latest after
/// [`WorkerConfig::leave_within`]. `data` is the bound socket of [`WorkerConfig::data_addr`].
pub async fn run(
    config: WorkerConfig,
    data: TcpListener,
    leave: CancellationToken,
    stop: CancellationToken,
) {
    let (news_sender, mut news) = mpsc::unbounded_channel();
    let (outbox, queue) = mpsc::unbounded_channel();
    let running = Running::default();
    let session = session::keep(config.clone(), running.clone(), queue, news_sender.clone());
    let session = AbortOnDropHandle::new(tokio::spawn(session));
    let (orphan_limit, leave_within) = (config.orphan_limit, config.leave_within);
    let cache = ObjectCache::new(config.cache_bytes);
    let mut worker_loop = WorkerLoop {
        resources: Arc::new(WorkerResources {
            data_plane: DataPlane::listen(data, config.transport.clone()),
            cache,
            config,
        }),
        news: news_sender,
        outbox,
        running,
        deployment: DeploymentState::Empty,
        last_attempt: 0,
        connected: false,
        lost_since: None,
        leave_by: None,
        liveness: Liveness::new(clock::now()),
    };
    let mut tick = tokio::time::interval(HEARTBEAT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = leave.cancelled(), if worker_loop.leave_by.is_none() => worker_loop.leave(leave_within),
            () = passed(worker_loop.leave_by) => {
                tracing::warn!("no final checkpoint in time; this worker leaves");
                break;
            }
            _ = tick.tick() => worker_loop.tick(orphan_limit).await,
            heard = news.recv() => match heard {
                Some(heard) => if worker_loop.handle_event(heard).await { break },
                None => break,
            },
        }
        if worker_loop.may_leave() {
            break;
        }
    }
    worker_loop.clear().await;
    drop(session);
}

/// What the worker loop works on.
#[derive(Debug)]
enum DeploymentState {
    Empty,
    Building {
        attempt: u64,
        _task: AbortOnDropHandle<()>,
    },
    Ready(Box<Graph>),
}

struct WorkerLoop {
    resources: Arc<WorkerResources>,
    news: mpsc::UnboundedSender<WorkerEvent>,
    outbox: mpsc::UnboundedSender<ToCoordinator>,
    running: Running,
    deployment: DeploymentState,
    /// Greatest attempt ever deployed here: a `Deploy` that comes late is not for us.
    last_attempt: u64,
    connected: bool,
    lost_since: Option<Instant>,
    /// Set once this worker was asked to leave.
    leave_by: Option<Instant>,
    liveness: Liveness,
}

impl WorkerLoop {
    /// Tells the coordinator that this worker must go.
    fn leave(&mut self, within: Duration) {
        self.leave_by = Some(clock::now() + within);
        if let DeploymentState::Ready(graph) = &self.deployment {
            tracing::info!(
                attempt = graph.attempt,
                within_s = within.as_secs(),
                "leaving; asking for a final checkpoint"
            );
            self.send(ToCoordinator::Leaving {
                attempt: graph.attempt,
                within_ms: millis(within),
            });
        }
    }

    /// Whether it was asked to go and nothing that runs here keeps it.
    fn may_leave(&self) -> bool {
        self.leave_by.is_some() && !matches!(self.deployment, DeploymentState::Ready(_))
    }

    fn send(&self, message: ToCoordinator) {
        // The session ends only with this worker.
        let _ = self.outbox.send(message);
    }

    /// The graph of an attempt, if it runs here.
    fn graph(&mut self, attempt: u64) -> Option<&mut Graph> {
        match &mut self.deployment {
            DeploymentState::Ready(graph) if graph.attempt == attempt => Some(graph),
            _ => None,
        }
    }

    fn attempt(&self) -> Option<u64> {
        match &self.deployment {
            DeploymentState::Empty => None,
            DeploymentState::Building { attempt, .. } => Some(*attempt),
            DeploymentState::Ready(graph) => Some(graph.attempt),
        }
    }

    async fn tick(&mut self, orphan_limit: Duration) {
        let now = clock::now();
        if self.connected {
            let graph = match &self.deployment {
                DeploymentState::Ready(graph) => Some(&**graph),
                _ => None,
            };
            let heartbeat = self.liveness.heartbeat(graph, now);
            self.send(ToCoordinator::Heartbeat(heartbeat));
        } else if self
            .lost_since
            .is_some_and(|since| now.duration_since(since) > orphan_limit)
            && self.attempt().is_some()
        {
            tracing::warn!(
                limit_s = orphan_limit.as_secs(),
                "no coordinator for too long: stopping what runs here"
            );
            self.clear().await;
        }
    }

    /// Stops what is deployed; answers when a record last flowed.
    async fn clear(&mut self) -> Option<i64> {
        self.running.store(0, Ordering::Relaxed);
        match std::mem::replace(&mut self.deployment, DeploymentState::Empty) {
            DeploymentState::Ready(graph) => graph.stop().await,
            DeploymentState::Empty | DeploymentState::Building { .. } => None,
        }
    }

    /// Reacts; answers whether the worker is sent home.
    async fn handle_event(&mut self, news: WorkerEvent) -> bool {
        match news {
            WorkerEvent::Session(FromSession::Connected) => {
                self.connected = true;
                self.lost_since = None;
            }
            WorkerEvent::Session(FromSession::Lost) => {
                self.connected = false;
                self.lost_since = Some(clock::now());
                if self.leave_by.is_some() {
                    // No coordinator is there to take a checkpoint, or it gave this worker up.
                    self.clear().await;
                }
            }
            WorkerEvent::Session(FromSession::Told(message)) => {
                return self.handle_command(message).await;
            }
            WorkerEvent::Built {
                attempt,
                took_ms,
                result,
            } => self.built(attempt, took_ms, *result),
            WorkerEvent::Subtask {
                attempt,
                subtask,
                event,
            } => self.subtask(attempt, subtask, event),
            WorkerEvent::PeerLost {
                attempt,
                worker,
                why,
            } => {
                let message = format!("the data connection to worker {worker} is lost: {why}");
                self.failed(attempt, Failure::new(FailureKind::Transient, message));
            }
            WorkerEvent::Stored { attempt, outcome } => self.stored(attempt, outcome),
            WorkerEvent::Committed {
                attempt,
                checkpoint,
                outcome,
            } => self.committed(attempt, checkpoint, outcome),
        }
        false
    }

    async fn handle_command(&mut self, message: ToWorker) -> bool {
        match message {
            ToWorker::Deploy(deploy) => self.deploy(*deploy).await,
            ToWorker::Start { attempt } => self.command(attempt, &Command::Start),
            ToWorker::Resume { attempt } => self.command(attempt, &Command::Resume),
            ToWorker::TriggerCheckpoint {
                attempt,
                checkpoint,
                kind,
            } => self.trigger(attempt, checkpoint, kind),
            ToWorker::CommitCheckpoint {
                attempt,
                checkpoint,
            } => {
                let job = self
                    .graph(attempt)
                    .and_then(|graph| graph.commits.begin(checkpoint));
                self.commit(attempt, job);
            }
            ToWorker::AbortCheckpoint { checkpoint, .. } => tracing::info!(
                checkpoint,
                "given up by the coordinator; the next one will hold it"
            ),
            ToWorker::Cancel { attempt } => self.cancel(attempt).await,
            ToWorker::Shutdown => return true,
            ToWorker::Registered | ToWorker::Refused { .. } | ToWorker::Ping => {}
        }
        false
    }

    fn command(&mut self, attempt: u64, command: &Command) {
        if let Some(graph) = self.graph(attempt) {
            graph.command(|_| command.clone());
        }
    }

    async fn cancel(&mut self, attempt: u64) {
        let mut last_record_ms = None;
        if self.attempt().is_some_and(|here| here <= attempt) {
            last_record_ms = self.clear().await;
        }
        self.send(ToCoordinator::Cancelled {
            attempt,
            last_record_ms,
        });
    }

    async fn deploy(&mut self, deploy: Deploy) {
        let attempt = deploy.attempt;
        if attempt <= self.last_attempt {
            tracing::warn!(
                attempt,
                newest = self.last_attempt,
                "a deployment of an old attempt: ignored"
            );
            return;
        }
        if let Some(here) = self.attempt() {
            let last_record_ms = self.clear().await;
            self.send(ToCoordinator::Cancelled {
                attempt: here,
                last_record_ms,
            });
        }
        self.last_attempt = attempt;
        let (resources, news, began) = (self.resources.clone(), self.news.clone(), clock::now());
        let task = tokio::spawn(async move {
            let result = deploy::build(resources, deploy, EventSender(news.clone())).await;
            let took_ms = millis(began.elapsed());
            let _ = news.send(WorkerEvent::Built {
                attempt,
                took_ms,
                result: Box::new(result),
            });
        });
        self.deployment = DeploymentState::Building {
            attempt,
            _task: AbortOnDropHandle::new(task),
        };
    }

    fn built(&mut self, attempt: u64, took_ms: u64, result: Result<Built, Failure>) {
        if !matches!(self.deployment, DeploymentState::Building { attempt: here, .. } if here == attempt)
        {
            return;
        }
        let launched = result.and_then(|built| {
            let entries = built.entries;
            let launched = Graph::launch(built).map(|graph| (entries, graph));
            launched.map_err(|error| {
                Failure::new(FailureKind::Transient, format!("starting threads: {error}"))
            })
        });
        match launched {
            Ok((entries, graph)) => {
                self.running.store(attempt, Ordering::Relaxed);
                self.deployment = DeploymentState::Ready(Box::new(graph));
                self.liveness = Liveness::new(clock::now());
                self.send(ToCoordinator::Deployed {
                    attempt,
                    restored: Restored { entries, took_ms },
                });
            }
            Err(failure) => {
                self.failed(attempt, failure);
                self.deployment = DeploymentState::Empty;
            }
        }
    }

    /// Tells the coordinator, once per attempt. What still runs goes on until it is cancelled, so
    /// that no peer sees a lost connection before the cause is told.
    fn failed(&mut self, attempt: u64, failure: Failure) {
        match &mut self.deployment {
            DeploymentState::Ready(graph) if graph.attempt == attempt && !graph.failed => {
                graph.failed = true;
            }
            DeploymentState::Building { attempt: here, .. } if *here == attempt => {}
            _ => return,
        }
        let Failure { kind, message } = failure;
        tracing::error!(attempt, ?kind, message, "the graph failed");
        self.send(ToCoordinator::TaskFailed {
            attempt,
            message,
            kind,
        });
    }

    fn subtask(&mut self, attempt: u64, subtask: u32, event: Event) {
        let Some(graph) = self.graph(attempt) else {
            return;
        };
        match event {
            Event::FirstRecord { at_ms } => {
                if !std::mem::replace(&mut graph.flowed, true) {
                    self.send(ToCoordinator::FirstRecord { attempt, at_ms });
                }
            }
            Event::Frozen(snapshot) => {
                let last_record_ms = graph.last_record_ms();
                graph.checkpoints.frozen(subtask, snapshot, last_record_ms);
                self.store_next(attempt);
            }
            Event::SinkFilling => self.send(ToCoordinator::CheckpointWanted { attempt }),
            Event::Ended => {
                graph.ended.insert(subtask);
                if graph.ended.len() == graph.len() {
                    self.send(ToCoordinator::InputEnded { attempt });
                }
            }
            Event::Exited(Exit::Stopped) => {}
            Event::Exited(Exit::Failed(error)) => self.failed(attempt, error.into()),
            Event::Exited(Exit::Panicked(what)) => {
                let message = format!("subtask {subtask} panicked, which is a defect: {what}");
                self.failed(attempt, Failure::new(FailureKind::Internal, message));
            }
        }
    }

    fn trigger(&mut self, attempt: u64, checkpoint: u64, kind: CheckpointKind) {
        let Some(graph) = self.graph(attempt) else {
            return;
        };
        if graph.failed {
            let why = "the graph has failed".to_owned();
            return self.send(ToCoordinator::CheckpointDeclined {
                attempt,
                checkpoint,
                why,
            });
        }
        let barrier = Barrier { checkpoint, kind };
        graph.command(|subtask| Command::Trigger {
            barrier,
            full: graph.checkpoints.full_nodes(subtask),
        });
    }

    fn store_next(&mut self, attempt: u64) {
        let Some(graph) = self.graph(attempt) else {
            return;
        };
        let Some(what) = graph.checkpoints.next(&mut graph.commits) else {
            return;
        };
        let (gone, checkpoint, worker) = (graph.gone.clone(), what.checkpoint, what.worker);
        let graph_moved = graph.moved.clone();
        failpoint::pass(failpoint::CHECKPOINT_FROZEN);
        let (store, news) = (self.resources.config.store.clone(), self.news.clone());
        let (outbox, meter) = (self.outbox.clone(), graph_moved.object());
        let delayed = move |why: String| {
            tracing::warn!(
                checkpoint,
                why,
                "a share is not stored yet; sending it again"
            );
            let _ = outbox.send(ToCoordinator::CheckpointDelayed {
                attempt,
                checkpoint,
                worker,
                why,
            });
        };
        tokio::spawn(async move {
            let storing = store::store(store, what, gone, delayed);
            let outcome = meter.count(storing).await;
            let _ = news.send(WorkerEvent::Stored { attempt, outcome });
        });
    }

    fn stored(&mut self, attempt: u64, outcome: Result<Stored, String>) {
        let Some(graph) = self.graph(attempt) else {
            return;
        };
        match graph.checkpoints.stored(outcome, &mut graph.commits) {
            Some(Ok(share)) => self.send(ToCoordinator::CheckpointAck(share)),
            Some(Err((checkpoint, why))) => {
                tracing::warn!(
                    checkpoint,
                    why,
                    "this worker's share of a checkpoint cannot be stored"
                );
                self.send(ToCoordinator::CheckpointDeclined {
                    attempt,
                    checkpoint,
                    why,
                });
            }
            None => {}
        }
        self.store_next(attempt);
    }

    fn commit(&mut self, attempt: u64, job: Option<CommitJob>) {
        let Some(job) = job else { return };
        let (checkpoint, news) = (job.checkpoint, self.news.clone());
        let Some(graph) = self.graph(attempt) else {
            return;
        };
        let gone = graph.gone.clone();
        tokio::spawn(async move {
            // The next graph commits what this one does not: for the store it is as if this process
            // had ended.
            let outcome = tokio::select! {
                () = gone.cancelled() => return,
                outcome = job.run() => outcome,
            };
            let _ = news.send(WorkerEvent::Committed {
                attempt,
                checkpoint,
                outcome,
            });
        });
    }

    fn committed(&mut self, attempt: u64, checkpoint: u64, outcome: Outcome) {
        let Some(graph) = self.graph(attempt) else {
            return;
        };
        let next = graph.commits.finish(&outcome.committed);
        // Sinks that were full have room.
        graph.wake();
        self.send(match outcome.failure {
            None => ToCoordinator::Committed {
                attempt,
                checkpoint,
            },
            Some(Failure { message: why, .. }) => {
                tracing::warn!(checkpoint, why, "sink output is not committed");
                ToCoordinator::CommitFailed {
                    attempt,
                    checkpoint,
                    why,
                }
            }
        });
        self.commit(attempt, next);
    }
}

/// Returns at this time; never, if there is none.
async fn passed(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
