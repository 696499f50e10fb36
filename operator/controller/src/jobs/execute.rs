//! One call per action. Every action is idempotent: it may be done twice, or be found done.

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{ConfigMap, Pod, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{Api, ResourceExt};
use streamkeeper_api::{
    names::{FINALIZER, network_policy_name, revision_name},
    v1alpha1::{StreamJob, StreamSnapshot, StreamSnapshotSpec},
};
use streamkeeper_lifecycle::{
    Action, JobCall, PolicyFacts, Refusal, RevisionRecord, Tls, Unapplied,
};
use streamkeeper_resources::{
    Children, Owner, Size, children, network_policy, objects, secret, snapshot,
};
use streamkeeper_security::{JobKey, Material};
use tokio::time::Instant;

use crate::{
    context::{shared::Context, turns::SOON},
    jobs::observe::{self, coordinator},
    reconcile::error::ReconcileError,
    watches::written::{Kind, Written},
};
use crate::{
    coordinator_client::CallError,
    kube_ext::{
        Namespaced, correct, create_if_absent, create_unseen, delete, force_delete_pod, get, scale,
        set_finalizer,
    },
};

/// Does one action.
pub(crate) async fn execute(
    action: &Action,
    job: &StreamJob,
    context: &Context,
) -> Result<(), ReconcileError> {
    let owner = Owner::of(job).ok_or(ReconcileError::NoIdentity)?;
    let scope = Scope {
        context,
        owner: &owner,
    };
    match action {
        Action::AddFinalizer => scope.finalizer(job, true).await,
        Action::RemoveFinalizer => scope.finalizer(job, false).await,
        Action::CreateSnapshot {
            name,
            trigger,
            import,
        } => {
            scope
                .create(
                    Kind::StreamSnapshot,
                    &snapshot(&owner, name, *trigger, import.as_deref()),
                )
                .await?;
            Ok(())
        }
        Action::DeleteSnapshot { name, uid } => scope.delete_snapshot(name, uid).await,
        Action::ApplyRevision {
            revision,
            record,
            workers,
            replicas,
        } => {
            let size = Size {
                workers: *workers,
                replicas: *replicas,
            };
            let result = scope.apply(*revision, record, size).await;
            let refused = result.as_ref().err().and_then(|error| {
                let (message, invalid) = error.refusal()?;
                Some(Unapplied {
                    revision: *revision,
                    message,
                    invalid,
                })
            });
            context.applied(&owner.uid, refused);
            result
        }
        Action::ScaleRevision { revision, replicas } => {
            let name = revision_name(&owner.name, *revision);
            let scaled = scale(&context.client.0, &owner.namespace, &name, *replicas).await?;
            context.wrote_version(&owner.uid, Kind::StatefulSet, &scaled);
            Ok(())
        }
        Action::DeleteRevision { revision } => scope.delete_revision(*revision).await,
        Action::ApplyBudget { revision } => {
            let budget = objects::disruption_budget(&owner, *revision);
            scope.create(Kind::PodDisruptionBudget, &budget).await?;
            Ok(())
        }
        Action::DeleteBudget { revision } => {
            let name = revision_name(&owner.name, *revision);
            scope
                .delete_named::<PodDisruptionBudget>(Kind::PodDisruptionBudget, &name)
                .await
        }
        Action::ApplyNetworkPolicy => scope.apply_network_policy().await,
        Action::DeleteNetworkPolicy => {
            let name = network_policy_name(&owner.name);
            scope
                .delete_named::<NetworkPolicy>(Kind::NetworkPolicy, &name)
                .await
        }
        Action::ForgetRevision { revision } => {
            let name = revision_name(&owner.name, *revision);
            scope
                .delete_named::<ControllerRevision>(Kind::ControllerRevision, &name)
                .await
        }
        Action::ForceDeletePod { name, uid } => scope.force_delete(name, uid).await,
        Action::DeleteJob => Ok(delete(&context.client.0, &owner.namespace, job).await?),
        Action::Call {
            revision,
            call: asked,
        } => {
            let at = (owner.namespace.as_str(), owner.name.as_str(), *revision);
            call(context, at, &owner.uid, asked).await
        }
    }
}

struct Scope<'a> {
    context: &'a Context,
    owner: &'a Owner,
}

