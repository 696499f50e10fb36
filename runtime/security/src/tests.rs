//! Which peers complete a handshake with which, and until when. No sockets: both ends run in one
//! thread, by a clock that the test sets.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, ServerConnection,
    pki_types::{CertificateDer, UnixTime},
    time_provider::TimeProvider,
};

use super::{
    Epoch, JobKey, MasterKey, Material, OperatorIdentity, Role, Rotation, WorkerIdentity,
    certificate,
};

const EPOCH: u64 = 1_000;

/// A clock that stands still until it is set.
#[derive(Debug, Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn at(second: u64) -> Self {
        Self(Arc::new(AtomicU64::new(second)))
    }

    fn set(&self, second: u64) {
        self.0.store(second, Ordering::Relaxed);
    }
}

impl TimeProvider for Hand {
    fn current_time(&self) -> Option<UnixTime> {
        let second = self.0.load(Ordering::Relaxed);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(second)))
    }
}

fn rotation() -> Rotation {
    Rotation::every(Duration::from_secs(EPOCH))
}

fn job(master: u8, uid: &str) -> JobKey {
    MasterKey::new(&[master; 32]).unwrap().job(uid)
}

fn worker(job: &JobKey, clock: &Hand) -> WorkerIdentity {
    let material = Material::of(job).unwrap();
    WorkerIdentity::new(material, rotation(), Arc::new(clock.clone()))
}

fn operator(job: &JobKey, clock: &Hand) -> OperatorIdentity {
    OperatorIdentity::new(job.clone(), rotation(), Arc::new(clock.clone()))
}

/// Moves bytes until both sides are done, or one of them gives up.
fn shake(client: Arc<ClientConfig>, server: &WorkerIdentity) -> Result<Option<Role>, String> {
    let name = server.server_name().unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut serving = ServerConnection::new(server.server().unwrap()).unwrap();
    while client.is_handshaking() || serving.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        read(&mut wire.as_slice(), |from| serving.read_tls(from));
        let refused = serving.process_new_packets().map(|_| ());
        let mut wire = Vec::new();
        while serving.wants_write() {
            serving.write_tls(&mut wire).unwrap();
        }
        read(&mut wire.as_slice(), |from| client.read_tls(from));
        client.process_new_packets().map_err(|e| e.to_string())?;
        refused.map_err(|e| e.to_string())?;
    }
    let shown: Vec<CertificateDer<'_>> = serving.peer_certificates().unwrap().to_vec();
    Ok(server.role(&shown).unwrap())
}

fn read(wire: &mut &[u8], mut into: impl FnMut(&mut dyn io::Read) -> io::Result<usize>) {
    while !wire.is_empty() {
        into(wire).unwrap();
    }
}

#[track_caller]
fn refused<T: fmt::Debug>(result: Result<T, String>, because: &str) {
    let error = result.unwrap_err();
    assert!(error.contains(because), "{error}");
}

#[test]
fn workers_and_operator_of_one_job_know_each_other() {
    let (job, clock) = (job(1, "a"), Hand::at(10 * EPOCH));
    let pod = worker(&job, &clock);
    assert_eq!(shake(pod.client().unwrap(), &pod), Ok(Some(Role::Worker)));
    let operator = operator(&job, &clock);
    assert_eq!(
        shake(operator.client().unwrap(), &pod),
        Ok(Some(Role::Operator))
    );
    let header = operator.token().unwrap().header();
    assert!(pod.knows(header.as_bytes()).unwrap());
}

#[test]
fn peers_of_another_job_or_master_key_and_peers_without_a_certificate_are_refused() {
    let clock = Hand::at(10 * EPOCH);
    let pod = worker(&job(1, "a"), &clock);
    for stranger in [job(1, "b"), job(2, "a")] {
        let (one, other) = (worker(&stranger, &clock), operator(&stranger, &clock));
        // The caller sees first that it reached the wrong pod.
        refused(shake(one.client().unwrap(), &pod), "certificate");
        refused(shake(other.client().unwrap(), &pod), "certificate");
        let header = other.token().unwrap().header();
        assert!(!pod.knows(header.as_bytes()).unwrap());
        // A client that does not verify the server is refused too.
        let shown = certificate::operator(&stranger, Epoch(10), rotation()).unwrap();
        assert_eq!(pod.role(&[shown.certificate]).unwrap(), None);
    }
    assert_eq!(pod.role(&[]).unwrap(), None);
}

