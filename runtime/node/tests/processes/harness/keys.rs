//! Keys of a job, and callers who have others.

use std::{fs, path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    time_provider::{DefaultTimeProvider, TimeProvider},
};
use streamkeeper_security::{
    JobKey, MasterKey, Material, OperatorIdentity, Rotation, WorkerIdentity,
};

/// What the keys of a job follow from.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) job: JobKey,
    pub(crate) rotation: Duration,
}

/// A clock that goes wrong by so many seconds.
#[derive(Debug)]
struct Late(u64);

impl TimeProvider for Late {
    fn current_time(&self) -> Option<UnixTime> {
        let now = DefaultTimeProvider.current_time()?.as_secs();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            now - self.0,
        )))
    }
}

impl Keys {
    /// The keys of a job with this uid.
    pub(crate) fn of(master: u8, uid: &str, rotation: Duration) -> Self {
        let job = MasterKey::new(&[master; 32]).unwrap().job(uid);
        Self { job, rotation }
    }

    /// What the kubelet makes of the Secret.
    pub(crate) fn mount(&self, folder: &Path) {
        fs::create_dir(folder).unwrap();
        for (name, content) in Material::of(&self.job).unwrap().files() {
            fs::write(folder.join(name), content).unwrap();
        }
    }

    pub(crate) fn operator(&self) -> OperatorIdentity {
        self.operator_behind(0)
    }

    /// An operator whose clock is so many seconds behind: what it shows has expired.
    pub(crate) fn operator_behind(&self, seconds: u64) -> OperatorIdentity {
        let rotation = Rotation::every(self.rotation);
        OperatorIdentity::new(self.job.clone(), rotation, Arc::new(Late(seconds)))
    }

    pub(crate) fn worker(&self) -> WorkerIdentity {
        let material = Material::of(&self.job).unwrap();
        let rotation = Rotation::every(self.rotation);
        WorkerIdentity::new(material, rotation, Arc::new(DefaultTimeProvider))
    }
}

/// Shows what `config` shows, and does not care who is at the other end, as an attacker would not.
pub(crate) fn careless(config: &ClientConfig) -> Arc<ClientConfig> {
    let careless = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_client_cert_resolver(config.client_auth_cert_resolver.clone());
    Arc::new(careless)
}

/// Shows nothing, and does not care either.
pub(crate) fn bare() -> Arc<ClientConfig> {
    let bare = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_no_client_auth();
    Arc::new(bare)
}

#[derive(Debug)]
struct Careless;

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = ring::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
