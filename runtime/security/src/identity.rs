//! TLS identities of a worker and of the operator in the current epoch. Kept for an epoch and
//! derived anew for the next: no process restarts, no file changes.

use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::{Resumption, WebPkiServerVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    time_provider::TimeProvider,
    version::TLS13,
};

use crate::{
    Material, SecurityError,
    certificate::{self, Certified, worker_name},
    key::{JobKey, Token},
    rotation::{Epoch, Rotation},
};

/// TLS 1.3 with AES-128 first: records are many, and it costs least.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
            ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
            ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..ring::default_provider()
    })
});

/// The role of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The operator.
    Operator,
    /// A worker of this job.
    Worker,
}

/// Source of the time.
pub type Clock = Arc<dyn TimeProvider>;

fn now(clock: &Clock) -> Result<u64, SecurityError> {
    clock
        .current_time()
        .map(|time| time.as_secs())
        .ok_or(SecurityError::NoTime)
}

fn store(
    roots: impl IntoIterator<Item = Result<CertificateDer<'static>, SecurityError>>,
) -> Result<Arc<RootCertStore>, SecurityError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root?)?;
    }
    Ok(Arc::new(store))
}

/// One job's pods: both sides of the connections between them, and the serving side of the
/// operator's calls.
pub struct WorkerIdentity {
    material: Material,
    rotation: Rotation,
    clock: Clock,
    kept: Mutex<Option<Arc<OfWorker>>>,
}

/// Keys and certificates of an epoch.
struct OfWorker {
    epoch: Epoch,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    operators: Arc<dyn ClientCertVerifier>,
    workers: Arc<dyn ClientCertVerifier>,
    tokens: [Token; 3],
}

impl fmt::Debug for WorkerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerIdentity")
            .field("uid", &self.material.uid)
            .finish_non_exhaustive()
    }
}

impl WorkerIdentity {
    /// Identity of a pod of the job whose Secret holds `material`.
    pub fn new(material: Material, rotation: Rotation, clock: Clock) -> Self {
        Self {
            material,
            rotation,
            clock,
            kept: Mutex::default(),
        }
    }

    /// For connections that come in.
    pub fn server(&self) -> Result<Arc<ServerConfig>, SecurityError> {
        Ok(self.current()?.server.clone())
    }

    /// For connections to other pods of the job.
    pub fn client(&self) -> Result<Arc<ClientConfig>, SecurityError> {
        Ok(self.current()?.client.clone())
    }

    /// The name that other pods of the job have in their certificate.
    pub fn server_name(&self) -> Result<ServerName<'static>, SecurityError> {
        name_of(&self.material.uid)
    }

    /// Role of the peer that shows these certificates; none for an unknown peer, or when they have
    /// expired.
    pub fn role(&self, shown: &[CertificateDer<'_>]) -> Result<Option<Role>, SecurityError> {
        let current = self.current()?;
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now(&self.clock)?));
        let Some((own, rest)) = shown.split_first() else {
            return Ok(None);
        };
        // The signer decides: a holder of the workers' key can write any name into a certificate,
        // but cannot sign for the operator.
        let signed =
            |by: &Arc<dyn ClientCertVerifier>| by.verify_client_cert(own, rest, at).is_ok();
        Ok(if signed(&current.operators) {
            Some(Role::Operator)
        } else {
            signed(&current.workers).then_some(Role::Worker)
        })
    }

    /// The token that calls of the Job API show.
    pub fn token(&self) -> Result<Token, SecurityError> {
        let epoch = self.rotation.epoch(now(&self.clock)?);
        Ok(self.material.worker_key.token(epoch))
    }

    /// Whether an `Authorization` header shows a token that is trusted.
    pub fn knows(&self, header: &[u8]) -> Result<bool, SecurityError> {
        Ok(self
            .current()?
            .tokens
            .iter()
            .fold(false, |known, token| known | token.is_shown_by(header)))
    }

    fn current(&self) -> Result<Arc<OfWorker>, SecurityError> {
        let now = now(&self.clock)?;
        let epoch = self.rotation.epoch(now);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = kept.as_ref().filter(|current| current.epoch == epoch) {
            return Ok(current.clone());
        }
        let current = Arc::new(self.make(epoch, self.rotation.trusted(now))?);
        *kept = Some(current.clone());
        Ok(current)
    }

    fn make(&self, epoch: Epoch, trusted: [Epoch; 3]) -> Result<OfWorker, SecurityError> {
        let (uid, key) = (&self.material.uid, &self.material.worker_key);
        let authority = |epoch| certificate::worker_ca(key, uid, epoch);
        let operator = || Ok(self.material.operator_ca.clone());
        let workers = store(trusted.map(authority))?;
        let callers = store(trusted.map(authority).into_iter().chain([operator()]))?;
        let verifier =
            |roots| WebPkiClientVerifier::builder_with_provider(roots, PROVIDER.clone()).build();
        let own = || certificate::worker(key, uid, epoch, self.rotation);
        let Certified {
            certificate,
            key: private,
        } = own()?;
        let mut server = ServerConfig::builder_with_details(PROVIDER.clone(), self.clock.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier(callers)?)
            .with_single_cert(vec![certificate], private)?;
        // A resumed session would outlive its certificates.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(OfWorker {
            epoch,
            server: Arc::new(server),
            client: Arc::new(client(workers.clone(), own()?, &self.clock)?),
            operators: verifier(store([operator()])?)?,
            workers: verifier(workers)?,
            tokens: trusted.map(|epoch| key.token(epoch)),
        })
    }
}

