//! Gaps in the flow of records: last record before, first record after.

use std::collections::VecDeque;

use streamkeeper_protocol::job_api::{Pause, PauseReason};

/// Pauses kept for the report.
const KEPT: usize = 16;

/// Recent pauses, newest first; the newest may still last.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    pauses: VecDeque<Pause>,
}

impl Pauses {
    /// The flow stopped. A pause that lasts already goes on, with its first reason: a restart that fails is the same gap.
    pub(super) fn begin(
        &mut self,
        reason: PauseReason,
        last_before_ms: Option<i64>,
        restored_from: Option<u64>,
    ) {
        if let Some(open) = self.open() {
            open.restored_from = restored_from;
            open.last_before_ms =
                last_before_ms.map_or(open.last_before_ms, |at| at.max(open.last_before_ms));
            return;
        }
        // Nothing ever flowed: a gap has two sides.
        let Some(last_before_ms) = last_before_ms else {
            return;
        };
        self.pauses.push_front(Pause {
            reason,
            last_before_ms,
            first_after_ms: None,
            restored_from,
        });
        self.pauses.truncate(KEPT);
    }

    /// A record that still flowed while the graph was being stopped.
    pub(super) fn still_flowed(&mut self, at_ms: i64) {
        if let Some(open) = self.open() {
            open.last_before_ms = open.last_before_ms.max(at_ms);
        }
    }

    /// The checkpoint the job goes on from.
    pub(super) fn restored(&mut self, from: Option<u64>) {
        if let Some(open) = self.open() {
            open.restored_from = from;
        }
    }

    /// A record flows again.
    pub(super) fn end(&mut self, at_ms: i64) {
        if let Some(open) = self.open() {
            open.first_after_ms = Some(at_ms);
        }
    }

    pub(super) fn report(&self) -> Vec<Pause> {
        self.pauses.iter().cloned().collect()
    }

    fn open(&mut self) -> Option<&mut Pause> {
        self.pauses
            .front_mut()
            .filter(|pause| pause.first_after_ms.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_are_one_pause_from_the_last_record_to_the_first() {
        let mut pauses = Pauses::default();
        pauses.begin(PauseReason::Failure, None, None);
        assert!(pauses.report().is_empty(), "no record ever flowed");
        pauses.begin(PauseReason::Failure, Some(100), Some(1));
        pauses.still_flowed(120);
        pauses.begin(PauseReason::Rescale, Some(90), Some(2));
        pauses.end(500);
        pauses.end(600);
        let report = pauses.report();
        assert_eq!(report.len(), 1);
        assert_eq!(
            report[0],
            Pause {
                reason: PauseReason::Failure,
                last_before_ms: 120,
                first_after_ms: Some(500),
                restored_from: Some(2)
            }
        );
        pauses.begin(PauseReason::HandOver, Some(700), None);
        assert_eq!(pauses.report()[0].first_after_ms, None);
    }
}
