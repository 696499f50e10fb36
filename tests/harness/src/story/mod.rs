//! A real controller in a world of its own: its operators, the actions of a test and its
//! observations. Time moves only while every task waits.

mod actions;
mod observations;
mod operators;

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use streamkeeper_api::{
    condition,
    v1alpha1::{S3, SnapshotPhase},
};
use streamkeeper_controller::{Remembered, clock::Clock, health::Readiness, metrics::Metrics};
use streamkeeper_lifecycle::Settings;
use streamkeeper_resources::NetworkSettings;
use streamkeeper_security::MasterKey;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{interference::Life, world::World};

/// Namespace of all jobs.
pub const NAMESPACE: &str = "flights";
/// Namespace of the operator.
const SYSTEM: &str = "streamkeeper-system";
/// How often the world outside the operator moves.
const STEP: Duration = Duration::from_millis(100);
/// How long a story waits for something.
const PATIENCE: Duration = Duration::from_mins(30);

/// One life of the operator.
struct Operator {
    task: JoinHandle<()>,
    life: Life,
    stop: CancellationToken,
}

/// How replicas of the operator compete.
#[derive(Debug, Clone, Copy)]
pub struct Election {
    /// How long the Lease lasts.
    pub lease: Duration,
    /// Whether writes are held to it. Only a negative control says no.
    pub bound: bool,
    /// Whether they know their pods. Only a negative control says no.
    pub in_pods: bool,
}

/// A controller in a world of its own.
pub struct Story {
    world: Arc<Mutex<World>>,
    clock: Clock,
    pub settings: Settings,
    /// Master keys of the operator, the current one first; new revisions get certificates by it.
    pub master_keys: Vec<u8>,
    /// What NetworkPolicies of jobs say, if jobs get any.
    pub network: Option<NetworkSettings>,
    operator: Option<Operator>,
    another: Option<Operator>,
    /// None: there is one replica, or they know nothing of each other.
    election: Option<Election>,
    /// Whether operators wait until they see what they wrote themselves. Only a negative control
    /// says no.
    pub sees_own_writes: bool,
    /// Whether namespaces have shares of the operator's turns. Only a negative control says no.
    pub shares: bool,
    /// Namespaces that operators watch; none means all.
    pub namespaces: Vec<Option<String>>,
    /// How far the clock of the next operator is ahead of the others.
    pub clock_ahead: SignedDuration,
    /// Whether the newest operator is ready.
    readiness: Readiness,
    /// Of how many objects the newest operator remembers something.
    remembered: Arc<Mutex<Option<Remembered>>>,
    /// What the newest operator measures.
    pub metrics: Metrics,
    /// Lives of the operator that a test ended.
    pub crashes: usize,
}

/// Runs a story from an empty cluster with an operator.
pub fn tell<R>(story: impl AsyncFnOnce(&mut Story) -> R) -> R {
    let _log = log();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut told = Story::new();
        told.start_operator();
        let result = story(&mut told).await;
        told.stop_operator();
        result
    })
}

/// With STORY_LOG set (to a filter like `debug`), the operator's log is printed.
fn log() -> Option<tracing::subscriber::DefaultGuard> {
    let filter = std::env::var("STORY_LOG").ok()?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer()
        .without_time()
        .finish();
    Some(tracing::subscriber::set_default(subscriber))
}

/// A master key of bytes like this.
pub fn master_key(byte: u8) -> MasterKey {
    MasterKey::new(&[byte; 32]).expect("a key")
}

impl Story {
    fn new() -> Self {
        let began = Instant::now();
        let epoch: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time");
        let clock = Clock::new(move || {
            epoch
                .checked_add(began.elapsed())
                .expect("a story of less than centuries")
        });
        let settings = Settings {
            image: "runtime:1".to_owned(),
            storage: Some(Self::default_storage()),
            disruption_budgets: true,
            ..Settings::default()
        };
        Self {
            world: World::new(clock.clone()),
            clock,
            settings,
            master_keys: vec![1],
            network: Some(NetworkSettings {
                operator_namespace: SYSTEM.to_owned(),
                ..NetworkSettings::default()
            }),
            operator: None,
            another: None,
            election: None,
            sees_own_writes: true,
            shares: true,
            namespaces: vec![None],
            readiness: Readiness::default(),
            remembered: Arc::default(),
            metrics: Metrics::default(),
            clock_ahead: SignedDuration::ZERO,
            crashes: 0,
        }
    }