impl Scope<'_> {
    async fn finalizer(&self, job: &StreamJob, wanted: bool) -> Result<(), ReconcileError> {
        let api: Api<StreamJob> =
            Api::namespaced(self.context.client.0.clone(), &self.owner.namespace);
        if let Some(written) = set_finalizer(&api, job, FINALIZER, wanted).await? {
            self.context
                .wrote_version(&self.owner.uid, Kind::StreamJob, &written);
        }
        Ok(())
    }

    async fn delete_snapshot(&self, name: &str, uid: &str) -> Result<(), ReconcileError> {
        let mut snapshot = StreamSnapshot::new(name, StreamSnapshotSpec::default());
        snapshot.metadata.namespace = Some(self.owner.namespace.clone());
        snapshot.metadata.uid = Some(uid.to_owned());
        delete(&self.context.client.0, &self.owner.namespace, &snapshot).await?;
        self.gone(Kind::StreamSnapshot, name, uid);
        Ok(())
    }

    /// Creates what is missing, the content first: a revision whose pods exist always has its
    /// ControllerRevision.
    async fn apply(
        &self,
        revision: u64,
        record: &RevisionRecord,
        size: Size,
    ) -> Result<(), ReconcileError> {
        let keys = record.tls.as_ref().map(|tls| self.key(tls)).transpose()?;
        let owner = match &keys {
            Some(key) => self.owner.clone().with_keys(key),
            None => self.owner.clone(),
        };
        let Children {
            controller_revision,
            config_map,
            service,
            stateful_set,
        } = children(&owner, revision, record, size, &self.context.pod_settings)?;
        let found = self
            .create(Kind::ControllerRevision, &controller_revision)
            .await?;
        // What it says counts, not how: an operator of another version leaves out other defaults.
        let said = found
            .data
            .and_then(|data| serde_json::from_value::<RevisionRecord>(data.0).ok());
        if said.as_ref() != Some(record) {
            return Err(ReconcileError::ForeignRevision {
                name: controller_revision.name_any(),
            });
        }
        self.create(Kind::ConfigMap, &config_map).await?;
        if let Some(key) = &keys {
            // One that is there already is the operator's own: no other client knew its name.
            let secret = secret::build(&owner, &Material::of(key)?);
            create_unseen(&self.context.client.0, &owner.namespace, &secret).await?;
        }
        let (context, owner) = (self.context, self.owner);
        let shown = observe::policy(context, &owner.namespace, &owner.name, &owner.uid);
        if matches!(shown, PolicyFacts::Missing | PolicyFacts::Changed) {
            self.apply_network_policy().await?;
        }
        self.create(Kind::Service, &service).await?;
        self.create(Kind::StatefulSet, &stateful_set).await?;
        Ok(())
    }

    /// Creates the job's NetworkPolicy, or corrects the one that is there. One that is not the
    /// operator's is not touched, and nothing is started without protection.
    async fn apply_network_policy(&self) -> Result<(), ReconcileError> {
        let Some(settings) = &self.context.pod_settings.network else {
            return Ok(());
        };
        let wanted = network_policy::build(self.owner, settings);
        let found = self.create(Kind::NetworkPolicy, &wanted).await?;
        if !self.owns(&found) {
            return Err(ReconcileError::ForeignNetworkPolicy {
                name: found.name_any(),
            });
        }
        if let Some(patch) = network_policy::correction(&found, &wanted) {
            let client = &self.context.client.0;
            let written = correct(client, &self.owner.namespace, &found, patch).await?;
            self.context
                .wrote_version(&self.owner.uid, Kind::NetworkPolicy, &written);
        }
        Ok(())
    }

    fn owns<K: ResourceExt>(&self, found: &K) -> bool {
        found
            .owner_references()
            .iter()
            .any(|owner| owner.uid == self.owner.uid)
    }

    /// The key of the job under a master key.
    fn key(&self, tls: &Tls) -> Result<JobKey, ReconcileError> {
        let key = self.context.keyring.job(&self.owner.uid, &tls.master_key);
        key.ok_or_else(|| ReconcileError::NoMasterKey {
            fingerprint: tls.master_key.clone(),
        })
    }

    /// Creates an object, or finds the one that is there already.
    async fn create<K: Namespaced>(&self, kind: Kind, object: &K) -> Result<K, ReconcileError> {
        let there = create_if_absent(&self.context.client.0, &self.owner.namespace, object).await?;
        self.context.wrote_version(&self.owner.uid, kind, &there);
        Ok(there)
    }

    async fn delete_revision(&self, revision: u64) -> Result<(), ReconcileError> {
        let name = revision_name(&self.owner.name, revision);
        self.delete_named::<StatefulSet>(Kind::StatefulSet, &name)
            .await?;
        self.delete_named::<Service>(Kind::Service, &name).await?;
        self.delete_named::<ConfigMap>(Kind::ConfigMap, &name).await
    }

    /// Deletes the object of this name if it is ours.
    async fn delete_named<K: Namespaced>(
        &self,
        kind: Kind,
        name: &str,
    ) -> Result<(), ReconcileError> {
        let Some(found) = get::<K>(&self.context.client.0, &self.owner.namespace, name).await?
        else {
            return Ok(());
        };
        if self.owns(&found) && found.meta().deletion_timestamp.is_none() {
            delete(&self.context.client.0, &self.owner.namespace, &found).await?;
            self.gone(kind, name, &found.uid().unwrap_or_default());
        }
        Ok(())
    }

    async fn force_delete(&self, name: &str, uid: &str) -> Result<(), ReconcileError> {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.namespace = Some(self.owner.namespace.clone());
        pod.metadata.uid = Some(uid.to_owned());
        force_delete_pod(&self.context.client.0, &pod).await?;
        self.gone(Kind::Pod, name, uid);
        Ok(())
    }

    fn gone(&self, kind: Kind, name: &str, uid: &str) {
        let what = Written::Gone {
            kind,
            name: name.to_owned(),
            uid: uid.to_owned(),
        };
        self.context.wrote(&self.owner.uid, what);
    }
}

