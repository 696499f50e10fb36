//! What the operator sees of coordinators and HEAD records.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use streamkeeper_controller::{
    buckets::{Folders, Heads, Progress, folders::Outcome, heads::unreadable},
    coordinator_client::{Answer, CallError, Coordinator, JobApi},
};
use streamkeeper_lifecycle::{
    Fact, Grant, JobCall,
    snapshots::{Content, Trouble, TroubleKind, Work},
};
use streamkeeper_protocol::{
    head::{Head, HeadError},
    job_api::{JobError, Operation, Preflight, Report, SeenHead},
};
use streamkeeper_storage::{HeadAccessError, StorageError};

use super::process::{Process, Speaks, Surroundings};
use crate::{
    interference::{Fate, Life},
    world::World,
};

/// How the storage responds.
#[derive(Debug, Clone, Default)]
pub enum Store {
    /// It does.
    #[default]
    Fine,
    /// The credentials are wrong.
    Denied,
    /// It is down.
    Down,
    /// It knows no conditional writes.
    Careless,
    /// What it holds was written by a later release.
    Later,
}

impl Store {
    /// What a coordinator says about it.
    pub fn trouble(&self) -> Option<JobError> {
        let error = self.error("s3://streams/prod/flights/delays/HEAD.json")?;
        let reason = match self {
            Self::Denied => "StorageAccessDenied",
            Self::Later => "RestoreFailed",
            Self::Fine | Self::Down | Self::Careless => "StorageUnreachable",
        };
        Some(JobError {
            reason: reason.to_owned(),
            message: format!("reading HEAD: {error}"),
        })
    }

    /// What reading such a HEAD comes to.
    fn later() -> HeadError {
        Head::parse(br#"{"v": 9, "min_reader": 9}"#).expect_err("a record of a later release")
    }

    fn error(&self, at: &str) -> Option<StorageError> {
        match self {
            Self::Fine | Self::Careless => None,
            Self::Later => Some(StorageError::Invalid {
                action: "read HEAD",
                at: at.to_owned(),
                detail: Self::later().to_string(),
            }),
            Self::Denied => Some(StorageError::AccessDenied {
                action: "GetObject",
                at: at.to_owned(),
                detail: "InvalidAccessKeyId".to_owned(),
            }),
            Self::Down => Some(StorageError::Unavailable {
                action: "GetObject",
                at: at.to_owned(),
                detail: "connection refused".to_owned(),
            }),
        }
    }
}

/// The Job API and the storage, as one life of an operator sees them.
#[derive(Clone)]
pub struct JobPort {
    pub world: Arc<Mutex<World>>,
    pub life: Life,
}

impl JobPort {
    /// Calls a coordinator, which responds if the caller uses the keys that it expects.
    fn ask<T>(
        &self,
        of: &Coordinator,
        question: impl FnOnce(&mut Process, &mut Surroundings<'_>) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let (address, spoken) = (&of.address, Speaks::on(&of.channel));
        let mut world = self.world.lock().expect("no panic while locked");
        let now = world.now();
        let jobs = &mut world.jobs;
        let nobody = || CallError::NoAnswer {
            address: address.clone(),
            detail: "connection refused".to_owned(),
        };
        let found = jobs
            .at(address)
            .filter(|process| !process.script.deaf && Some(process.speaks) == spoken)
            .map(|process| process.address.clone())
            .ok_or_else(nobody)?;
        let uid = jobs
            .processes
            .iter()
            .find(|(_, process)| process.address == found)
            .map(|(uid, _)| uid.clone())
            .ok_or_else(nobody)?;
        let Some(mut process) = jobs.processes.remove(&uid) else {
            return Err(nobody());
        };
        let crew = process.registered.clone();
        let mut around = Surroundings {
            now,
            crew: &crew,
            storage: &jobs.storage,
            interval: jobs.interval,
            heads: &mut jobs.heads,
            folders: &mut jobs.folders,
            dice: &mut jobs.dice,
        };
        let answer = question(&mut process, &mut around);
        jobs.processes.insert(uid, process);
        answer
    }

    async fn tell(&self, of: &Coordinator, call: &JobCall) -> Result<Operation, CallError> {
        self.life.alive().await;
        let lost = || CallError::NoAnswer {
            address: of.address.clone(),
            detail: "connection reset".to_owned(),
        };
        let serve = || self.ask(of, |process, around| process.command(around, call));
        let fate = self.world.lock().expect("no panic while locked").fate(
            format!("call {} {}", verb(call), call.key()),
            self.life.name(),
        );
        match fate {
            Fate::Served => serve(),
            Fate::Refused(refusal) => Err(CallError::Refused {
                code: "Busy".to_owned(),
                message: refusal.message,
            }),
            Fate::RequestLost => Err(lost()),
            Fate::AnswerLost => serve().and(Err(lost())),
            Fate::CrashBefore => self.life.end().await,
            Fate::CrashAfter => {
                let _ = serve();
                self.life.end().await
            }
        }
    }
}

const fn verb(call: &JobCall) -> &'static str {
    match call {
        JobCall::Promote(_) => "promote",
        JobCall::Savepoint(_) => "savepoint",
        JobCall::HandOver(_) => "hand-over",
        JobCall::Stop(_) => "stop",
        JobCall::Rescale(_) => "rescale",
    }
}

impl JobApi for JobPort {
    fn report<'a>(&'a self, of: &'a Coordinator) -> Answer<'a, Report> {
        Box::pin(async move {
            self.life.alive().await;
            self.ask(of, |process, _| Ok(process.report()))
        })
    }

