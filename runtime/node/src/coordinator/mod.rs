//! The coordinator: a role inside pod 0.
//!
//! It owns HEAD, supervises workers, takes checkpoints and carries out the operations of the Job
//! API. In reading order:
//! * [`config`], [`call`], [`published_status`]: what it is told, what it is asked, what it shows.
//! * [`links`], [`worker_registry`], [`context`]: its workers and its events.
//! * [`plan`], [`restore_point`], [`preflight`]: could this process run the job?
//! * [`standby`]: waiting for the job, and claiming it; [`savepoint_check`], [`import`]: from a
//!   savepoint.
//! * [`head_writer`]: the writes of HEAD.
//! * [`leader`]: attempt after attempt; [`run`]: checkpoints while records flow; [`checkpoint`]:
//!   one of them; [`failing`]: those that fail.
//! * [`operations`] and what they may name ([`confine`]), [`savepoint`], [`commit`], [`pauses`],
//!   [`report`], [`failure`]: the parts of that.

mod call;
mod checkpoint;
mod commit;
mod config;
mod confine;
mod context;
mod failing;
mod failure;
mod head_writer;
mod import;
mod leader;
mod links;
mod operations;
mod pauses;
mod plan;
mod preflight;
mod published_status;
mod report;
mod restore_point;
mod run;
mod savepoint;
mod savepoint_check;
mod standby;
mod worker_registry;

use std::{sync::Arc, time::Duration};

pub use call::{Call, Command, Refusal};
pub use config::{
    BackOff, CheckpointPolicy, CoordinatorConfig, JobIdentity, JobText, StandbyScope, StartMode,
};
pub use links::Link;
use links::{Welcome, accept};
pub use plan::{CompileError, CompiledJob, compile};
pub use published_status::PublishedStatus;
use streamkeeper_protocol::job_api::{JobError, JobPhase, Preflight, PreflightVerdict};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    control::{Register, ToCoordinator},
    http::Liveness,
    transport::Acceptor,
};
use context::CoordinatorContext;
use leader::{LeadEnd, Leader};

/// Something that the coordinator reacts to.
#[derive(Debug)]
pub enum Event {
    /// A call of the Job API.
    Call(Call),
    /// HEAD may have changed: look now.
    Poke,
    /// Somebody wants to know whether this process could start from the savepoint at this URI.
    Prove(String),
    /// The process was asked to end within this time.
    Terminate {
        /// Time left.
        grace: Duration,
    },
    /// Something about a worker.
    Worker(WorkerEvent),
}

/// Something about a worker's control connection.
#[derive(Debug)]
pub enum WorkerEvent {
    /// It introduced itself and was welcomed.
    Registered {
        /// Who it is.
        register: Register,
        /// How to reach it.
        link: Link,
    },
    /// It said something.
    Said {
        /// Its ordinal.
        worker: u32,
        /// Its connection.
        link: u64,
        /// What.
        message: ToCoordinator,
    },
    /// Its connection ended.
    Lost {
        /// Its ordinal.
        worker: u32,
        /// The connection.
        link: u64,
        /// Why, for people.
        why: String,
    },
}

/// How a coordinator ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoordinatorEnd {
    /// It was asked to; HEAD stays as it is.
    Terminated,
    /// Somebody else owns the job; names the winner.
    Fenced(String),
    /// All input was read and committed. Only with [`StartMode::Auto`]: in a pod it goes on serving
    /// its report.
    Completed,
    /// The job was stopped or handed over. Only with [`StartMode::Auto`].
    Stopped,
    /// The SQL does not compile. Only with [`StartMode::Auto`].
    InvalidSql(String),
}

/// A coordinator at work.
#[derive(Debug)]
pub struct Coordinator {
    /// What it shows.
    pub published_status: Arc<PublishedStatus>,
    /// Where to send what it must react to.
    pub events: mpsc::UnboundedSender<Event>,
    /// How it ends.
    pub end: JoinHandle<CoordinatorEnd>,
}

