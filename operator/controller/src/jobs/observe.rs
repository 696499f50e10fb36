//! Caches, Job API and S3 into facts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use streamkeeper_api::{
    names::{network_policy_name, pod_name, revision_name},
    v1alpha1::{StreamJob, StreamSnapshot},
};
use streamkeeper_lifecycle::{
    Child, Children, Fact, HeldNode, KeptPolicy, KeptRecord, Observed, PolicyFacts,
    ResolvedStorage, RevisionFacts, SnapshotFacts, Tls, grant,
    observed::from_kubernetes::snapshot_facts, required_reads, revision::record::storage_of,
    told_head,
};
use streamkeeper_protocol::{
    job_api::{JOB_API_PORT, Operation, SeenHead},
    paths::StatePaths,
};
use streamkeeper_resources::network_policy;
use tokio::time::Instant;

use crate::{context::shared::Context, snapshots::needs, watches::cache::Cache};
use crate::{
    coordinator_client::{CallError, Channel, Coordinator},
    kube_ext::bounded,
};

/// Everything that a decision about `job` may depend on.
pub(crate) async fn observe(job: &StreamJob, context: &Context) -> Observed {
    let namespace = job.namespace().unwrap_or_default();
    let name = job.name_any();
    let asked = required_reads(job);
    let mut revisions = children(context, &namespace, &name).revisions();

    let numbers: Vec<u64> = revisions
        .iter()
        .filter(|(_, facts)| !facts.pods.is_empty())
        .map(|(&number, _)| number)
        .collect();
    let about = &asked.preflight;
    let reports = join_all(numbers.iter().map(|&number| async move {
        let of = coordinator(context, &namespace_of(job), &job.name_any(), number)?;
        let report = answer(context.ports.jobs.report(&of).await);
        let preflight = match about {
            Some((wanted, from)) if *wanted == number => {
                answer(context.ports.jobs.preflight(&of, from.as_deref()).await)
            }
            Some(_) | None => Fact::unknown("not asked"),
        };
        Some((number, report, preflight))
    }));
    let held = held_storage(job, context);
    let root = storage_of(job, &context.settings, held.as_ref())
        .map_err(|error| error.to_string())
        .map(|storage| {
            let root = StatePaths::new(&storage.prefix, &namespace, &name);
            grant(&context.settings, &storage, &namespace, root.root())
        });
    let head = async {
        if !asked.head {
            return Fact::unknown("not asked");
        }
        match &root {
            Ok(Ok(root)) => context.ports.heads.head(root).await,
            Ok(Err(_)) => {
                told_head(join_all(numbers.iter().map(|&of| told(context, job, of))).await)
            }
            Err(why) => Fact::denied(why.clone()),
        }
    };
    let operation = async {
        let Some((revision, key)) = &asked.operation else {
            return Fact::unknown("not asked");
        };
        operation_of(context, (&namespace, &name, *revision), key).await
    };
    // Without the SQL: the API server tells it.
    let answers = async {
        let began = Instant::now();
        let answers = tokio::join!(reports, head, operation);
        (answers, began.elapsed())
    };
    let (sql, ((reports, head, operation), took)) = tokio::join!(sql(job, context), answers);
    let uid = job.uid().unwrap_or_default();
    context.answered_after(&uid, took);
    for (number, report, preflight) in reports.into_iter().flatten() {
        if let Some(facts) = revisions.get_mut(&number) {
            facts.report = report;
            facts.preflight = preflight;
        }
    }
    let held_nodes = held_nodes(context, &revisions);
    let snapshots = snapshots(context, &namespace, &name);
    let restore_source = restore_source(context, job, &namespace);
    let (refusal, unapplied) = (context.refusal(&uid), context.unapplied(&uid));
    let not_looked = root.ok().and_then(Result::err).map(|why| why.to_string());
    Observed {
        sql,
        revisions,
        head,
        not_looked,
        operation,
        restore_source,
        snapshots,
        held_nodes,
        network_policy: policy(context, &namespace, &name, &uid),
        refusal,
        unapplied,
    }
}

