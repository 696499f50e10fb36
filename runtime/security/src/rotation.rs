//! Epochs: how long certificates and tokens are used, and how far two clocks may be apart.

use std::time::Duration;

/// How long an epoch lasts. All processes of a job must use one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    seconds: u64,
}

/// Number of an epoch, counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Default for Rotation {
    fn default() -> Self {
        Self::every(Duration::from_hours(30 * 24))
    }
}

impl Rotation {
    /// A new epoch begins after this duration; at least a second.
    pub fn every(period: Duration) -> Self {
        Self {
            seconds: period.as_secs().max(1),
        }
    }

    /// The epoch of a moment, in seconds since 1970.
    pub fn epoch(self, now: u64) -> Epoch {
        Epoch(now / self.seconds)
    }

    /// The epochs that are trusted at a moment: no process is further away, unless a clock is wrong
    /// by a whole epoch.
    pub fn trusted(self, now: u64) -> [Epoch; 3] {
        let Epoch(now) = self.epoch(now);
        [now.saturating_sub(1), now, now.saturating_add(1)].map(Epoch)
    }

    /// First and last second of a certificate: exactly while its epoch is trusted.
    pub fn validity(self, epoch: Epoch) -> (u64, u64) {
        let first = epoch.0.saturating_sub(1).saturating_mul(self.seconds);
        let after = epoch.0.saturating_add(2).saturating_mul(self.seconds);
        (first, after - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_trusted_exactly_while_its_certificates_are_valid() {
        let rotation = Rotation::every(Duration::from_secs(10));
        let (first, last) = rotation.validity(Epoch(7));
        assert_eq!((first, last), (60, 89));
        for now in 0..200 {
            let trusted = rotation.trusted(now).contains(&Epoch(7));
            assert_eq!(trusted, (first..=last).contains(&now), "{now}");
        }
    }

    #[test]
    fn two_clocks_an_epoch_apart_trust_each_other() {
        let rotation = Rotation::every(Duration::from_secs(10));
        for (one, other) in [(70, 79), (70, 80), (79, 80), (70, 60), (75, 85)] {
            assert!(rotation.trusted(one).contains(&rotation.epoch(other)));
            assert!(rotation.trusted(other).contains(&rotation.epoch(one)));
        }
        assert!(!rotation.trusted(70).contains(&rotation.epoch(90)));
    }

    #[test]
    fn no_time_is_too_early_or_too_short() {
        let rotation = Rotation::every(Duration::ZERO);
        assert_eq!(rotation.trusted(0), [Epoch(0), Epoch(0), Epoch(1)]);
        assert_eq!(rotation.validity(Epoch(0)), (0, 1));
    }
}
