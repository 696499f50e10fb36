//! The coordinator's side of the control plane, played by a test.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use streamkeeper_protocol::{
    key_group::{Assignment, KEY_HASH},
    manifest::{CheckpointKind, Guarantee, MANIFEST_FORMAT, Manifest},
    plan::StreamPlan,
};
use streamkeeper_storage::ObjectStore;
use tokio::{
    io::BufReader,
    net::{TcpListener, tcp::OwnedWriteHalf},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::job::OneStore;
use crate::worker::{WorkerConfig, run};
use streamkeeper_control::{
    messages::{
        CheckpointAck, Deploy, Register, Restore, ToCoordinator, ToWorker, merge_operators,
        read_message, write_message,
    },
    transport::Transport,
};

/// Key groups of test jobs.
const GROUPS: u16 = 32;
/// A hang fails with what was heard last.
const PATIENCE: Duration = Duration::from_mins(1);

/// A worker in this process.
struct Employee {
    stop: CancellationToken,
    ended: JoinHandle<()>,
    worker_loop: OwnedWriteHalf,
    data_addr: String,
}

/// The other end of every control connection.
pub(super) struct FakeCoordinator {
    listener: TcpListener,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) slots: u32,
    employees: BTreeMap<u32, Employee>,
    said_sender: mpsc::UnboundedSender<(u32, ToCoordinator)>,
    said: mpsc::UnboundedReceiver<(u32, ToCoordinator)>,
    pub(super) attempt: u64,
    next_checkpoint: u64,
    /// The restore point.
    pub(super) last: Option<Manifest>,
    plan: StreamPlan,
    assignment: Assignment,
    pub(super) orphan_limit: Duration,
}

