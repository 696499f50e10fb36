//! Workers that are connected, and what they last said about themselves.

use std::collections::BTreeMap;

use streamkeeper_protocol::job_api::WorkerReport;
use tokio::time::Instant;

use crate::worker_link::WorkerLink;
use streamkeeper_control::messages::{Heartbeat, Register, ToWorker};

/// Workers by ordinal.
#[derive(Debug, Default)]
pub(crate) struct WorkerRegistry {
    members: BTreeMap<u32, RegisteredWorker>,
    /// Newest record that a connection told of before it was lost or replaced, and its attempt.
    gone: Option<(u64, i64)>,
    /// Memory of workers whose connection was lost or replaced, as they last said.
    left_with: BTreeMap<u32, u64>,
}

#[derive(Debug)]
struct RegisteredWorker {
    link: WorkerLink,
    data_addr: String,
    heartbeat: Heartbeat,
    connected_ms: i64,
    /// Set once it said that it leaves: it counts on until then, but for nothing new.
    leaves_by: Option<Instant>,
}

impl WorkerRegistry {
    /// Takes a worker in; a new connection replaces the old one.
    pub(crate) fn register(&mut self, register: Register, link: WorkerLink, now_ms: i64) {
        let member = RegisteredWorker {
            link,
            data_addr: register.data_addr,
            heartbeat: Heartbeat::default(),
            connected_ms: now_ms,
            leaves_by: None,
        };
        let replaced = self.members.insert(register.worker, member);
        self.remember(register.worker, replaced);
    }

    /// Forgets a worker, unless it has connected anew since.
    pub(crate) fn lose(&mut self, worker: u32, link: u64) -> bool {
        let current = self.is_current(worker, link);
        if current {
            let lost = self.members.remove(&worker);
            self.remember(worker, lost);
        }
        current
    }

    /// What flowed through a worker flowed, also after it is lost.
    fn remember(&mut self, worker: u32, gone: Option<RegisteredWorker>) {
        let Some(RegisteredWorker { heartbeat, .. }) = gone else {
            return;
        };
        self.gone = self
            .gone
            .max(heartbeat.attempt.zip(heartbeat.last_record_ms));
        self.left_with.insert(worker, heartbeat.memory_bytes);
    }

    /// How much memory a worker had when it was lost, if it was and ever said.
    pub(crate) fn left_with(&self, worker: u32) -> Option<u64> {
        let known = self.left_with.get(&worker).copied();
        known.filter(|bytes| *bytes > 0)
    }

    /// Since when the worker is connected, if it is.
    pub(crate) fn connected_ms(&self, worker: u32) -> Option<i64> {
        self.members.get(&worker).map(|member| member.connected_ms)
    }

    /// Whether this is the connection of the worker.
    pub(crate) fn is_current(&self, worker: u32, link: u64) -> bool {
        self.members
            .get(&worker)
            .is_some_and(|member| member.link.id == link)
    }

    /// Notes that a worker leaves.
    pub(crate) fn leave(&mut self, worker: u32, by: Instant) {
        if let Some(member) = self.members.get_mut(&worker) {
            member.leaves_by = Some(by);
        }
    }

    /// Whether a worker is about to leave.
    pub(crate) fn is_leaving(&self, worker: u32) -> bool {
        self.members
            .get(&worker)
            .is_some_and(|member| member.leaves_by.is_some())
    }

    /// The one of the first `workers` that leaves soonest, and when.
    pub(crate) fn first_to_leave(&self, workers: u32) -> Option<(u32, Instant)> {
        let leaving = self.members.range(..workers);
        let leaving = leaving.filter_map(|(worker, member)| Some((*worker, member.leaves_by?)));
        leaving.min_by_key(|(_, by)| *by)
    }

    pub(crate) fn heard(&mut self, worker: u32, heartbeat: Heartbeat) {
        if let Some(member) = self.members.get_mut(&worker) {
            member.heartbeat = heartbeat;
            self.left_with.remove(&worker);
        }
    }

    /// Ordinals below `workers` that are not connected, or not for long.
    pub(crate) fn missing(&self, workers: u32) -> Vec<u32> {
        (0..workers)
            .filter(|worker| self.staying(*worker).is_none())
            .collect()
    }

    /// Data addresses of the first `workers`, if all of them are connected, and to stay.
    pub(crate) fn addresses(&self, workers: u32) -> Option<Vec<String>> {
        (0..workers)
            .map(|worker| Some(self.staying(worker)?.data_addr.clone()))
            .collect()
    }

    fn staying(&self, worker: u32) -> Option<&RegisteredWorker> {
        let member = self.members.get(&worker);
        member.filter(|member| member.leaves_by.is_none())
    }

    pub(crate) fn send(&self, worker: u32, message: ToWorker) {
        if let Some(member) = self.members.get(&worker) {
            member.link.send(message);
        }
    }

    /// Sends to every connected worker below `workers`.
    pub(crate) fn send_to_first(&self, workers: u32, message: &ToWorker) {
        for (_, member) in self.members.range(..workers) {
            member.link.send(message.clone());
        }
    }

    /// Sends to every connected worker.
    pub(crate) fn send_to_all(&self, message: &ToWorker) {
        self.send_to_first(u32::MAX, message);
    }

