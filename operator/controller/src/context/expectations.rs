//! What this operator wrote and has not seen in its caches yet. Until they show it, nothing is
//! planned for the job: a plan made from a world in which its own last plan did not happen does the
//! same again, or the opposite.

use std::time::Duration;

use tokio::time::Instant;

use crate::watches::written::{Kind, Written};

/// A cache that is late for longer than this is filled anew.
const PATIENCE: Duration = Duration::from_secs(10);
/// Changes of children bring the job back by themselves; those of its own status do not. The longer
/// it takes, the seldomer a job looks: thousands that wait for one late watch would take the time
/// that it needs.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const AT_LEAST_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
struct Entry {
    what: Written,
    at: Instant,
    /// When its cache was last told to be filled anew.
    asked: Instant,
}

/// What was written for one job and not seen yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expectations(Vec<Entry>);

/// What a pass waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Behind {
    /// What is not seen yet.
    pub(crate) what: Written,
    /// When to look again.
    pub(crate) after: Duration,
    /// Kinds whose caches are to be filled anew.
    pub(crate) overdue: Vec<Kind>,
}

impl Expectations {
    /// Remembers something that was written.
    pub(crate) fn wrote(&mut self, what: Written, at: Instant) {
        // Of versions of a kind only the newest has to be seen.
        if let Written::Version { kind, version } = what {
            let mut known = self.0.iter_mut();
            let same = known.find_map(|entry| match &mut entry.what {
                Written::Version {
                    kind: other,
                    version: known,
                } if *other == kind => {
                    *known = version.max(*known);
                    entry.at = at;
                    entry.asked = at;
                    Some(())
                }
                Written::Version { .. } | Written::Gone { .. } => None,
            });
            if same.is_some() {
                return;
            }
        }
        self.0.push(Entry {
            what,
            at,
            asked: at,
        });
    }

    /// Forgets what is `shown` by now. Returns what has to be waited for, if anything.
    pub(crate) fn behind(
        &mut self,
        now: Instant,
        shown: impl Fn(&Written, Instant) -> bool,
    ) -> Option<Behind> {
        self.0.retain(|entry| !shown(&entry.what, entry.at));
        let first = self.0.first()?;
        let (what, so_far) = (first.what.clone(), now.saturating_duration_since(first.at));
        let mut overdue = Vec::new();
        for entry in &mut self.0 {
            if now.saturating_duration_since(entry.asked) >= PATIENCE {
                entry.asked = now;
                if !overdue.contains(&entry.what.kind()) {
                    overdue.push(entry.what.kind());
                }
            }
        }
        Some(Behind {
            what,
            after: so_far.clamp(LOOK_AGAIN, AT_LEAST_EVERY),
            overdue,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(kind: Kind, version: u64) -> Written {
        Written::Version { kind, version }
    }

    fn gone(name: &str) -> Written {
        Written::Gone {
            kind: Kind::Pod,
            name: name.to_owned(),
            uid: "u".to_owned(),
        }
    }

    #[test]
    fn a_pass_waits_until_everything_that_was_written_is_shown() {
        let now = Instant::now();
        let mut unseen = Expectations::default();
        assert_eq!(unseen.behind(now, |_, _| false), None);
        unseen.wrote(version(Kind::Service, 3), now);
        unseen.wrote(gone("delays-r1-0"), now);
        let behind = unseen.behind(now, |what, _| matches!(what, Written::Version { .. }));
        assert_eq!(
            behind.map(|behind| behind.what),
            Some(gone("delays-r1-0")),
            "the version was seen"
        );
        assert_eq!(unseen.behind(now, |_, _| true), None);
        assert_eq!(unseen.behind(now, |_, _| false), None, "forgotten");
    }

    #[test]
    fn of_a_kind_the_newest_version_counts() {
        let now = Instant::now();
        let mut unseen = Expectations::default();
        for written in [3, 9, 5] {
            unseen.wrote(version(Kind::Service, written), now);
        }
        unseen.wrote(version(Kind::ConfigMap, 4), now);
        let shown = |what: &Written, _| *what != version(Kind::Service, 9);
        let behind = unseen.behind(now, shown).expect("something");
        assert_eq!(behind.what, version(Kind::Service, 9));
        assert_eq!(unseen.0.len(), 1);
    }

    #[test]
    fn the_longer_a_cache_is_late_the_seldomer_it_is_looked_at() {
        let start = Instant::now();
        let mut unseen = Expectations::default();
        unseen.wrote(version(Kind::StreamJob, 3), start);
        let (mut now, mut looks) = (start, Vec::new());
        while now < start + Duration::from_mins(1) {
            let behind = unseen.behind(now, |_, _| false).expect("something");
            looks.push(behind.after);
            now += behind.after;
        }
        assert_eq!(looks[..4], [100, 100, 200, 400].map(Duration::from_millis));
        assert_eq!(looks.last(), Some(&Duration::from_secs(2)));
        assert!(looks.len() < 36, "{}", looks.len());
    }

    #[test]
    fn a_cache_that_stays_behind_is_filled_anew_now_and_then() {
        let start = Instant::now();
        let mut unseen = Expectations::default();
        unseen.wrote(version(Kind::Service, 3), start);
        let mut asked = 0;
        for tenths in 0..350_u64 {
            let now = start + Duration::from_millis(tenths * 100);
            let behind = unseen.behind(now, |_, _| false).expect("something");
            asked += behind.overdue.len();
        }
        assert_eq!(asked, 3, "every ten seconds");
    }
}