    fn head<'a>(&'a self, of: &'a Coordinator) -> Answer<'a, SeenHead> {
        Box::pin(async move {
            self.life.alive().await;
            self.ask(of, |process, around| match around.storage.trouble() {
                Some(error) => Err(CallError::Refused {
                    code: "StorageUnavailable".to_owned(),
                    message: error.message,
                }),
                None => Ok(SeenHead {
                    age_ms: 0,
                    head: around.heads.get(&process.job).cloned(),
                }),
            })
        })
    }

    fn preflight<'a>(
        &'a self,
        of: &'a Coordinator,
        from: Option<&'a str>,
    ) -> Answer<'a, Preflight> {
        Box::pin(async move {
            self.life.alive().await;
            self.ask(of, |process, around| Ok(process.preflight(around, from)))
        })
    }

    fn operation<'a>(&'a self, of: &'a Coordinator, key: &'a str) -> Answer<'a, Option<Operation>> {
        Box::pin(async move {
            self.life.alive().await;
            self.ask(of, |process, _| Ok(process.operations.get(key).cloned()))
        })
    }

    fn command<'a>(&'a self, of: &'a Coordinator, call: &'a JobCall) -> Answer<'a, Operation> {
        Box::pin(self.tell(of, call))
    }
}

impl Heads for JobPort {
    fn head<'a>(
        &'a self,
        root: &'a Grant,
    ) -> Pin<Box<dyn Future<Output = Fact<Option<Head>>> + Send + 'a>> {
        Box::pin(async move {
            self.life.alive().await;
            let deaf = {
                let world = self.world.lock().expect("no panic while locked");
                world.jobs.deaf.contains(root.namespace())
            };
            if deaf {
                // As long as the operator waits for a store.
                tokio::time::sleep(Duration::from_secs(10)).await;
                return Fact::unknown("reading HEAD: no answer within 10 s");
            }
            let mut world = self.world.lock().expect("no panic while locked");
            let at = format!("s3://{}/{}/HEAD.json", root.storage().bucket, root.key());
            world.looked.insert(at.clone());
            let mut names = root.key().rsplit('/').map(ToOwned::to_owned);
            let name = names.next().unwrap_or_default();
            let namespace = names.next().unwrap_or_default();
            match (&world.jobs.storage, world.jobs.storage.error(&at)) {
                (Store::Denied, Some(error)) => Fact::denied(error.to_string()),
                (Store::Later, Some(_)) => unreadable(&HeadAccessError::Head {
                    at,
                    source: Store::later(),
                }),
                (_, Some(error)) => Fact::unknown(error.to_string()),
                (_, None) => Fact::Known(world.jobs.heads.get(&(namespace, name)).cloned()),
            }
        })
    }
}

impl Folders for JobPort {
    fn work<'a>(
        &'a self,
        work: Work,
        place: &'a Grant,
        job_uid: Option<&'a str>,
        progress: &'a Progress,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            self.life.alive().await;
            progress.set(0, 5 << 20);
            tokio::time::sleep(Duration::from_secs(2)).await;
            self.life.alive().await;
            let at = format!("s3://{}/{}", place.storage().bucket, place.key());
            let mut world = self.world.lock().expect("no panic while locked");
            world.looked.insert(at.clone());
            let trouble = |kind, message: String| Trouble { kind, message };
            if let Some(error) = world.jobs.storage.error(&at) {
                let kind = match world.jobs.storage {
                    Store::Denied => TroubleKind::Denied,
                    Store::Fine | Store::Down | Store::Careless | Store::Later => TroubleKind::Down,
                };
                return Err(trouble(kind, error.to_string()));
            }
            if work == Work::Remove {
                let held = world.jobs.folders.get(&at).map(|held| &held.job_uid);
                if let (Some(wanted), Some(held)) = (job_uid, held)
                    && wanted != held
                {
                    let message = format!("it is a savepoint of the StreamJob with uid {held}");
                    return Err(trouble(TroubleKind::NotOurs, message));
                }
                world.effects.push(format!("remove {at}"));
                world.jobs.folders.remove(&at);
                return Ok(None);
            }
            let Some(found) = world.jobs.folders.get(&at) else {
                return Err(trouble(
                    TroubleKind::Missing,
                    format!("GetObject {at}/metadata.json: no such object"),
                ));
            };
            if found.damaged && work == Work::Verify {
                return Err(trouble(
                    TroubleKind::Damaged,
                    format!("{at}/data/0001: wrong checksum"),
                ));
            }
            Ok(Some(Content {
                checkpoint: found.checkpoint,
                completed_ms: found.completed_ms,
                total_bytes: 5 << 20,
                revision: found.revision,
                job_uid: found.job_uid.clone(),
            }))
        })
    }
}
