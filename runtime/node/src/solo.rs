//! A whole job in this process: a coordinator and one worker, talking over loopback.

use std::{fmt, sync::Arc, time::Duration};

use streamkeeper_connectors::source::Stores;
use streamkeeper_protocol::{job_api::Report, manifest::Guarantee, paths::StatePaths};
use streamkeeper_storage::ObjectStore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    http,
    worker::{self, WorkerConfig},
};
use streamkeeper_control::transport::Transport;
use streamkeeper_coordinator::{
    BackOff, CheckpointPolicy, CompiledJob, Coordinator, CoordinatorConfig, CoordinatorEnd,
    CoordinatorEvent, JobIdentity, JobText, StandbyScope, StartMode, liveness::Liveness,
};

const LOOPBACK: &str = "127.0.0.1:0";
/// State is read back, and workers answer, within one process: what takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(1);
/// Complete checkpoints kept.
const RETAIN: usize = 2;

/// What to run.
pub struct Solo {
    /// Name of the job; part of the folder of its state.
    pub name: String,
    /// The compiled SQL.
    pub compiled: Arc<CompiledJob>,
    /// Subtasks.
    pub slots: u32,
    /// Key groups.
    pub max_parallelism: u16,
    /// None takes none but the last, and those that full sinks need.
    pub checkpoint_interval: Option<Duration>,
    /// Whether state that the plan does not have any more may be dropped.
    pub may_drop_state: bool,
    /// Holds the state.
    pub store: Arc<dyn ObjectStore>,
    /// Folder in the store; empty for its root.
    pub prefix: String,
    /// Opens the stores of tables.
    pub tables: Arc<dyn Stores>,
}

/// A running job.
#[derive(Debug)]
pub struct SoloJob {
    coordinator: Coordinator,
    worker: JoinHandle<()>,
    stop: CancellationToken,
}

impl fmt::Debug for Solo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Solo")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Solo {
    /// Starts the job: from its state where there is some, else from nothing.
    pub async fn start(self) -> Result<SoloJob, String> {
        let (control, control_at) = http::bind(LOOPBACK, "the control plane")
            .await
            .map_err(|error| error.to_string())?;
        let (data, data_at) = http::bind(LOOPBACK, "the data plane")
            .await
            .map_err(|error| error.to_string())?;
        let stop = CancellationToken::new();
        let job = JobIdentity {
            namespace: "local".to_owned(),
            uid: format!("local-{}", self.name),
            name: self.name,
            revision: 1,
            pod: String::new(),
        };
        let worker = WorkerConfig {
            worker: 0,
            job_uid: job.uid.clone(),
            revision: job.revision,
            slots: self.slots,
            coordinator: control_at.to_string(),
            data_addr: data_at.to_string(),
            store: self.store.clone(),
            stores: self.tables.clone(),
            transport: Transport::Plain,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            orphan_limit: WorkerConfig::ORPHAN_LIMIT,
            leave_within: WorkerConfig::LEAVE_WITHIN,
            cache_bytes: WorkerConfig::CACHE_BYTES,
        };
        let config = CoordinatorConfig {
            paths: StatePaths::new(&self.prefix, &job.namespace, &job.name),
            job,
            store: self.store,
            stores: self.tables,
            transport: Transport::Plain,
            on_loopback: true,
            text: JobText::Compiled(self.compiled),
            workers: 1,
            slots: self.slots,
            max_parallelism: self.max_parallelism,
            checkpoints: CheckpointPolicy {
                interval: self.checkpoint_interval,
                timeout: PATIENCE,
                retain: RETAIN,
                guarantee: Guarantee::ExactlyOnce,
            },
            back_off: BackOff {
                initial: Duration::from_secs(1),
                max: Duration::from_secs(10),
            },
            may_drop_state: self.may_drop_state,
            worker_silence: PATIENCE,
            deploy_timeout: PATIENCE,
            commit_timeout: PATIENCE,
            rescale_timeout: PATIENCE,
            start: StartMode::Auto,
            standby: StandbyScope::Full,
        };
        let coordinator = Coordinator::start(config, Arc::new(Liveness::default()), control, &stop);
        let worker = tokio::spawn(worker::run(
            worker,
            data,
            CancellationToken::new(),
            stop.clone(),
        ));
        Ok(SoloJob {
            coordinator,
            worker,
            stop,
        })
    }
}

impl SoloJob {
    /// What the coordinator tells.
    pub fn report(&self) -> Report {
        self.coordinator.published_status.report()
    }

    /// Asks for a final checkpoint and the end.
    pub fn terminate(&self) {
        let grace = PATIENCE;
        let _ = self
            .coordinator
            .events
            .send(CoordinatorEvent::Terminate { grace });
    }

    /// Waits for the end of the coordinator. May be called again after it was given up.
    pub async fn ended(&mut self) -> Result<CoordinatorEnd, String> {
        let end = (&mut self.coordinator.end).await;
        end.map_err(|error| format!("the coordinator failed, which is a defect: {error}"))
    }

    /// Ends what is left.
    pub async fn close(self) {
        self.stop.cancel();
        let _ = self.worker.await;
    }
}