impl Coordinator {
    /// Starts a coordinator whose workers connect to `control`, until it ends or `stop` is
    /// cancelled.
    pub fn start(
        config: CoordinatorConfig,
        liveness: Arc<Liveness>,
        control: TcpListener,
        stop: &CancellationToken,
    ) -> Self {
        let (events, inbox) = mpsc::unbounded_channel();
        let published_status = Arc::new(PublishedStatus::new(
            &config.job,
            config.workers,
            config.slots,
        ));
        let welcome = Welcome {
            job_uid: config.job.uid.clone(),
            revision: config.job.revision,
            slots: config.slots,
            silence: config.worker_silence,
        };
        let acceptor = Acceptor::of_peers(config.transport.clone(), "the control plane");
        tokio::spawn(accept(
            control,
            acceptor,
            welcome,
            events.clone(),
            stop.child_token(),
        ));
        let end = tokio::spawn(coordinate(
            config,
            published_status.clone(),
            liveness,
            inbox,
        ));
        Self {
            published_status,
            events,
            end,
        }
    }
}

/// Runs the coordinator until its process must end.
async fn coordinate(
    config: CoordinatorConfig,
    published_status: Arc<PublishedStatus>,
    liveness: Arc<Liveness>,
    events: mpsc::UnboundedReceiver<Event>,
) -> CoordinatorEnd {
    let mut context = CoordinatorContext::new(Arc::new(config), published_status, liveness, events);
    let job = match plan::compile_for(&context.config).await {
        Ok(job) => job,
        Err(message) => return refuse_to_run(&mut context, message).await,
    };
    let alone = context.config.start == StartMode::Auto;
    let (mut idle, mut start) = (JobPhase::Standby, context.config.start);
    loop {
        let Some(claimed) = standby::stand_by(&mut context, &job, idle, start).await else {
            return CoordinatorEnd::Terminated;
        };
        start = StartMode::Standby;
        let end = Leader::new(&mut context, job.clone(), claimed).lead().await;
        idle = match end {
            LeadEnd::Terminated => return CoordinatorEnd::Terminated,
            LeadEnd::Fenced(why) => {
                let message = format!("fenced: {why}; this process ends");
                tracing::error!("{message}");
                crate::telemetry::leave_last_words(&message);
                return CoordinatorEnd::Fenced(why);
            }
            LeadEnd::Completed if alone => return CoordinatorEnd::Completed,
            LeadEnd::HandedOver | LeadEnd::Stopped if alone => return CoordinatorEnd::Stopped,
            LeadEnd::Completed => JobPhase::Completed,
            LeadEnd::HandedOver | LeadEnd::Stopped => JobPhase::Stopped,
        };
    }
}

/// The SQL does not compile: says so to whoever asks.
async fn refuse_to_run(context: &mut CoordinatorContext, message: String) -> CoordinatorEnd {
    if context.config.start == StartMode::Auto {
        return CoordinatorEnd::InvalidSql(message);
    }
    tracing::error!("{message}");
    let revision = context.config.job.revision;
    context.show_error(Some(JobError {
        reason: "InvalidSQL".to_owned(),
        message: message.clone(),
    }));
    context.published_status.set_preflight(Preflight {
        verdict: PreflightVerdict::InvalidSql,
        revision,
        message: message.clone(),
        checked_against: None,
        from: None,
        states: Vec::new(),
        checked_bytes: None,
    });
    while context.terminate_by.is_none() {
        context.show_phase(JobPhase::Failed);
        if let Some(context::CoordinatorEvent::Call(call)) = context.next(None).await {
            let refusal =
                Refusal::new("InvalidSql", format!("the SQL does not compile: {message}"));
            let _ = call
                .reply
                .send(context.known(&call.command).unwrap_or(Err(refusal)));
        }
    }
    CoordinatorEnd::Terminated
}