    /// The storage of jobs that name none.
    pub fn default_storage() -> S3 {
        S3 {
            uri: "s3://streams/prod".to_owned(),
            region: None,
            endpoint: None,
            ..S3::default()
        }
    }

    /// The world, to look at or to change.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no panic while locked")
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets the world go on until something is so.
    pub async fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.revive();
            self.world().step();
            // Tasks that were notified run before the condition is checked.
            tokio::time::sleep(STEP).await;
            if is_so(self) {
                return;
            }
            assert!(
                Instant::now() < end,
                "waited {} min for: {what}\n{}",
                PATIENCE.as_secs() / 60,
                self.describe()
            );
        }
    }

    /// Lets the world go on for a while, during which something stays so.
    pub async fn stays(
        &mut self,
        what: &str,
        long: Duration,
        mut is_so: impl FnMut(&Self) -> bool,
    ) {
        let end = Instant::now() + long;
        while Instant::now() < end {
            self.revive();
            self.world().step();
            tokio::time::sleep(STEP).await;
            assert!(is_so(self), "did not stay so: {what}\n{}", self.describe());
        }
    }

    /// Lets the world go on for a while.
    pub async fn pass(&mut self, long: Duration) {
        self.stays("time passes", long, |_| true).await;
    }

    /// Waits until the job is what its spec says.
    pub async fn ready(&mut self, name: &str) {
        self.until(&format!("{name} is Ready"), |story| story.is_ready(name))
            .await;
    }

    /// Waits until this revision runs the job, which is what its spec says.
    pub async fn rolled_out(&mut self, name: &str, revision: u64) {
        self.until(&format!("revision {revision} of {name} runs"), |story| {
            story.runner(name) == Some(revision)
        })
        .await;
        self.ready(name).await;
    }

    /// Whether the job is what its spec says, and the operator has nothing left to do.
    pub fn is_ready(&self, name: &str) -> bool {
        let Some(job) = self.find(name) else {
            return false;
        };
        let status = job.status.unwrap_or_default();
        let is = |kind| condition::is_true(&status.conditions, kind);
        status.observed_generation == job.metadata.generation
            && status.transition.is_none()
            && is(condition::kind::READY)
            && !is(condition::kind::RECONCILING)
            && !is(condition::kind::STALLED)
    }

    /// Waits until the job is suspended.
    pub async fn suspended(&mut self, name: &str) {
        self.until(&format!("{name} is suspended"), |story| {
            story.condition(name, condition::kind::SUSPENDED).0 == "True"
        })
        .await;
    }

    /// Waits until the job is Stalled for a reason. Returns the message.
    pub async fn stalled(&mut self, name: &str, reason: &str) -> String {
        let wanted = ("True".to_owned(), reason.to_owned());
        self.until(&format!("{name} is Stalled: {reason}"), |story| {
            story.condition(name, condition::kind::STALLED) == wanted
        })
        .await;
        self.message(name, condition::kind::STALLED)
    }

    /// Waits until a snapshot is complete.
    pub async fn saved(&mut self, name: &str) {
        self.until(&format!("snapshot {name} is complete"), |story| {
            story.snapshot_phase(name) == Some(SnapshotPhase::Completed)
        })
        .await;
    }

    /// Waits until the job took a checkpoint of its own since now.
    pub async fn next_checkpoint(&mut self, name: &str) {
        let newest = |story: &Self| {
            story
                .head(name)
                .and_then(|head| head.last)
                .map(|last| last.checkpoint)
        };
        let before = newest(self);
        self.until("another checkpoint", |story| newest(story) > before)
            .await;
    }

    /// Waits until an effect was asked for whose name begins like this. Returns its name.
    pub async fn effect(&mut self, prefix: &str) -> String {
        let find = |story: &Self| {
            story
                .world()
                .effects
                .iter()
                .find(|effect| effect.starts_with(prefix))
                .cloned()
        };
        self.until(&format!("the operator asks for: {prefix}"), |story| {
            find(story).is_some()
        })
        .await;
        find(self).unwrap_or_default()
    }
}

/// A future of a story, for lists of stories.
pub type Telling<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;