#[test]
fn a_certificate_with_the_operators_name_that_the_workers_signed_is_a_workers() {
    let (job, clock) = (job(1, "a"), Hand::at(10 * EPOCH));
    let pod = worker(&job, &clock);
    let forged = certificate::forged_operator(&job.worker_key(), "a", Epoch(10), rotation());
    assert_eq!(
        pod.role(&[forged.unwrap().certificate]).unwrap(),
        Some(Role::Worker)
    );
}

#[test]
fn a_peer_one_epoch_apart_is_trusted_and_a_peer_two_apart_is_not() {
    let job = job(1, "a");
    for (apart, trusted) in [(0, true), (EPOCH, true), (2 * EPOCH, false)] {
        for (pod_at, caller_at) in [
            (10 * EPOCH, 10 * EPOCH + apart),
            (10 * EPOCH + apart, 10 * EPOCH),
        ] {
            let pod = worker(&job, &Hand::at(pod_at));
            let clock = Hand::at(caller_at);
            let (other, operator) = (worker(&job, &clock), operator(&job, &clock));
            for client in [other.client().unwrap(), operator.client().unwrap()] {
                assert_eq!(shake(client, &pod).is_ok(), trusted, "{pod_at} {caller_at}");
            }
            let header = operator.token().unwrap().header();
            assert_eq!(pod.knows(header.as_bytes()).unwrap(), trusted);
        }
    }
}

#[test]
fn certificates_follow_the_clock_and_what_was_kept_too_long_expires() {
    let (job, clock) = (job(1, "a"), Hand::at(10 * EPOCH));
    let (pod, operator) = (worker(&job, &clock), operator(&job, &clock));
    let old = operator.client().unwrap();
    let shown = certificate::operator(&job, Epoch(10), rotation()).unwrap();
    for second in [10, 11, 12, 20, 500].map(|epoch| epoch * EPOCH) {
        clock.set(second);
        assert_eq!(
            shake(operator.client().unwrap(), &pod),
            Ok(Some(Role::Operator)),
            "{second}"
        );
        assert_eq!(shake(pod.client().unwrap(), &pod), Ok(Some(Role::Worker)));
        let role = pod.role(std::slice::from_ref(&shown.certificate)).unwrap();
        assert_eq!(role, (second < 12 * EPOCH).then_some(Role::Operator));
    }
    assert!(shake(old, &pod).is_err());
}

#[test]
fn the_same_input_makes_the_same_keys_and_certificates() {
    let made = |master, uid| {
        let job = job(master, uid);
        let worker = certificate::worker(&job.worker_key(), uid, Epoch(3), rotation()).unwrap();
        let operator = certificate::operator(&job, Epoch(3), rotation()).unwrap();
        let Material {
            worker_key,
            operator_ca,
            ..
        } = Material::of(&job).unwrap();
        (
            worker_key.bytes().to_vec(),
            operator_ca,
            worker.certificate,
            operator.certificate,
        )
    };
    let first = made(1, "a");
    assert_eq!(first, made(1, "a"));
    for other in [made(2, "a"), made(1, "b")] {
        assert_ne!(first.0, other.0);
        assert_ne!(first.1, other.1);
        assert_ne!(first.2, other.2);
        assert_ne!(first.3, other.3);
    }
}

/// A later operator must derive equal keys: running pods have them in their Secret.
#[test]
fn derived_keys_do_not_change() {
    let master = MasterKey::new(b"not a secret: the key of one test").unwrap();
    let job = master.job("6a1f0c1e-0000-4000-8000-000000000001");
    let digest = ring::digest::digest(&ring::digest::SHA256, job.worker_key().bytes());
    let digest: Vec<String> = digest.as_ref()[..4]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(
        (
            master.fingerprint(),
            digest.concat(),
            certificate::worker_name(job.uid())
        ),
        (
            "d3b3ef8fd54e952f".to_owned(),
            "661bc14f".to_owned(),
            "worker.7f53bc3ca3b300840446b39a523c23c5.streamkeeper.internal".to_owned(),
        )
    );
}