/// HEAD as the coordinator of a revision knows it.
async fn told(context: &Context, job: &StreamJob, revision: u64) -> Result<SeenHead, String> {
    let of = coordinator(context, &namespace_of(job), &job.name_any(), revision)
        .ok_or_else(|| format!("pod 0 of revision {revision} has no address"))?;
    let answer = context.ports.jobs.head(&of).await;
    answer.map_err(|error| error.to_string())
}

/// Lost nodes whose pods have to stay.
fn held_nodes(
    context: &Context,
    revisions: &BTreeMap<u64, RevisionFacts>,
) -> BTreeMap<String, HeldNode> {
    let pods = revisions.values().flat_map(|facts| &facts.pods);
    let concerned: BTreeSet<String> = pods
        .filter(|pod| pod.node_lost_since.is_some())
        .filter_map(|pod| pod.node.clone())
        .collect();
    if concerned.is_empty() {
        return BTreeMap::new();
    }
    let (nodes, now) = (&context.caches.nodes, context.clock.now());
    let timeout = context.settings.node_lost_timeout;
    context
        .lost_nodes
        .held((&nodes.all(), nodes.total()), &concerned, timeout, now)
}

/// The NetworkPolicy of a job, as the cache has it, beside what it should say.
pub(crate) fn policy(context: &Context, namespace: &str, name: &str, uid: &str) -> PolicyFacts {
    let caches = &context.caches.network_policies;
    let found = caches.find(namespace, name, &network_policy_name(name));
    let settings = context.pod_settings.network.as_ref();
    let wanted = settings.map(|settings| network_policy::spec(name, settings));
    KeptPolicy::compare(found.as_ref().map(|kept| &kept.facts), wanted.as_ref(), uid)
}

/// Where the revision that runs, or ran last, keeps the state of the job.
pub(crate) fn held_storage(job: &StreamJob, context: &Context) -> Option<ResolvedStorage> {
    let current = job.status.as_ref()?.current_revision()?;
    let (namespace, name) = (job.namespace()?, job.name_any());
    let records = &context.caches.controller_revisions;
    let kept = records.find(&namespace, &name, &revision_name(&name, current))?;
    Some(kept.facts.record()?.storage)
}

/// The snapshots of a job, as the cache has them.
fn snapshots(context: &Context, namespace: &str, name: &str) -> Vec<SnapshotFacts> {
    let of_job = |snapshot: &&Arc<StreamSnapshot>| {
        snapshot.namespace().as_deref() == Some(namespace)
            && snapshot.spec.job_ref.as_ref().map(|job| job.name.as_str()) == Some(name)
    };
    let all = context.caches.own_snapshots.store.state();
    let mut found: Vec<SnapshotFacts> = all
        .iter()
        .filter(of_job)
        .map(|snapshot| snapshot_facts(snapshot))
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    needs::mark(&context.caches, namespace, &mut found);
    found
}

/// The snapshot that `spec.restoreFrom` names.
fn restore_source(
    context: &Context,
    job: &StreamJob,
    namespace: &str,
) -> Fact<Option<SnapshotFacts>> {
    let asked = job.spec.restore_from.as_ref();
    let Some(wanted) = asked.and_then(|asked| asked.snapshot_ref.as_ref()) else {
        return Fact::unknown("not asked");
    };
    let found = context.caches.snapshot(namespace, &wanted.name);
    Fact::Known(found.map(|snapshot| snapshot_facts(&snapshot)))
}

fn namespace_of(job: &StreamJob) -> String {
    job.namespace().unwrap_or_default()
}

/// The children of a job, as the caches have them.
pub(crate) fn children(context: &Context, namespace: &str, name: &str) -> Children {
    let caches = &context.caches;
    let lost_nodes = caches.nodes.all();
    Children {
        stateful_sets: of_job(&caches.stateful_sets, namespace, name, |facts| *facts),
        records: of_job(
            &caches.controller_revisions,
            namespace,
            name,
            KeptRecord::record,
        ),
        pods: of_job(&caches.pods, namespace, name, |pod| pod.facts(&lost_nodes)),
        services: revisions(of_job(&caches.services, namespace, name, |()| ())),
        config_maps: revisions(of_job(&caches.config_maps, namespace, name, |()| ())),
        budgets: revisions(of_job(&caches.budgets, namespace, name, |()| ())),
    }
}

