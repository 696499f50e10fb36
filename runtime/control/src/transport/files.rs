//! What a pod was given, read from the folder where its Secret is mounted.

use std::{fs, io, path::Path, sync::Arc};

use rustls::time_provider::DefaultTimeProvider;
use streamkeeper_security::{
    Material, Rotation, WorkerIdentity,
    material::{JOB_UID, OPERATOR_CA, WORKER_KEY},
};

/// The keys in this folder, and the uid of the job that they belong to.
pub fn read(folder: &Path, rotation: Rotation) -> Result<(Arc<WorkerIdentity>, String), String> {
    let file = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).map_err(|error: io::Error| {
            format!(
                "cannot read {}: {error}; the Secret of the job is mounted there",
                path.display()
            )
        })
    };
    let uid = String::from_utf8(file(JOB_UID)?)
        .map_err(|_| format!("{} is no uid", folder.join(JOB_UID).display()))?;
    let material = Material::new(uid.clone(), &file(WORKER_KEY)?, file(OPERATOR_CA)?)
        .map_err(|error| format!("{}: {error}", folder.join(WORKER_KEY).display()))?;
    let identity = WorkerIdentity::new(material, rotation, Arc::new(DefaultTimeProvider));
    // What cannot be used is better known now than at the first connection.
    identity
        .server()
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok((Arc::new(identity), uid))
}
