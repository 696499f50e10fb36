//! Workers that are connected, and what they last said about themselves.

use std::collections::BTreeMap;

use streamkeeper_protocol::job_api::WorkerReport;

use super::links::Link;
use crate::control::{Heartbeat, Register, ToWorker};

/// Workers by ordinal.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: BTreeMap<u32, Member>,
}

#[derive(Debug)]
struct Member {
    link: Link,
    data_addr: String,
    heartbeat: Heartbeat,
}

impl Roster {
    /// Takes a worker in; a new connection replaces the old one.
    pub(super) fn register(&mut self, register: Register, link: Link) {
        let member = Member {
            link,
            data_addr: register.data_addr,
            heartbeat: Heartbeat::default(),
        };
        self.members.insert(register.worker, member);
    }

    /// Forgets a worker, unless it has connected anew since.
    pub(super) fn lose(&mut self, worker: u32, link: u64) -> bool {
        let current = self.is_current(worker, link);
        if current {
            self.members.remove(&worker);
        }
        current
    }

    /// Whether this is the connection of the worker.
    pub(super) fn is_current(&self, worker: u32, link: u64) -> bool {
        self.members
            .get(&worker)
            .is_some_and(|member| member.link.id == link)
    }

    pub(super) fn heard(&mut self, worker: u32, heartbeat: Heartbeat) {
        if let Some(member) = self.members.get_mut(&worker) {
            member.heartbeat = heartbeat;
        }
    }

    /// Ordinals below `workers` that are not connected.
    pub(super) fn missing(&self, workers: u32) -> Vec<u32> {
        (0..workers)
            .filter(|worker| !self.members.contains_key(worker))
            .collect()
    }

    /// Data addresses of the first `workers`, if all of them are connected.
    pub(super) fn addresses(&self, workers: u32) -> Option<Vec<String>> {
        (0..workers)
            .map(|worker| {
                self.members
                    .get(&worker)
                    .map(|member| member.data_addr.clone())
            })
            .collect()
    }

    pub(super) fn send(&self, worker: u32, message: ToWorker) {
        if let Some(member) = self.members.get(&worker) {
            member.link.send(message);
        }
    }

    /// Sends to every connected worker below `workers`.
    pub(super) fn send_to_first(&self, workers: u32, message: &ToWorker) {
        for (_, member) in self.members.range(..workers) {
            member.link.send(message.clone());
        }
    }

    /// Sends to every connected worker.
    pub(super) fn send_to_all(&self, message: &ToWorker) {
        self.send_to_first(u32::MAX, message);
    }

    /// Last signs of life that are about `attempt`.
    pub(super) fn heartbeats(&self, attempt: u64) -> impl Iterator<Item = (u32, &Heartbeat)> {
        self.members
            .iter()
            .map(|(worker, member)| (*worker, &member.heartbeat))
            .filter(move |(_, heartbeat)| heartbeat.attempt == Some(attempt))
    }

    /// When a source last handed out a record, as far as the workers said.
    pub(super) fn last_record_ms(&self, attempt: u64) -> Option<i64> {
        self.heartbeats(attempt)
            .filter_map(|(_, heartbeat)| heartbeat.last_record_ms)
            .max()
    }

    /// An entry for each of the first `workers`, and for any other that is connected.
    pub(super) fn report(&self, workers: u32) -> Vec<WorkerReport> {
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
            format: crate::control::CONTROL_FORMAT,
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
    fn a_late_loss_of_an_old_connection_does_not_lose_the_new_one() {
        let mut roster = Roster::default();
        let (old, _old_inbox) = Link::detached();
        let (new, mut inbox) = Link::detached();
        let (old_id, new_id) = (old.id, new.id);
        roster.register(register(1), old);
        roster.register(register(1), new);
        assert!(!roster.lose(1, old_id));
        assert_eq!(roster.missing(2), [0]);
        roster.send_to_all(&ToWorker::Ping);
        assert_eq!(inbox.try_recv().unwrap(), ToWorker::Ping);
        assert!(roster.lose(1, new_id));
        assert_eq!(roster.missing(2), [0, 1]);
        assert_eq!(roster.addresses(2), None);
    }
}