impl FakeCoordinator {
    pub(super) async fn new(store: Arc<dyn ObjectStore>, plan: StreamPlan, slots: u32) -> Self {
        let (said_sender, said) = mpsc::unbounded_channel();
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            store,
            slots,
            employees: BTreeMap::new(),
            said_sender,
            said,
            attempt: 0,
            next_checkpoint: 1,
            last: None,
            plan,
            assignment: Assignment::even(GROUPS, 1),
            orphan_limit: WorkerConfig::ORPHAN_LIMIT,
        }
    }

    /// Starts a worker and lets it register.
    pub(super) async fn connect(&mut self, worker: u32) {
        let data = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let data_addr = data.local_addr().unwrap().to_string();
        let config = WorkerConfig {
            worker,
            job_uid: "job".to_owned(),
            revision: 1,
            slots: self.slots,
            coordinator: self.listener.local_addr().unwrap().to_string(),
            data_addr: data_addr.clone(),
            store: self.store.clone(),
            stores: Arc::new(OneStore(self.store.clone())),
            transport: Transport::Plain,
            version: "test".to_owned(),
            orphan_limit: self.orphan_limit,
            leave_within: WorkerConfig::LEAVE_WITHIN,
            cache_bytes: WorkerConfig::CACHE_BYTES,
        };
        let stop = CancellationToken::new();
        let ended = tokio::spawn(run(config, data, CancellationToken::new(), stop.clone()));
        let (register, worker_loop) = self.welcome().await;
        assert_eq!((register.worker, register.running), (worker, None));
        self.employees.insert(
            worker,
            Employee {
                stop,
                ended,
                worker_loop,
                data_addr,
            },
        );
    }

    /// Takes the next registration.
    async fn welcome(&mut self) -> (Register, OwnedWriteHalf) {
        let (stream, _) = self.listener.accept().await.unwrap();
        let (read, mut worker_loop) = stream.into_split();
        let mut read = BufReader::new(read);
        let Some(ToCoordinator::Register(register)) = read_message(&mut read).await.unwrap() else {
            panic!("no registration")
        };
        write_message(&mut worker_loop, &ToWorker::Registered)
            .await
            .unwrap();
        let (worker, said) = (register.worker, self.said_sender.clone());
        tokio::spawn(async move {
            while let Ok(Some(message)) = read_message::<ToCoordinator>(&mut read).await {
                if said.send((worker, message)).is_err() {
                    return;
                }
            }
        });
        (register, worker_loop)
    }

    /// Cuts a worker's control connection and takes it back in; answers what it says runs there.
    pub(super) async fn cut(&mut self, worker: u32) -> Option<u64> {
        self.employees
            .get_mut(&worker)
            .unwrap()
            .worker_loop
            .forget_politely()
            .await;
        let (register, worker_loop) = self.welcome().await;
        assert_eq!(register.worker, worker);
        self.employees.get_mut(&worker).unwrap().worker_loop = worker_loop;
        register.running
    }

    /// Ends a worker at once, as a crash of its process would.
    pub(super) async fn kill(&mut self, worker: u32) {
        let employee = self.employees.remove(&worker).unwrap();
        employee.ended.abort();
        let _ = employee.ended.await;
    }

    pub(super) async fn tell(&mut self, worker: u32, message: ToWorker) {
        write_message(
            &mut self.employees.get_mut(&worker).unwrap().worker_loop,
            &message,
        )
        .await
        .unwrap();
    }

    pub(super) async fn tell_all(&mut self, message: ToWorker) {
        for worker in self.employees.keys().copied().collect::<Vec<_>>() {
            self.tell(worker, message.clone()).await;
        }
    }

    /// The next message about the present attempt that is no heartbeat.
    pub(super) async fn next_message(&mut self) -> (u32, ToCoordinator) {
        loop {
            let (worker, message) = timeout(PATIENCE, self.said.recv())
                .await
                .expect("no worker says anything")
                .unwrap();
            if !matches!(message, ToCoordinator::Heartbeat(_))
                && message.attempt() == Some(self.attempt)
            {
                return (worker, message);
            }
        }
    }

    /// Hears until `pick` has found something in a message of each worker.
    pub(super) async fn hear_all<T>(
        &mut self,
        pick: impl Fn(&ToCoordinator) -> Option<T>,
    ) -> Vec<T> {
        let mut found = BTreeMap::new();
        while found.len() < self.employees.len() {
            let (worker, message) = self.next_message().await;
            if let ToCoordinator::TaskFailed { message, .. } = &message {
                panic!("worker {worker} failed: {message}");
            }
            if let Some(value) = pick(&message) {
                found.insert(worker, value);
            }
        }
        found.into_values().collect()
    }

    /// Stops the present attempt everywhere. Those that are told last may see the connections of
    /// the others close.
    pub(super) async fn cancel(&mut self) {
        self.tell_all(ToWorker::Cancel {
            attempt: self.attempt,
        })
        .await;
        let mut left = self.employees.len();
        while left > 0 {
            if let (_, ToCoordinator::Cancelled { .. }) = self.next_message().await {
                left -= 1;
            }
        }
    }

    /// A deployment of the next attempt on all workers.
    pub(super) fn next_deployment(&mut self) -> Deploy {
        self.attempt += 1;
        let workers = u32::try_from(self.employees.len()).unwrap();
        let parallelism = workers * self.slots;
        self.assignment = self
            .last
            .as_ref()
            .map_or(Assignment::even(GROUPS, parallelism), |last| {
                last.assignment.rescaled(parallelism)
            });
        Deploy {
            attempt: self.attempt,
            job_uid: "job".to_owned(),
            lineage: "lineage".to_owned(),
            plan: self.plan.clone(),
            plan_hash: self.plan.hash(),
            root: "state".to_owned(),
            workers: self
                .employees
                .values()
                .map(|employee| employee.data_addr.clone())
                .collect(),
            slots: self.slots,
            assignment: self.assignment.clone(),
            guarantee: Guarantee::ExactlyOnce,
            restore: self.last.clone().map(|manifest| {
                Box::new(Restore {
                    manifest,
                    folder: None,
                })
            }),
        }
    }

    /// Deploys and starts the next attempt; answers how many entries were restored.
    pub(super) async fn start(&mut self) -> u64 {
        let deploy = ToWorker::Deploy(Box::new(self.next_deployment()));
        self.tell_all(deploy).await;
        let restored = self.hear_all(|message| match message {
            ToCoordinator::Deployed { restored, .. } => Some(restored.entries),
            _ => None,
        });
        let restored = restored.await.into_iter().sum();
        self.tell_all(ToWorker::Start {
            attempt: self.attempt,
        })
        .await;
        restored
    }

    /// Asks for a checkpoint; answers its number.
    pub(super) async fn trigger(&mut self, kind: CheckpointKind) -> u64 {
        let checkpoint = self.next_checkpoint;
        self.next_checkpoint += 1;
        self.tell_all(ToWorker::TriggerCheckpoint {
            attempt: self.attempt,
            checkpoint,
            kind,
        })
        .await;
        checkpoint
    }

    /// Takes a checkpoint and makes it the restore point, without commits; answers the shares.
    pub(super) async fn checkpoint(&mut self, kind: CheckpointKind) -> Vec<CheckpointAck> {
        let checkpoint = self.trigger(kind).await;
        let shares = self.hear_all(|message| match message {
            ToCoordinator::CheckpointAck(share) if share.checkpoint == checkpoint => {
                Some(share.clone())
            }
            ToCoordinator::CheckpointDeclined { why, .. } => panic!("declined: {why}"),
            _ => None,
        });
        let shares = shares.await;
        self.last = Some(self.manifest(checkpoint, kind, &shares));
        shares
    }

    /// The manifest of these shares.
    pub(super) fn manifest(
        &self,
        checkpoint: u64,
        kind: CheckpointKind,
        shares: &[CheckpointAck],
    ) -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT,
            min_reader: MANIFEST_FORMAT,
            job_uid: "job".to_owned(),
            lineage: "lineage".to_owned(),
            revision: 1,
            attempt: self.attempt,
            checkpoint,
            kind,
            started_ms: 0,
            completed_ms: 0,
            max_parallelism: GROUPS,
            key_hash: KEY_HASH.to_owned(),
            assignment: self.assignment.clone(),
            plan_hash: self.plan.hash(),
            operators: merge_operators(shares.iter().map(|share| share.operators.clone())),
            committables: shares
                .iter()
                .flat_map(|share| share.committables.clone())
                .collect(),
            records_in: shares.iter().map(|share| share.records_in).sum(),
            records_out: shares.iter().map(|share| share.records_out).sum(),
            last_record_ms: None,
        }
    }

    /// Lets all workers commit the restore point.
    pub(super) async fn commit(&mut self) {
        let checkpoint = self.last.as_ref().unwrap().checkpoint;
        self.tell_all(ToWorker::CommitCheckpoint {
            attempt: self.attempt,
            checkpoint,
        })
        .await;
        self.hear_all(|message| match message {
            ToCoordinator::Committed {
                checkpoint: done, ..
            } if *done == checkpoint => Some(()),
            ToCoordinator::CommitFailed { why, .. } => panic!("not committed: {why}"),
            _ => None,
        })
        .await;
    }

    /// Takes and commits checkpoints until all input was read; answers how many.
    pub(super) async fn run_to_the_end(&mut self) -> u32 {
        for count in 1.. {
            let shares = self.checkpoint(CheckpointKind::Periodic).await;
            self.commit().await;
            if shares.iter().all(|share| share.ended) {
                return count;
            }
        }
        0
    }

    /// Sends everybody home.
    pub(super) async fn close(mut self) {
        self.tell_all(ToWorker::Shutdown).await;
        for (_, employee) in self.employees {
            timeout(PATIENCE, employee.ended)
                .await
                .expect("a worker does not go home")
                .unwrap();
            employee.stop.cancel();
        }
    }
}

/// Closing one half of a connection.
trait Forget {
    async fn forget_politely(&mut self);
}

impl Forget for OwnedWriteHalf {
    async fn forget_politely(&mut self) {
        let _ = tokio::io::AsyncWriteExt::shutdown(self).await;
    }
}