/// Calls the coordinator of a revision of job `name` for the object with this uid. A refusal is a
/// fact for the next pass, not an error of this one.
pub(crate) async fn call(
    context: &Context,
    (namespace, name, revision): (&str, &str, u64),
    uid: &str,
    call: &JobCall,
) -> Result<(), ReconcileError> {
    let address = coordinator(context, namespace, name, revision)
        .ok_or(ReconcileError::NoCoordinator { revision })?;
    let began = Instant::now();
    let answer = context.ports.jobs.command(&address, call).await;
    let took = began.elapsed();
    if took >= SOON {
        context.answered_after(uid, took);
    }
    let refusal = match answer {
        Ok(operation) => {
            tracing::info!(revision, key = call.key(), result = ?operation.result, "asked the coordinator");
            None
        }
        Err(CallError::Refused { code, message }) => {
            tracing::warn!(
                revision,
                key = call.key(),
                code,
                message,
                "the coordinator refused"
            );
            Some(Refusal {
                key: call.key().to_owned(),
                code,
                message,
            })
        }
        Err(source) => return Err(ReconcileError::Call { revision, source }),
    };
    context.called(uid, refusal);
    Ok(())
}

/// Verb and object of an action, for the log.
pub(crate) fn describe(action: &Action) -> (&'static str, String) {
    match action {
        Action::AddFinalizer => ("add finalizer", String::new()),
        Action::RemoveFinalizer => ("remove finalizer", String::new()),
        Action::ApplyRevision {
            revision, replicas, ..
        } => (
            "apply revision",
            format!("{revision} with {replicas} workers"),
        ),
        Action::ScaleRevision { revision, replicas } => (
            "scale revision",
            format!("{revision} to {replicas} workers"),
        ),
        Action::DeleteRevision { revision } => ("delete revision", revision.to_string()),
        Action::ForgetRevision { revision } => ("forget revision", revision.to_string()),
        Action::ApplyNetworkPolicy => ("apply network policy", String::new()),
        Action::DeleteNetworkPolicy => ("delete network policy", String::new()),
        Action::ApplyBudget { revision } => ("apply budget of revision", revision.to_string()),
        Action::DeleteBudget { revision } => ("delete budget of revision", revision.to_string()),
        Action::ForceDeletePod { name, .. } => ("force-delete pod", name.clone()),
        Action::CreateSnapshot { name, .. } => ("create snapshot", name.clone()),
        Action::DeleteSnapshot { name, .. } => ("delete snapshot", name.clone()),
        Action::DeleteJob => ("delete job", String::new()),
        Action::Call { revision, call } => (
            "call coordinator",
            format!("of revision {revision}: {}", call.key()),
        ),
    }
}
