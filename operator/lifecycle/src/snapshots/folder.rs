//! Where the folder of a snapshot is, and whether the operator may act there.
//!
//! The folder of a snapshot that was taken here follows from the names of its job and of the object
//! itself; of its status only the store and the prefix count, and those only if the operator may
//! act there. The folder of an import is what the spec says.

use streamkeeper_api::v1alpha1::DeletionPolicy;
use streamkeeper_guard::guard;
use streamkeeper_protocol::paths::StatePaths;

use crate::{
    grant::{Grant, grant},
    revision::storage::ResolvedStorage,
    snapshots::{
        action::SnapshotAction,
        folder_work::{Content, TroubleKind, Work, WorkState},
        plan_builder::{SnapshotPlanBuilder, WorkWait, progress},
    },
};

/// The folder, if the operator may act there with its own credentials.
pub(super) fn place(plan: &SnapshotPlanBuilder<'_>) -> Result<Grant, String> {
    let imported = plan.input.snapshot.spec.import_from.as_ref();
    let uri = match imported {
        Some(import) => import.uri.trim_end_matches('/'),
        None => plan.status.uri.as_deref().unwrap_or_default(),
    };
    let (bucket, key) = split(uri).ok_or_else(|| format!("`{uri}` names no folder"))?;
    if imported.is_none()
        && !guard!("what was taken lies in its own folder": is_below(key, &own_folder(plan)))
    {
        return Err(format!(
            "{uri} is not the folder of this StreamSnapshot, which ends in {}",
            own_folder(plan)
        ));
    }
    let storage = ResolvedStorage {
        uri: format!("s3://{bucket}"),
        bucket: bucket.to_owned(),
        prefix: String::new(),
        region: plan.status.region.clone(),
        endpoint: plan.status.endpoint.clone(),
        ..ResolvedStorage::default()
    };
    let namespace = namespace(plan);
    let granted = grant(plan.input.settings, &storage, namespace, key);
    granted.map_err(|why| why.to_string())
}

fn namespace<'a>(plan: &SnapshotPlanBuilder<'a>) -> &'a str {
    let metadata = &plan.input.snapshot.metadata;
    metadata.namespace.as_deref().unwrap_or_default()
}

fn job_name<'a>(plan: &SnapshotPlanBuilder<'a>) -> &'a str {
    let job = plan.input.snapshot.spec.job_ref.as_ref();
    job.map_or("", |job| job.name.as_str())
}

/// The folder of a snapshot that is taken here, below the prefix of the storage.
fn own_folder(plan: &SnapshotPlanBuilder<'_>) -> String {
    StatePaths::new("", namespace(plan), job_name(plan)).savepoint(&folder_name(plan))
}

/// The last name of that folder: another object of the same name has another one.
pub(super) fn folder_name(plan: &SnapshotPlanBuilder<'_>) -> String {
    let metadata = &plan.input.snapshot.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let uid = metadata.uid.as_deref().unwrap_or_default();
    format!("{name}-{}", uid.get(..8).unwrap_or(uid))
}

/// Why the folder must stay when the object goes, if it must.
pub(super) fn must_stay(plan: &SnapshotPlanBuilder<'_>) -> Option<String> {
    let spec = &plan.input.snapshot.spec;
    if !guard!("only what is to be deleted is": spec.deletion_policy == DeletionPolicy::Delete) {
        return Some("spec.deletionPolicy is Retain".to_owned());
    }
    let import = spec.import_from.as_ref()?;
    let savepoints = StatePaths::new("", namespace(plan), job_name(plan)).savepoint("");
    let folder = import.uri.trim_end_matches('/');
    let (above, name) = folder.rsplit_once('/')?;
    let own = !job_name(plan).is_empty()
        && !name.is_empty()
        && split(above).is_some_and(|(_, key)| is_below(key, savepoints.trim_end_matches('/')));
    if !guard!("an import is removed only where its own job has written": own) {
        return Some(format!(
            "an imported folder is removed only directly below {savepoints}, where its own job has written it"
        ));
    }
    if guard!("whose it is has to be known": owner(plan, Work::Remove).is_some()) {
        return None;
    }
    let why = "it is not known to be a savepoint of its own job, which does not exist any more";
    Some(why.to_owned())
}

/// Uid of the job that the folder must be of before it is removed. A folder that was written
/// for this very object has its uid in its name.
pub(super) fn owner(plan: &SnapshotPlanBuilder<'_>, work: Work) -> Option<String> {
    if work != Work::Remove || plan.input.snapshot.spec.import_from.is_none() {
        return None;
    }
    let noted = plan.status.job_uid.clone();
    noted.or_else(|| plan.input.job.map(|job| job.uid.clone()))
}

fn split(uri: &str) -> Option<(&str, &str)> {
    let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
    (!bucket.is_empty() && !key.is_empty()).then_some((bucket, key))
}

/// Whether `key` is this folder, below some prefix.
fn is_below(key: &str, folder: &str) -> bool {
    let above = key.strip_suffix(folder);
    above.is_some_and(|above| above.is_empty() || above.ends_with('/'))
}

/// Begins work on the folder, or says what became of it.
pub(super) fn work(
    plan: &mut SnapshotPlanBuilder<'_>,
    wanted: Work,
) -> Result<Option<Content>, WorkWait> {
    match plan.input.work {
        WorkState::Done { work, result } if *work == wanted => {
            result.clone().map_err(|trouble| match trouble.kind {
                TroubleKind::TooLarge => WorkWait::NotAllowed(trouble.message),
                TroubleKind::Missing
                | TroubleKind::Damaged
                | TroubleKind::NotOurs
                | TroubleKind::Denied
                | TroubleKind::Down => WorkWait::Trouble(trouble),
            })
        }
        WorkState::Running { work, done, total } if *work == wanted => {
            Err(WorkWait::Running(progress(*done, *total)))
        }
        WorkState::None | WorkState::Done { .. } => {
            match place(plan) {
                Ok(place) => plan.actions.push(SnapshotAction::Begin {
                    work: wanted,
                    place,
                    job_uid: guard!("a folder is compared with its job": owner(plan, wanted), else None),
                }),
                Err(why) => return Err(WorkWait::NotAllowed(why)),
            }
            Err(WorkWait::Running(String::new()))
        }
        WorkState::Running { .. } => Err(WorkWait::Running(String::new())),
    }
}