    /// Last signs of life that are about `attempt`.
    pub(crate) fn heartbeats(&self, attempt: u64) -> impl Iterator<Item = (u32, &Heartbeat)> {
        self.members
            .iter()
            .map(|(worker, member)| (*worker, &member.heartbeat))
            .filter(move |(_, heartbeat)| heartbeat.attempt == Some(attempt))
    }

    /// When a source last handed out a record, as far as the workers said; a lost one counts with
    /// its last word.
    pub(crate) fn last_record_ms(&self, attempt: u64) -> Option<i64> {
        let gone = self.gone.filter(|(of, _)| *of == attempt);
        self.heartbeats(attempt)
            .filter_map(|(_, heartbeat)| heartbeat.last_record_ms)
            .chain(gone.map(|(_, at_ms)| at_ms))
            .max()
    }

    /// Bytes that the workers sent to stores in `attempt`, as they last said.
    pub(crate) fn moved_bytes(&self, attempt: u64) -> u64 {
        self.heartbeats(attempt)
            .map(|(_, heartbeat)| heartbeat.moved_bytes)
            .sum()
    }

    /// An entry for each of the first `workers`, and for any other that is connected.
    pub(crate) fn report(&self, workers: u32) -> Vec<WorkerReport> {
        let others = self.members.range(workers..).map(|(worker, _)| *worker);
        (0..workers)
            .chain(others)
            .map(|index| {
                let member = self.members.get(&index);
                WorkerReport {
                    index,
                    registered: member.is_some(),
                    memory_bytes: member.map_or(0, |member| member.heartbeat.memory_bytes),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(worker: u32) -> Register {
        Register {
            format: streamkeeper_control::messages::CONTROL_FORMAT,
            worker,
            job_uid: "uid".into(),
            revision: 1,
            data_addr: format!("10.0.0.{worker}:7000"),
            slots: 1,
            version: "0".into(),
            running: None,
        }
    }

    #[test]
    fn who_is_about_to_leave_is_asked_for_nothing_new() {
        let mut worker_registry = WorkerRegistry::default();
        let soon = streamkeeper_control::clock::now();
        let later = soon + std::time::Duration::from_secs(1);
        let mut inboxes = Vec::new();
        for worker in 0..3 {
            let (link, inbox) = WorkerLink::new();
            inboxes.push(inbox);
            worker_registry.register(register(worker), link, 0);
        }
        assert_eq!(worker_registry.first_to_leave(3), None);
        worker_registry.leave(1, later);
        worker_registry.leave(2, soon);
        assert_eq!(worker_registry.first_to_leave(3), Some((2, soon)));
        assert_eq!(worker_registry.first_to_leave(2), Some((1, later)));
        assert_eq!(
            (worker_registry.missing(3), worker_registry.addresses(2)),
            (vec![1, 2], None)
        );
        assert!(worker_registry.is_leaving(1) && !worker_registry.is_leaving(0));
        // Its next process is another one.
        let (link, _inbox) = WorkerLink::new();
        worker_registry.register(register(1), link, 0);
        assert_eq!(worker_registry.missing(3), [2]);
    }

    #[test]
    fn a_late_loss_of_an_old_connection_does_not_lose_the_new_one() {
        let mut worker_registry = WorkerRegistry::default();
        let (old, _old_inbox) = WorkerLink::new();
        let (new, mut inbox) = WorkerLink::new();
        let (old_id, new_id) = (old.id, new.id);
        worker_registry.register(register(1), old, 0);
        worker_registry.register(register(1), new, 0);
        assert!(!worker_registry.lose(1, old_id));
        assert_eq!(worker_registry.missing(2), [0]);
        worker_registry.send_to_all(&ToWorker::Ping);
        assert_eq!(inbox.try_recv().unwrap(), ToWorker::Ping);
        assert!(worker_registry.lose(1, new_id));
        assert_eq!(worker_registry.missing(2), [0, 1]);
        assert_eq!(worker_registry.addresses(2), None);
    }

    #[test]
    fn a_lost_worker_counts_with_its_last_word() {
        let told = |attempt, at_ms| Heartbeat {
            attempt: Some(attempt),
            last_record_ms: Some(at_ms),
            memory_bytes: attempt << 20,
            ..Heartbeat::default()
        };
        let mut worker_registry = WorkerRegistry::default();
        let (link, _inbox) = WorkerLink::new();
        let first = link.id;
        worker_registry.register(register(1), link, 10);
        worker_registry.heard(1, told(3, 100));
        assert!(worker_registry.lose(1, first));
        assert_eq!(
            (
                worker_registry.last_record_ms(3),
                worker_registry.connected_ms(1)
            ),
            (Some(100), None)
        );
        assert_eq!(
            (worker_registry.left_with(1), worker_registry.left_with(0)),
            (Some(3 << 20), None)
        );
        let (link, _inbox) = WorkerLink::new();
        worker_registry.register(register(1), link, 700);
        assert_eq!(worker_registry.connected_ms(1), Some(700));
        assert_eq!(worker_registry.last_record_ms(3), Some(100));
        assert_eq!(
            worker_registry.last_record_ms(4),
            None,
            "of another attempt"
        );
        worker_registry.heard(1, told(4, 800));
        assert_eq!(worker_registry.left_with(1), None, "it lives");
        let (link, _inbox) = WorkerLink::new();
        worker_registry.register(register(1), link, 900);
        assert_eq!(
            worker_registry.last_record_ms(4),
            Some(800),
            "a replaced connection"
        );
    }
}
