//! The operator of a story: started, ended, beside another one.

use std::{sync::Arc, time::Duration};

use kube::Client;
use streamkeeper_controller::{
    Context, Ports,
    clock::Clock,
    events::Events,
    health::Readiness,
    keyring::Keyring,
    leader::{Candidate, Leadership, LeaseClient, decision::Terms},
    metrics::Metrics,
    run,
    self_test::{SelfTest, SelfTestError},
};
use streamkeeper_lifecycle::Settings;
use streamkeeper_resources::PodSettings;
use streamkeeper_security::rustls::time_provider::DefaultTimeProvider;
use tokio_util::sync::CancellationToken;
use tower::Layer;

use super::{
    super::{
        api_server::{ApiServer, kinds::LEASES},
        coordinator::JobPort,
        interference::Life,
        world::SELF_TEST,
    },
    Election, NAMESPACE, Operator, SYSTEM, Story, master_key,
};

impl Story {
    /// Starts an operator with nothing but its settings.
    pub fn start_operator(&mut self) {
        let operator = self.operator("streamkeeper-0");
        self.operator = Some(operator);
    }

    /// Starts a second one beside it, as happens when a node with the first one comes back.
    pub fn start_another_operator(&mut self) {
        let operator = self.operator("streamkeeper-1");
        self.another = Some(operator);
    }

    /// Starts all over with replicas that compete for a Lease: one now, and another with
    /// [`Self::start_another_operator`].
    pub fn elect(&mut self, election: Election) {
        self.stop_operator();
        self.election = Some(election);
        self.start_operator();
    }

    /// Returns the replica that holds the Lease.
    pub fn leader(&self) -> Option<String> {
        let holder = self.leading_process()?;
        Some(holder.split('_').next().unwrap_or_default().to_owned())
    }

    /// Returns the process that holds the Lease.
    pub fn leading_process(&self) -> Option<String> {
        let world = self.world();
        let lease = world.store.get(&LEASES, SYSTEM, "streamkeeper")?;
        lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    /// Cuts the network between everything and the first operator, or mends it.
    pub fn connect_operator(&mut self, connected: bool) {
        if let Some(operator) = &self.operator {
            operator.life.connect(connected);
        }
    }

    /// Ends the first operator as the kubelet does: with SIGTERM.
    pub async fn terminate_operator(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.stop.cancel();
            operator.task.await.expect("it ends by itself");
        }
    }

