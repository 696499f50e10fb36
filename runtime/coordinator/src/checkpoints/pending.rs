//! A checkpoint under way: shares collected from workers, then one manifest.

use std::{collections::BTreeMap, time::Duration};

use streamkeeper_protocol::{
    head::LastCheckpoint,
    key_group::KEY_HASH,
    manifest::{CheckpointKind, MANIFEST_FORMAT, Manifest},
};
use tokio::time::Instant;

use crate::attempt::Lineage;
use crate::progress_deadline::ProgressDeadline;
use streamkeeper_control::messages::{CheckpointAck, merge_operators};

/// A checkpoint whose shares are being collected.
#[derive(Debug)]
pub(crate) struct PendingCheckpoint {
    pub(crate) checkpoint: u64,
    pub(crate) kind: CheckpointKind,
    pub(crate) started_ms: i64,
    pub(crate) patience: ProgressDeadline,
    /// When it is given up, however well it gets on: a pod ends.
    pub(crate) until: Option<Instant>,
    /// Why a share was not stored at once.
    pub(crate) trouble: Option<String>,
    workers: u32,
    shares: BTreeMap<u32, CheckpointAck>,
}

impl PendingCheckpoint {
    pub(crate) fn new(
        checkpoint: u64,
        kind: CheckpointKind,
        workers: u32,
        started_ms: i64,
        patience: ProgressDeadline,
        until: Option<Instant>,
    ) -> Self {
        Self {
            checkpoint,
            kind,
            started_ms,
            patience,
            until,
            trouble: None,
            workers,
            shares: BTreeMap::new(),
        }
    }

    /// Takes a worker's share; whether that was the last one missing.
    pub(crate) fn take(&mut self, share: CheckpointAck) -> bool {
        if share.worker < self.workers && share.checkpoint == self.checkpoint {
            self.shares.insert(share.worker, share);
        }
        self.shares.len() == self.workers as usize
    }

    /// When it is given up unless it gets on.
    pub(crate) fn deadline(&self) -> Instant {
        let by = self.patience.by();
        self.until.map_or(by, |until| until.min(by))
    }

    /// Whether it is to be given up, with the workers at `progress`. What an operation waits for
    /// may take as long as it gets on; a periodic one gets its time, and the next holds what it
    /// held.
    pub(crate) fn is_out_of_time(&mut self, now: Instant, limit: Duration, progress: u64) -> bool {
        let progress = match self.kind {
            CheckpointKind::Periodic => 0,
            CheckpointKind::Savepoint | CheckpointKind::Final => {
                progress + self.shares.len() as u64
            }
        };
        self.patience.is_out(now, limit, progress) || self.until.is_some_and(|until| now >= until)
    }

    /// Workers whose share is missing.
    pub(crate) fn missing(&self) -> Vec<u32> {
        (0..self.workers)
            .filter(|worker| !self.shares.contains_key(worker))
            .collect()
    }

    /// The manifest of all shares, and the bytes that were written for it.
    pub(crate) fn complete(self, of: &Lineage, now_ms: i64) -> (Manifest, u64) {
        let sum = |value: fn(&CheckpointAck) -> u64| self.shares.values().map(value).sum::<u64>();
        let (read, written) = (
            sum(|share| share.records_in),
            sum(|share| share.records_out),
        );
        let written_bytes = sum(|share| share.written_bytes);
        let last_record_ms = self
            .shares
            .values()
            .filter_map(|share| share.last_record_ms)
            .max();
        let (operators, committables): (Vec<_>, Vec<_>) = self
            .shares
            .into_values()
            .map(|share| (share.operators, share.committables))
            .unzip();
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            min_reader: MANIFEST_FORMAT,
            job_uid: of.job_uid.clone(),
            lineage: of.of_head.clone(),
            revision: of.revision,
            attempt: of.attempt,
            checkpoint: self.checkpoint,
            kind: self.kind,
            started_ms: self.started_ms,
            completed_ms: now_ms,
            max_parallelism: u16::try_from(of.assignment.owner.len()).unwrap_or(u16::MAX),
            key_hash: KEY_HASH.to_owned(),
            assignment: of.assignment.clone(),
            plan_hash: of.plan_hash.clone(),
            operators: merge_operators(operators),
            committables: committables.into_iter().flatten().collect(),
            records_in: of.records_before.0 + read,
            records_out: of.records_before.1 + written,
            last_record_ms: last_record_ms.or(of.last_record_before_ms),
        };
        (manifest, written_bytes)
    }
}