fn of_job<K: Child, T>(
    cache: &Cache<K>,
    namespace: &str,
    name: &str,
    facts: impl Fn(&K::Facts) -> T,
) -> Vec<(u64, T)> {
    let children = cache.of_job(namespace, name);
    children
        .iter()
        .map(|child| (child.revision, facts(&child.facts)))
        .collect()
}

fn revisions(there: Vec<(u64, ())>) -> BTreeSet<u64> {
    there.into_iter().map(|(revision, ())| revision).collect()
}

/// A revision's coordinator: the address of its pod 0 and how it is talked to.
pub(crate) fn coordinator(
    context: &Context,
    namespace: &str,
    name: &str,
    revision: u64,
) -> Option<Coordinator> {
    let pod = context
        .caches
        .pods
        .find(namespace, name, &pod_name(name, revision, 0))?;
    let ip = pod.facts.ip.as_deref()?;
    let address = if ip.contains(':') {
        format!("[{ip}]:{JOB_API_PORT}")
    } else {
        format!("{ip}:{JOB_API_PORT}")
    };
    Some(Coordinator {
        address,
        channel: channel(context, namespace, name, revision)?,
    })
}

/// What the ControllerRevision says about its pods; none while it is not known.
fn channel(context: &Context, namespace: &str, name: &str, revision: u64) -> Option<Channel> {
    let content = context.caches.controller_revisions.find(
        namespace,
        name,
        &revision_name(name, revision),
    )?;
    let Some(Tls {
        master_key,
        plaintext,
    }) = content.facts.tls()
    else {
        return Some(Channel::Plain);
    };
    Some(
        match context.keyring.identity(&content.facts.owner, &master_key) {
            Some(identity) if plaintext => Channel::Token(identity),
            Some(identity) => Channel::Tls(identity),
            None => Channel::Unknown { master_key },
        },
    )
}

/// An operation as the coordinator of a revision knows it.
pub(crate) async fn operation_of(
    context: &Context,
    (namespace, name, revision): (&str, &str, u64),
    key: &str,
) -> Fact<Option<Operation>> {
    match coordinator(context, namespace, name, revision) {
        Some(asked) => answer(context.ports.jobs.operation(&asked, key).await),
        None => Fact::unknown(format!("pod 0 of revision {revision} has no address")),
    }
}

fn answer<T>(result: Result<T, CallError>) -> Fact<T> {
    match result {
        Ok(answer) => Fact::Known(answer),
        Err(error) => Fact::unknown(error.to_string()),
    }
}

/// The SQL text, its ConfigMap resolved.
async fn sql(job: &StreamJob, context: &Context) -> Fact<String> {
    if let Some(text) = &job.spec.sql.text {
        return Fact::Known(text.clone());
    }
    let Some(reference) = &job.spec.sql.config_map_key_ref else {
        return Fact::denied(
            "neither spec.sql.text nor spec.sql.configMapKeyRef is set; set one of them",
        );
    };
    let api: Api<ConfigMap> = Api::namespaced(context.client.0.clone(), &namespace_of(job));
    match bounded(
        "read",
        format!("ConfigMap {}", reference.name),
        api.get_opt(&reference.name),
    )
    .await
    {
        Ok(None) => Fact::denied(format!(
            "ConfigMap {} of spec.sql.configMapKeyRef does not exist; create it, or set spec.sql.text",
            reference.name
        )),
        Ok(Some(map)) => match map.data.unwrap_or_default().remove(&reference.key) {
            Some(text) => Fact::Known(text),
            None => Fact::denied(format!(
                "ConfigMap {} has no key {} (spec.sql.configMapKeyRef.key)",
                reference.name, reference.key
            )),
        },
        Err(error) => Fact::unknown(error.to_string()),
    }
}
