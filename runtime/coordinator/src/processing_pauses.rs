//! Gaps in the flow of records: last record before, first record after.

use std::collections::VecDeque;

use streamkeeper_protocol::job_api::{Pause, PauseReason};

/// Pauses kept for the report.
const KEPT: usize = 16;

/// Recent pauses, newest first; the newest may still last.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    pauses: VecDeque<Pause>,
    /// When the attempt was given up that the newest one began with.
    given_up_ms: i64,
}

impl Pauses {
    /// The flow stopped: an attempt is given up at `now_ms`. A pause that lasts already goes on
    /// from where it began: a restart that fails is the same gap.
    pub(crate) fn begin(
        &mut self,
        reason: PauseReason,
        last_before_ms: Option<i64>,
        restored_from: Option<u64>,
        now_ms: i64,
    ) {
        if let Some(open) = self.open() {
            open.restored_from = restored_from;
            return;
        }
        // Nothing ever flowed: a gap has two sides.
        let Some(last_before_ms) = last_before_ms else {
            return;
        };
        self.pauses.push_front(Pause {
            reason,
            last_before_ms: last_before_ms.min(now_ms),
            first_after_ms: None,
            restored_from,
        });
        self.pauses.truncate(KEPT);
        self.given_up_ms = now_ms;
    }

    /// Last record of a worker whose graph was stopped, and since when that worker is connected.
    ///
    /// What it read after the attempt was given up becomes no output. Who was there at that moment
    /// read up to it; who came back later may have stood still long before.
    pub(crate) fn still_flowed(&mut self, at_ms: i64, connected_ms: i64) {
        let given_up_ms = self.given_up_ms;
        if let Some(open) = self.open()
            && (at_ms <= given_up_ms || connected_ms <= given_up_ms)
        {
            open.last_before_ms = open.last_before_ms.max(at_ms.min(given_up_ms));
        }
    }

    /// The checkpoint the job goes on from.
    pub(crate) fn restored(&mut self, from: Option<u64>) {
        if let Some(open) = self.open() {
            open.restored_from = from;
        }
    }

    /// A record flows again.
    pub(crate) fn end(&mut self, at_ms: i64) {
        if let Some(open) = self.open() {
            open.first_after_ms = Some(at_ms);
        }
    }

    pub(crate) fn report(&self) -> Vec<Pause> {
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
        pauses.begin(PauseReason::Failure, None, None, 50);
        assert!(pauses.report().is_empty(), "no record ever flowed");
        pauses.begin(PauseReason::Failure, Some(100), Some(1), 130);
        pauses.still_flowed(120, 0);
        pauses.begin(PauseReason::Rescale, Some(90), Some(2), 300);
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
        pauses.begin(PauseReason::HandOver, Some(700), None, 700);
        assert_eq!(pauses.report()[0].first_after_ms, None);
    }

    #[test]
    fn records_of_an_attempt_that_was_given_up_count_up_to_then() {
        let last_before = |told: &[(i64, i64)]| {
            let mut pauses = Pauses::default();
            pauses.begin(PauseReason::Failure, Some(100), None, 200);
            // The next attempt fails before its first record.
            pauses.begin(PauseReason::Failure, None, None, 900);
            for (at_ms, connected_ms) in told {
                pauses.still_flowed(*at_ms, *connected_ms);
            }
            pauses.report()[0].last_before_ms
        };
        assert_eq!(
            last_before(&[(203, 10)]),
            200,
            "it ran until it was stopped"
        );
        assert_eq!(last_before(&[(800, 700)]), 100, "frozen, lost, and back");
        assert_eq!(last_before(&[(150, 700)]), 150, "cut off and back");
        assert_eq!(last_before(&[(90, 10)]), 100);
        let mut ahead = Pauses::default();
        ahead.begin(PauseReason::Failure, Some(240), None, 200);
        assert_eq!(
            ahead.report()[0].last_before_ms,
            200,
            "another node's clock"
        );
    }
}
