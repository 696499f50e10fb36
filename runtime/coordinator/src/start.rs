//! Starts the coordinator's tasks and runs its life: stand by, lead the job, stand by again.

use std::sync::Arc;

use streamkeeper_protocol::job_api::{JobError, JobPhase, Preflight, PreflightVerdict};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    commands::Refusal,
    compiled_job,
    config::{CoordinatorConfig, StartMode},
    coordinator_context::CoordinatorContext,
    events::CoordinatorEvent,
    head_ownership::LeadEnd,
    job_leader::JobLeader,
    liveness::Liveness,
    published_status::PublishedStatus,
    standby,
    worker_connections::{AcceptedWorkers, accept},
};
use streamkeeper_control::transport::Acceptor;

/// How a coordinator ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoordinatorEnd {
    /// It was asked to; HEAD stays as it is.
    Terminated,
    /// Another coordinator owns the job; names the winner.
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
    pub events: mpsc::UnboundedSender<CoordinatorEvent>,
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
        let welcome = AcceptedWorkers {
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
    events: mpsc::UnboundedReceiver<CoordinatorEvent>,
) -> CoordinatorEnd {
    let mut context = CoordinatorContext::new(Arc::new(config), published_status, liveness, events);
    let job = match compiled_job::compile_for(&context.config.text).await {
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
        let end = JobLeader::new(&mut context, job.clone(), claimed)
            .lead()
            .await;
        idle = match end {
            LeadEnd::Terminated => return CoordinatorEnd::Terminated,
            LeadEnd::Fenced(why) => {
                let message = format!("fenced: {why}; this process ends");
                tracing::error!("{message}");
                streamkeeper_control::termination_message::write_termination_message(&message);
                return CoordinatorEnd::Fenced(why);
            }
            LeadEnd::Completed if alone => return CoordinatorEnd::Completed,
            LeadEnd::HandedOver | LeadEnd::Stopped if alone => return CoordinatorEnd::Stopped,
            LeadEnd::Completed => JobPhase::Completed,
            LeadEnd::HandedOver | LeadEnd::Stopped => JobPhase::Stopped,
        };
    }
}

/// The SQL does not compile: says so to every caller.
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
        if let Some(CoordinatorEvent::Call(call)) = context.next(None).await {
            let refusal =
                Refusal::new("InvalidSql", format!("the SQL does not compile: {message}"));
            let _ = call
                .reply
                .send(context.known(&call.command).unwrap_or(Err(refusal)));
        }
    }
    CoordinatorEnd::Terminated
}