/// HEAD's entry for a complete checkpoint; its duration is known only when it is written.
pub(crate) fn entry_of(
    manifest: &Manifest,
    key: String,
    written_bytes: u64,
    now_ms: i64,
) -> LastCheckpoint {
    let needs_commit = !manifest.committables.is_empty();
    LastCheckpoint {
        checkpoint: manifest.checkpoint,
        manifest: key,
        needs_commit,
        committed: !needs_commit,
        completed_ms: now_ms,
        written_bytes,
        total_bytes: manifest.total_bytes(),
        duration_ms: u64::try_from(now_ms - manifest.started_ms).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper_protocol::key_group::Assignment;

    use super::*;
    use streamkeeper_control::clock;

    fn share(worker: u32, checkpoint: u64) -> CheckpointAck {
        CheckpointAck {
            attempt: 1,
            checkpoint,
            worker,
            operators: Vec::new(),
            committables: Vec::new(),
            records_in: 10,
            records_out: 1,
            written_bytes: 5,
            freeze_us: 0,
            upload_ms: 0,
            ended: false,
            last_record_ms: Some(i64::from(worker)),
        }
    }

    #[test]
    fn a_checkpoint_is_complete_with_one_share_of_every_worker() {
        let patience = ProgressDeadline::new(clock::now(), Duration::ZERO, 0);
        let mut collecting =
            PendingCheckpoint::new(4, CheckpointKind::Periodic, 2, 100, patience, None);
        assert!(!collecting.take(share(0, 4)));
        assert!(!collecting.take(share(0, 4)), "the same worker again");
        assert!(!collecting.take(share(1, 3)), "another checkpoint");
        assert!(!collecting.take(share(2, 4)), "not a worker of this graph");
        assert_eq!(collecting.missing(), [1]);
        assert!(collecting.take(share(1, 4)));
        let of = Lineage {
            job_uid: "uid".into(),
            of_head: "l".into(),
            revision: 1,
            attempt: 1,
            plan_hash: "h".into(),
            assignment: Assignment::even(8, 2),
            records_before: (100, 50),
            last_record_before_ms: None,
        };
        let (manifest, written) = collecting.complete(&of, 150);
        assert_eq!(
            (manifest.records_in, manifest.records_out, written),
            (120, 52, 10)
        );
        assert_eq!(
            (manifest.max_parallelism, manifest.last_record_ms),
            (8, Some(1))
        );
        let entry = entry_of(&manifest, "k".into(), written, 160);
        assert_eq!(
            (entry.duration_ms, entry.needs_commit, entry.committed),
            (60, false, true)
        );
    }

    #[test]
    fn what_an_operation_waits_for_may_take_as_long_as_it_gets_on() {
        const LIMIT: Duration = Duration::from_mins(10);
        let began = clock::now();
        let given_up = |kind, until: Option<Duration>, rate: u64| {
            let patience = ProgressDeadline::new(began, LIMIT, 0);
            let until = until.map(|until| began + until);
            let mut collecting = PendingCheckpoint::new(4, kind, 2, 100, patience, until);
            (0..2_000_u64).step_by(50).find(|second| {
                let now = began + Duration::from_secs(*second);
                collecting.is_out_of_time(now, LIMIT, rate * second)
            })
        };
        for kind in [CheckpointKind::Savepoint, CheckpointKind::Final] {
            assert_eq!(given_up(kind, None, 1 << 20), None);
            assert_eq!(given_up(kind, None, 0), Some(600), "nothing moves");
            let grace = Some(Duration::from_mins(15));
            assert_eq!(given_up(kind, grace, 1 << 20), Some(900), "its pod ends");
        }
        assert_eq!(given_up(CheckpointKind::Periodic, None, 1 << 20), Some(600));
    }

    #[test]
    fn each_share_that_comes_moves_the_deadline() {
        const LIMIT: Duration = Duration::from_mins(1);
        let began = clock::now();
        let patience = ProgressDeadline::new(began, LIMIT, 0);
        let mut collecting =
            PendingCheckpoint::new(4, CheckpointKind::Final, 2, 100, patience, None);
        assert!(!collecting.is_out_of_time(began + LIMIT / 2, LIMIT, 0));
        collecting.take(share(0, 4));
        assert!(!collecting.is_out_of_time(began + LIMIT / 2, LIMIT, 0));
        assert_eq!(collecting.deadline(), began + LIMIT * 3 / 2);
        assert!(collecting.is_out_of_time(began + LIMIT * 3 / 2, LIMIT, 0));
    }
}