/// The operator, as one job's pods see it. Calls and never serves.
pub struct OperatorIdentity {
    job: JobKey,
    rotation: Rotation,
    clock: Clock,
    kept: Mutex<Option<(Epoch, Arc<ClientConfig>)>>,
}

impl fmt::Debug for OperatorIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorIdentity")
            .field("uid", &self.job.uid())
            .finish_non_exhaustive()
    }
}

impl OperatorIdentity {
    /// The operator's identity for the pods of a job, by this clock.
    pub fn new(job: JobKey, rotation: Rotation, clock: Clock) -> Self {
        Self {
            job,
            rotation,
            clock,
            kept: Mutex::default(),
        }
    }

    /// For calls to pods of the job.
    pub fn client(&self) -> Result<Arc<ClientConfig>, SecurityError> {
        let now = now(&self.clock)?;
        let epoch = self.rotation.epoch(now);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = kept.as_ref().filter(|(of, _)| *of == epoch) {
            return Ok(client.clone());
        }
        let (uid, key) = (self.job.uid(), self.job.worker_key());
        let authority = |epoch| certificate::worker_ca(&key, uid, epoch);
        let workers = store(self.rotation.trusted(now).map(authority))?;
        let own = certificate::operator(&self.job, epoch, self.rotation)?;
        let made = Arc::new(client(workers, own, &self.clock)?);
        *kept = Some((epoch, made.clone()));
        Ok(made)
    }

    /// The name that pods of the job have in their certificate.
    pub fn server_name(&self) -> Result<ServerName<'static>, SecurityError> {
        name_of(self.job.uid())
    }

    /// The token that calls of the Job API show.
    pub fn token(&self) -> Result<Token, SecurityError> {
        let epoch = self.rotation.epoch(now(&self.clock)?);
        Ok(self.job.worker_key().token(epoch))
    }
}

fn name_of(uid: &str) -> Result<ServerName<'static>, SecurityError> {
    ServerName::try_from(worker_name(uid))
        .map_err(|error| rustls::Error::General(error.to_string()).into())
}

fn client(
    workers: Arc<RootCertStore>,
    own: Certified,
    clock: &Clock,
) -> Result<ClientConfig, SecurityError> {
    let verifier =
        WebPkiServerVerifier::builder_with_provider(workers, PROVIDER.clone()).build()?;
    let mut client = ClientConfig::builder_with_details(PROVIDER.clone(), clock.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(vec![own.certificate], own.key)?;
    client.resumption = Resumption::disabled();
    Ok(client)
}
