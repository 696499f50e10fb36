//! Certificate authorities and the certificates that they sign: Ed25519, whose signatures are
//! deterministic.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{
    SecurityError,
    key::{Bytes, JobKey, WorkerKey, label},
    rotation::{Epoch, Rotation},
};

/// PKCS #8 of an Ed25519 key, up to its 32 bytes (RFC 8410).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Name in the certificate of a job's workers. Fixed, so that addresses do not matter.
pub fn worker_name(uid: &str) -> String {
    format!("worker.{}.streamkeeper.internal", label(uid))
}

/// Name in the operator's certificate for a job.
fn operator_name(uid: &str) -> String {
    format!("operator.{}.streamkeeper.internal", label(uid))
}

/// A certificate and its key.
#[derive(Debug)]
pub(crate) struct Certified {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// Signs certificates.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

fn pkcs8(seed: &Bytes) -> PrivatePkcs8KeyDer<'static> {
    PrivatePkcs8KeyDer::from([&PKCS8[..], &seed.0].concat())
}

fn key_pair(seed: &Bytes) -> Result<KeyPair, SecurityError> {
    Ok(KeyPair::from_pkcs8_der_and_sign_algo(
        &pkcs8(seed),
        &PKCS_ED25519,
    )?)
}

fn named(common_name: String) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Streamkeeper");
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

impl Authority {
    /// Makes an authority. A root is trusted as long as it is in a trust store, so its own dates
    /// mean nothing.
    fn new(name: String, seed: &Bytes) -> Result<Self, SecurityError> {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self {
            params,
            key: key_pair(seed)?,
        })
    }

    fn certificate(&self) -> Result<CertificateDer<'static>, SecurityError> {
        Ok(self.params.self_signed(&self.key)?.der().clone())
    }

    fn sign(
        &self,
        name: &str,
        seed: &Bytes,
        (first, last): (u64, u64),
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> Result<Certified, SecurityError> {
        let at = |second| date_time_ymd(1970, 1, 1) + Duration::from_secs(second);
        let mut params = named(name.to_owned());
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into()?)];
        (params.not_before, params.not_after) = (at(first), at(last));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_params(&self.params, &self.key);
        Ok(Certified {
            certificate: params.signed_by(&key_pair(seed)?, &issuer)?.der().clone(),
            key: pkcs8(seed).into(),
        })
    }
}

fn worker_authority(key: &WorkerKey, uid: &str, epoch: Epoch) -> Result<Authority, SecurityError> {
    Authority::new(
        format!("workers of {}, epoch {}", label(uid), epoch.0),
        &key.ca(epoch),
    )
}

fn operator_authority(job: &JobKey) -> Result<Authority, SecurityError> {
    Authority::new(
        format!("operator of {}", label(job.uid())),
        &job.operator_ca(),
    )
}

/// The authority that signs the certificates of a job's workers in an epoch.
pub(crate) fn worker_ca(
    key: &WorkerKey,
    uid: &str,
    epoch: Epoch,
) -> Result<CertificateDer<'static>, SecurityError> {
    worker_authority(key, uid, epoch)?.certificate()
}

/// The certificate of a job's workers in an epoch; they serve and they call.
pub(crate) fn worker(
    key: &WorkerKey,
    uid: &str,
    epoch: Epoch,
    rotation: Rotation,
) -> Result<Certified, SecurityError> {
    worker_authority(key, uid, epoch)?.sign(
        &worker_name(uid),
        &key.leaf(epoch),
        rotation.validity(epoch),
        vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ],
    )
}

/// The authority that signs the operator's certificates for a job.
pub(crate) fn operator_ca(job: &JobKey) -> Result<CertificateDer<'static>, SecurityError> {
    operator_authority(job)?.certificate()
}

/// The operator's certificate for a job in an epoch; it calls and never serves.
pub(crate) fn operator(
    job: &JobKey,
    epoch: Epoch,
    rotation: Rotation,
) -> Result<Certified, SecurityError> {
    operator_authority(job)?.sign(
        &operator_name(job.uid()),
        &job.operator_leaf(epoch),
        rotation.validity(epoch),
        vec![ExtendedKeyUsagePurpose::ClientAuth],
    )
}

/// The operator's name, signed by the workers.
#[cfg(test)]
pub(crate) fn forged_operator(
    key: &WorkerKey,
    uid: &str,
    epoch: Epoch,
    rotation: Rotation,
) -> Result<Certified, SecurityError> {
    worker_authority(key, uid, epoch)?.sign(
        &operator_name(uid),
        &key.leaf(epoch),
        rotation.validity(epoch),
        vec![ExtendedKeyUsagePurpose::ClientAuth],
    )
}
