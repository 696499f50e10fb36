//! The S3 server of all stages: HEAD records and savepoints as simulated coordinators left them,
//! `s3://streams/prod/<namespace>/<job>/`. What the operator removes there are effects.

use std::{
    collections::{BTreeSet, HashMap},
    future::pending,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Method, Request};
use serde_json::json;
use streamkeeper_harness::{coordinator::Folder, world::World};
use streamkeeper_protocol::{
    key_group::{Assignment, KEY_HASH},
    manifest::{CheckpointKind, MANIFEST_FORMAT, Manifest},
    plan::{PLAN_FORMAT, Settings, StreamPlan},
};

use super::{
    crash_injector::{CrashInjector, Fate},
    server::{Reply, Server, reply, serve},
};

const XML: &str = "application/xml";
/// The object that makes a folder a savepoint, and the one that is removed last.
const FIRST: &str = "metadata.json";
const LAST: &str = "plan.json";

/// What a namespace has in the bucket, and who may remove it.
#[derive(Clone)]
pub struct Tenant {
    pub world: Arc<Mutex<World>>,
    pub injector: Arc<CrashInjector>,
    pub life: Arc<AtomicUsize>,
    /// Keys that were removed of folders which are not gone yet.
    pub removed: Arc<Mutex<BTreeSet<String>>>,
}

/// All of them, by namespace.
pub type Tenants = Arc<Mutex<HashMap<String, Tenant>>>;

pub async fn serve_bucket(tenants: Tenants) -> Server {
    let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
    serve(anywhere, move |request| answer(tenants.clone(), request)).await
}

async fn answer(tenants: Tenants, request: Request<Bytes>) -> Reply {
    let path = request.uri().path().trim_start_matches("/streams");
    let key = path.trim_start_matches('/').to_owned();
    if key.is_empty() {
        // Savepoints have no data here.
        return reply(
            200,
            XML,
            "<ListBucketResult><Name>streams</Name><IsTruncated>false</IsTruncated></ListBucketResult>",
        );
    }
    let tenant = {
        let tenants = tenants.lock().expect("no panic while locked");
        let namespace = key.split('/').nth(1).unwrap_or_default();
        // Last savepoints of coordinators lie beside the jobs.
        let mut all = tenants.values();
        let named = tenants.get(namespace);
        named
            .or_else(|| all.find(|tenant| tenant.holds(&key)))
            .cloned()
    };
    let Some(tenant) = tenant else {
        return missing();
    };
    if request.method() == Method::DELETE {
        return tenant.remove(&key).await;
    }
    if tenant.injector.look() == Fate::Lost {
        return pending().await;
    }
    let Some((etag, bytes)) = tenant.read(&key) else {
        return missing();
    };
    let mut answer = reply(200, "application/json", bytes)?;
    let headers = answer.headers_mut();
    headers.insert(http::header::ETAG, etag.parse()?);
    Ok(answer)
}

fn missing() -> Reply {
    reply(
        404,
        XML,
        "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>there is no such key</Message></Error>",
    )
}

impl Tenant {
    /// Whether a key is in one of its savepoints.
    fn holds(&self, key: &str) -> bool {
        let (folder, _) = key.rsplit_once('/').unwrap_or_default();
        let world = self.world.lock().expect("no panic while locked");
        let uri = format!("s3://streams/{folder}");
        world.jobs.folders.contains_key(&uri)
    }

    fn read(&self, key: &str) -> Option<(String, Vec<u8>)> {
        let world = self.world.lock().expect("no panic while locked");
        let (folder, object) = key.rsplit_once('/')?;
        if object == "HEAD.json" {
            let mut path = folder.rsplit('/');
            let (job, namespace) = (path.next()?.to_owned(), path.next()?.to_owned());
            let head = world.jobs.heads.get(&(namespace, job))?;
            return Some((format!("\"{}\"", head.seq), head.encode()));
        }
        let removed = self.removed.lock().expect("no panic while locked");
        let held = world.jobs.folders.get(&format!("s3://streams/{folder}"))?;
        let written = content(object, held).filter(|_| !removed.contains(key))?;
        Some((format!("\"{object}\""), written))
    }

    async fn remove(&self, key: &str) -> Reply {
        let (folder, object) = key.rsplit_once('/').unwrap_or_default();
        let life = self.life.load(Ordering::Acquire);
        let call = format!("remove {object}");
        let (place, fate) = self.injector.enter(life, call, String::new());
        if fate == Fate::Lost {
            return pending().await;
        }
        {
            let mut world = self.world.lock().expect("no panic while locked");
            let mut removed = self.removed.lock().expect("no panic while locked");
            removed.insert(key.to_owned());
            if object == LAST {
                let uri = format!("s3://streams/{folder}");
                world.jobs.folders.remove(&uri);
            }
        }
        self.injector.done(place, 204, None);
        if fate == Fate::LastServed {
            self.injector.end();
            return pending().await;
        }
        reply(204, XML, "")
    }
}

/// An object of a savepoint without state.
fn content(object: &str, held: &Folder) -> Option<Vec<u8>> {
    let plan = StreamPlan {
        format: PLAN_FORMAT,
        nodes: Vec::new(),
        settings: Settings::default(),
    };
    let (lineage, job_uid, max_parallelism) = (String::new(), held.job_uid.clone(), 128);
    let written = match object {
        FIRST => serde_json::to_vec(&json!({
            "format": 1, "min_reader": 1, "job_uid": job_uid, "lineage": lineage, "revision": held.revision, "checkpoint": held.checkpoint,
            "completed_ms": held.completed_ms, "plan_hash": plan.hash(), "max_parallelism": max_parallelism, "objects": 0, "total_bytes": 0,
        })),
        "manifest.json" => serde_json::to_vec(&Manifest {
            format: MANIFEST_FORMAT,
            min_reader: MANIFEST_FORMAT,
            job_uid,
            lineage,
            revision: held.revision,
            attempt: 1,
            checkpoint: held.checkpoint,
            kind: CheckpointKind::Savepoint,
            started_ms: held.completed_ms,
            completed_ms: held.completed_ms,
            max_parallelism,
            key_hash: KEY_HASH.to_owned(),
            assignment: Assignment::even(max_parallelism, 1),
            plan_hash: plan.hash(),
            operators: Vec::new(),
            committables: Vec::new(),
            records_in: 0,
            records_out: 0,
            last_record_ms: None,
        }),
        LAST => serde_json::to_vec(&plan),
        _ => return None,
    };
    Some(written.expect("JSON"))
}
