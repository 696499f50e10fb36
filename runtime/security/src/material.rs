//! The content of a job's Secret, and the files that its pods mount.

use rustls::pki_types::CertificateDer;

use crate::{
    SecurityError,
    certificate::operator_ca,
    key::{JobKey, KeyError, WorkerKey},
};

/// Key and file name of the job's uid.
pub const JOB_UID: &str = "job-uid";
/// Key and file name of the workers' key: 32 bytes.
pub const WORKER_KEY: &str = "worker.key";
/// Key and file name of the CA certificate that signs the operator's certificates: X.509, DER.
pub const OPERATOR_CA: &str = "operator-ca.der";

/// The content of a job's Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    /// Uid of the StreamJob.
    pub uid: String,
    /// Key that all workers share.
    pub worker_key: WorkerKey,
    /// CA that signs the operator's certificates.
    pub operator_ca: CertificateDer<'static>,
}

impl Material {
    /// The Secret's content for the pods of this job.
    pub fn of(job: &JobKey) -> Result<Self, SecurityError> {
        Ok(Self {
            uid: job.uid().to_owned(),
            worker_key: job.worker_key(),
            operator_ca: operator_ca(job)?,
        })
    }

    /// From the contents of the files.
    pub fn new(uid: String, worker_key: &[u8], operator_ca: Vec<u8>) -> Result<Self, KeyError> {
        Ok(Self {
            uid,
            worker_key: WorkerKey::new(worker_key)?,
            operator_ca: CertificateDer::from(operator_ca),
        })
    }

    /// File names and contents.
    pub fn files(&self) -> [(&'static str, Vec<u8>); 3] {
        [
            (JOB_UID, self.uid.clone().into_bytes()),
            (WORKER_KEY, self.worker_key.bytes().to_vec()),
            (OPERATOR_CA, self.operator_ca.to_vec()),
        ]
    }
}