    fn operator(&mut self, identity: &str) -> Operator {
        let (life, stop) = (Life::new(identity), CancellationToken::new());
        let server = ApiServer {
            world: self.world.clone(),
            life: life.clone(),
        };
        let leadership = if self.election.is_some() {
            Leadership::standing_by()
        } else {
            Leadership::without_lease()
        };
        let client = if self.election.is_none_or(|election| election.bound) {
            Client::new(leadership.layer(server.clone()), NAMESPACE)
        } else {
            Client::new(server.clone(), NAMESPACE)
        };
        let port = Arc::new(JobPort {
            world: self.world.clone(),
            life: life.clone(),
        });
        let ports = Ports {
            jobs: port.clone(),
            heads: port.clone(),
            folders: port,
        };
        let events = Events::new(client.clone(), identity.to_owned());
        let keys = self.master_keys.iter().map(|byte| master_key(*byte));
        let keyring = Keyring::new(keys.collect(), Arc::new(DefaultTimeProvider));
        let settings = Settings {
            master_key: keyring.current(),
            ..self.settings.clone()
        };
        let (keyring, clock) = (Arc::new(keyring), self.clock.clone());
        let pod_settings = PodSettings {
            log_level: "info".to_owned(),
            node_toleration_seconds: 320,
            network: self.network.clone(),
            ..PodSettings::default()
        };
        let (epoch, ahead) = (self.clock.clone(), self.clock_ahead);
        let candidate = self.election.map(|election| {
            let own_clock = Clock::new(move || epoch.now() + ahead);
            let lease = LeaseClient::new(
                Client::new(server, NAMESPACE),
                SYSTEM,
                "streamkeeper",
                identity,
                election.in_pods.then_some("uid"),
                own_clock,
            );
            let terms = Terms::of(election.lease);
            Candidate::new(lease, terms, leadership.clone(), Metrics::default())
        });
        self.remembered = Arc::default();
        self.metrics = Metrics::default();
        let context = {
            let client = client.clone();
            let (remembered, metrics) = (self.remembered.clone(), self.metrics.clone());
            let (sees_own_writes, shares) = (self.sees_own_writes, self.shares);
            move |caches| {
                let context = Context::new(
                    client,
                    ports,
                    events,
                    metrics,
                    settings,
                    pod_settings,
                    caches,
                )
                .with_clock(clock)
                .with_leadership(leadership)
                .with_keys(keyring);
                *remembered.lock().expect("no panic while locked") = Some(context.remembered());
                let context = if shares {
                    context
                } else {
                    context.without_shares()
                };
                if sees_own_writes {
                    context
                } else {
                    context.without_seeing_own_writes()
                }
            }
        };
        self.readiness = Readiness::default();
        let (readiness, namespaces) = (self.readiness.clone(), self.namespaces.clone());
        let stopped = stop.clone();
        let running = async move { run(client, &namespaces, readiness, stopped, context).await };
        let ended = CancellationToken::new();
        let work = {
            let ended = ended.clone();
            async move {
                running.await;
                ended.cancel();
            }
        };
        let candidacy = async move {
            if let Some(candidate) = candidate {
                candidate.run(ended.cancelled()).await;
            }
        };
        Operator {
            task: tokio::spawn(async move {
                tokio::join!(work, candidacy);
            }),
            life,
            stop,
        }
    }

    /// Ends the operator as a crash does.
    pub fn stop_operator(&mut self) {
        for operator in [self.operator.take(), self.another.take()]
            .into_iter()
            .flatten()
        {
            operator.stop.cancel();
            operator.task.abort();
        }
    }

    /// Ends the first of two operators as a crash does.
    pub fn crash_first_operator(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.stop.cancel();
            operator.task.abort();
        }
    }

    /// Starts another operator, with other settings.
    pub fn restart_operator(&mut self, change: impl FnOnce(&mut Settings)) {
        self.stop_operator();
        change(&mut self.settings);
        self.start_operator();
    }

    pub(super) fn revive(&mut self) {
        if self
            .operator
            .as_ref()
            .is_some_and(|operator| operator.life.has_ended())
        {
            self.stop_operator();
            self.crashes += 1;
            self.start_operator();
        }
        if let Some(operator) = &self.operator {
            assert!(
                !operator.task.is_finished(),
                "the controller ended by itself\n{}",
                self.describe()
            );
        }
    }

    /// Whether the newest operator says that it is ready.
    pub fn is_operator_ready(&self) -> bool {
        self.readiness.is_ready()
    }

    /// Runs `streamkeeper self-test` while the world goes on.
    pub async fn run_self_test(&mut self, deadline: Duration) -> Result<(), SelfTestError> {
        self.run_self_test_while(deadline, |_| {}).await
    }

    /// The same, while something is done to the world again and again.
    pub async fn run_self_test_while(
        &mut self,
        deadline: Duration,
        act: impl Fn(&Self),
    ) -> Result<(), SelfTestError> {
        let server = ApiServer {
            world: self.world.clone(),
            life: Life::new(SELF_TEST),
        };
        let test = SelfTest {
            namespace: NAMESPACE.to_owned(),
            name: "self-test".to_owned(),
            patience: Duration::from_mins(2),
            deadline,
        };
        let client = Client::new(server, NAMESPACE);
        let told = tokio::spawn(async move { test.run(client, |_| {}).await });
        self.until("the self-test ends", |story| {
            act(story);
            told.is_finished()
        })
        .await;
        told.await.expect("no panic")
    }
}
