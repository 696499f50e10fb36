//! A store that does not answer is left alone for a while, so that what waits for it delays nothing
//! else.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row before it is left alone.
const FAILURES: u32 = 3;
/// How long it is left alone at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));

/// What is known of a store's answers.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    closed_until: Option<Instant>,
}

impl Breaker {
    /// Allows a request, or returns how long none is sent. After a pause one request tries the
    /// store.
    pub(super) fn ask(&mut self, now: Instant) -> Result<(), Duration> {
        match self.closed_until {
            Some(until) if now < until => Err(until - now),
            Some(_) => {
                // Until that one is answered the others wait.
                self.closed_until = Some(now + pause(self.failures));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether what is known still counts: it is left alone, or was until a moment ago.
    pub(super) fn is_remembered(&self, now: Instant) -> bool {
        self.closed_until.is_some_and(|until| now < until + PAUSE.1)
    }

    /// The store answered, whatever it said.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    /// The store did not answer, or not in time.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.closed_until = Some(now + pause(self.failures));
        }
    }
}

fn pause(failures: u32) -> Duration {
    let doubled = PAUSE.0 * 2_u32.pow(failures.saturating_sub(FAILURES).min(8));
    doubled.min(PAUSE.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_does_not_answer_is_asked_less_and_less_often_until_it_does() {
        let (mut breaker, begin) = (Breaker::default(), Instant::now());
        let (mut asked, mut sent) = (0, Vec::new());
        for second in 0..300 {
            let now = begin + Duration::from_secs(second);
            asked += 1;
            if breaker.ask(now).is_ok() {
                sent.push(second);
                breaker.failed(now);
            }
        }
        assert_eq!(asked, 300);
        assert_eq!(sent, [0, 1, 2, 7, 17, 37, 77, 137, 197, 257]);
        breaker.answered();
        assert_eq!(breaker.ask(begin), Ok(()));
    }

    #[test]
    fn while_one_request_tries_a_store_again_no_other_is_sent() {
        let (mut breaker, begin) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES {
            breaker.failed(begin);
        }
        let later = begin + Duration::from_secs(6);
        assert_eq!(breaker.ask(later), Ok(()));
        breaker.ask(later).unwrap_err();
    }
}
