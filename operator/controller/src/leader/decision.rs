//! What a replica does next about the Lease. All times are of this process's own monotonic clock: a
//! comparison with the times in the Lease would need clocks that agree.

use std::time::Duration;

use tokio::time::Instant;

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Others may take the Lease when they have not seen it renewed for this long.
    pub duration: Duration,
    /// Its holder writes nothing any more when no renewal was confirmed for this long: shorter than
    /// `duration`, by more than any two clocks drift apart in that time.
    pub hold: Duration,
    /// Time between two renewals.
    pub every: Duration,
    /// Time between two looks of a replica that stands by.
    pub look: Duration,
}

impl Terms {
    /// The usual shares of a Lease's duration.
    pub fn of(duration: Duration) -> Self {
        Self {
            duration,
            hold: duration * 2 / 3,
            every: duration / 7,
            look: (duration / 7).min(Duration::from_secs(1)),
        }
    }

    /// How long an answer is waited for: two tries, and a look, before the Lease is lost.
    pub fn patience(&self) -> Duration {
        self.hold / 4
    }
}

/// A process that competes for the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its name in the Lease. No other process has had it.
    pub name: String,
    /// What the names of all processes of its pod begin with, if it knows its pod.
    pub pod: Option<String>,
}

impl Replica {
    /// A process that began then. A pod keeps its name, and its uid, when its container restarts,
    /// so those alone would make a process take the Lease of the one before it for its own.
    pub fn new(name: &str, pod_uid: Option<&str>, began_ms: i64) -> Self {
        let pod_uid = pod_uid.filter(|uid| !uid.is_empty());
        let pod = pod_uid.map(|uid| format!("{name}_{uid}."));
        Self {
            name: match &pod {
                Some(pod) => format!("{pod}{began_ms:x}"),
                None => format!("{name}_{began_ms:x}"),
            },
            pod,
        }
    }

    /// Whether a holder is this process, or one that ran in its pod before it and so cannot run any
    /// more: a kubelet starts a container again once the last one has ended.
    fn succeeds(&self, holder: &str) -> bool {
        let pod = self.pod.as_deref();
        holder == self.name || pod.is_some_and(|pod| holder.starts_with(pod))
    }
}

/// The Lease as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its resourceVersion: another one with every renewal.
    pub version: String,
    /// Who holds it; none when it was given back.
    pub holder: Option<String>,
    /// How long it lasts, as its holder said.
    pub duration: Duration,
    /// How often it changed hands.
    pub transitions: i32,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Look how it goes, write nothing.
    StandBy,
    /// Write this replica in as its holder.
    Take,
    /// Renew it.
    Renew,
    /// It is lost: write nothing from now on.
    GiveUp,
}

/// What a replica knows of the Lease.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The Lease, or that there is none, and when it was first seen like this.
    seen: Option<(Option<Seen>, Instant)>,
    /// How long the one lasts that was there before it vanished.
    vanished: Option<Duration>,
    /// Until when it is this replica's.
    held_until: Option<Instant>,
}

impl View {
    /// What to do next.
    pub fn decide(&self, me: &Replica, terms: &Terms, now: Instant) -> Step {
        let Some((lease, since)) = &self.seen else {
            return Step::StandBy;
        };
        let holder = lease.as_ref().and_then(|lease| lease.holder.as_deref());
        if let Some(until) = self.held_until {
            // A user may delete the Lease: it is still held, and written anew.
            let somebody_else = lease.is_some() && holder != Some(me.name.as_str());
            return if somebody_else || now >= until {
                Step::GiveUp
            } else {
                Step::Renew
            };
        }
        let lasts = match (lease, holder) {
            // Ours without our knowing: the answer to a write was lost.
            (Some(_), None) => return Step::Take,
            (Some(_), Some(holder)) if me.succeeds(holder) => return Step::Take,
            (Some(lease), Some(_)) => lease.duration.max(terms.duration),
            // Its holder may not know yet that it was deleted.
            (None, _) => match self.vanished {
                Some(lasted) => lasted.max(terms.duration),
                None => return Step::Take,
            },
        };
        if now >= *since + lasts {
            Step::Take
        } else {
            Step::StandBy
        }
    }

    /// When to decide again after a step that began then.
    pub fn next(&self, step: Step, terms: &Terms, began: Instant) -> Instant {
        match (step, self.held_until) {
            (Step::GiveUp, _) => began,
            (_, Some(until)) => (began + terms.every).min(until),
            (_, None) => began + terms.look,
        }
    }

    /// The Lease was looked at; `at` is after the answer. Returns whether it is another than
    /// before.
    pub fn saw(&mut self, lease: Option<Seen>, at: Instant) -> bool {
        if let Some((before, _)) = &self.seen {
            if *before == lease {
                return false;
            }
            if let (Some(before), None) = (before, &lease) {
                self.vanished = before.holder.is_some().then_some(before.duration);
            }
        }
        self.seen = Some((lease, at));
        true
    }

    /// It was written: it is this replica's, counted from `sent`, before the request.
    pub fn wrote(&mut self, lease: Seen, sent: Instant, answered: Instant, terms: &Terms) {
        self.saw(Some(lease), answered);
        self.held_until = Some(sent + terms.hold);
    }

    /// It is not this replica's any more.
    pub fn gave_up(&mut self) {
        self.held_until = None;
    }

    /// Until when it is this replica's, if it is.
    pub const fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// The Lease as last seen.
    pub fn lease(&self) -> Option<&Seen> {
        self.seen.as_ref()?.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ME: &str = "a";

    fn me() -> Replica {
        Replica {
            name: ME.to_owned(),
            pod: None,
        }
    }

    fn terms() -> Terms {
        Terms::of(Duration::from_secs(15))
    }

    fn lease(version: u64, holder: Option<&str>) -> Seen {
        Seen {
            version: version.to_string(),
            holder: holder.map(str::to_owned),
            duration: terms().duration,
            transitions: 0,
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_is_written_before_the_first_look() {
        assert_eq!(
            View::default().decide(&me(), &terms(), Instant::now()),
            Step::StandBy
        );
    }

    #[test]
    fn a_lease_that_is_not_there_or_was_given_back_is_taken_at_once() {
        let now = Instant::now();
        for seen in [None, Some(lease(1, None)), Some(lease(1, Some(ME)))] {
            let mut view = View::default();
            view.saw(seen.clone(), now);
            assert_eq!(view.decide(&me(), &terms(), now), Step::Take, "{seen:?}");
        }
    }

    #[test]
    fn a_lease_of_somebody_else_is_taken_when_it_was_not_renewed_for_its_duration_since_it_was_seen()
     {
        let start = Instant::now();
        let mut view = View::default();
        view.saw(Some(lease(1, Some("b"))), start);
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(14)),
            Step::StandBy
        );
        assert!(!view.saw(Some(lease(1, Some("b"))), start + seconds(14)));
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(15)),
            Step::Take
        );
        view.saw(Some(lease(2, Some("b"))), start + seconds(15));
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(29)),
            Step::StandBy
        );
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(30)),
            Step::Take
        );
    }

    #[test]
    fn a_lease_of_an_earlier_process_of_the_same_pod_is_taken_at_once() {
        let now = Instant::now();
        let earlier = Replica::new("operator-0", Some("uid"), 1);
        for (me, step) in [
            (Replica::new("operator-0", Some("uid"), 2), Step::Take),
            // Another pod of the same name, or an unknown pod.
            (Replica::new("operator-0", Some("other"), 2), Step::StandBy),
            (Replica::new("operator-0", None, 2), Step::StandBy),
        ] {
            let mut view = View::default();
            view.saw(Some(lease(1, Some(&earlier.name))), now);
            assert_eq!(view.decide(&me, &terms(), now), step, "{me:?}");
            // Who holds it does not wait until the later one has written: it sees that when it
            // renews.
            view.wrote(lease(2, Some(&me.name)), now, now, &terms());
            let later = Replica::new("operator-0", Some("uid"), 3);
            view.saw(Some(lease(3, Some(&later.name))), now);
            assert_eq!(view.decide(&me, &terms(), now), Step::GiveUp, "{me:?}");
        }
    }

    #[test]
    fn processes_that_know_no_pod_do_not_succeed_each_other() {
        let now = Instant::now();
        for unknown in [None, Some("")] {
            let [one, another] = [1, 2].map(|began| Replica::new("operator", unknown, began));
            let mut view = View::default();
            view.saw(Some(lease(1, Some(&one.name))), now);
            assert_eq!(
                view.decide(&another, &terms(), now),
                Step::StandBy,
                "{unknown:?}"
            );
        }
    }

    #[test]
    fn a_lease_that_lasts_longer_than_ours_is_waited_for() {
        let start = Instant::now();
        let mut view = View::default();
        let long = Seen {
            duration: seconds(60),
            ..lease(1, Some("b"))
        };
        view.saw(Some(long), start);
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(59)),
            Step::StandBy
        );
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(60)),
            Step::Take
        );
    }

    #[test]
    fn a_deleted_lease_is_waited_out() {
        let start = Instant::now();
        let mut view = View::default();
        view.saw(Some(lease(1, Some("b"))), start);
        view.saw(None, start + seconds(1));
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(15)),
            Step::StandBy
        );
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(16)),
            Step::Take
        );
    }

    #[test]
    fn what_is_held_is_renewed_until_its_deadline_and_then_given_up() {
        let start = Instant::now();
        let mut view = View::default();
        view.wrote(lease(1, Some(ME)), start, start + seconds(2), &terms());
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(9)),
            Step::Renew
        );
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(10)),
            Step::GiveUp
        );
        view.gave_up();
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(10)),
            Step::Take,
            "nobody else took it: it may be taken again"
        );
    }

    #[test]
    fn what_somebody_else_took_is_given_up_at_once() {
        let start = Instant::now();
        let mut view = View::default();
        view.wrote(lease(1, Some(ME)), start, start, &terms());
        view.saw(Some(lease(2, Some("b"))), start + seconds(1));
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(1)),
            Step::GiveUp
        );
    }

    #[test]
    fn a_lease_deleted_under_its_holder_is_written_anew() {
        let start = Instant::now();
        let mut view = View::default();
        view.wrote(lease(1, Some(ME)), start, start, &terms());
        view.saw(None, start + seconds(1));
        assert_eq!(
            view.decide(&me(), &terms(), start + seconds(1)),
            Step::Renew
        );
    }

    #[test]
    fn renewals_end_before_the_deadline() {
        let start = Instant::now();
        let mut view = View::default();
        view.wrote(lease(1, Some(ME)), start, start, &terms());
        let late = start + seconds(9);
        assert_eq!(
            view.next(Step::Renew, &terms(), late),
            start + seconds(10),
            "the deadline itself is looked at"
        );
    }

    /// Two replicas and a Lease; every request takes a while each way, or is lost.
    fn two_at_once(terms: &Terms, script: &[(bool, u16, u16, bool, bool)]) -> bool {
        let origin = Instant::now();
        let mut views = [View::default(), View::default()];
        let mut server: Option<Seen> = None;
        let mut version = 0;
        let mut now = origin;
        let mut both = false;
        for &(second, there, back, arrives, answered) in script {
            let (index, name) = if second { (1, "b") } else { (0, "a") };
            let me = Replica {
                name: name.to_owned(),
                pod: Some(format!("{name}_")),
            };
            let step = views[index].decide(&me, terms, now);
            let (sent, applied) = (now, now + Duration::from_millis(there.into()));
            let answer_at = applied + Duration::from_millis(back.into());
            match step {
                Step::GiveUp => views[index].gave_up(),
                Step::StandBy => {
                    if arrives && answered {
                        views[index].saw(server.clone(), answer_at);
                    }
                }
                Step::Take | Step::Renew => {
                    let known = views[index].lease().map(|lease| lease.version.clone());
                    let current = server.as_ref().map(|lease| lease.version.clone());
                    if arrives && known == current {
                        version += 1;
                        server = Some(Seen {
                            version: format!("{version}"),
                            holder: Some(name.to_owned()),
                            duration: terms.duration,
                            transitions: 0,
                        });
                        if answered && answer_at < sent + terms.hold {
                            let written = server.clone().expect("written");
                            views[index].wrote(written, sent, answer_at, terms);
                        }
                    } else if arrives && answered {
                        views[index].saw(server.clone(), answer_at);
                    }
                }
            }
            now = answer_at;
            let held = |view: &View| view.held_until().is_some_and(|until| now < until);
            both |= held(&views[0]) && held(&views[1]);
        }
        both
    }

    fn scripts() -> impl Strategy<Value = Vec<(bool, u16, u16, bool, bool)>> {
        let request = (
            any::<bool>(),
            0_u16..4000,
            0_u16..4000,
            prop::bool::weighted(0.7),
            prop::bool::weighted(0.7),
        );
        prop::collection::vec(request, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn two_replicas_never_hold_the_lease_at_once(script in scripts()) {
            prop_assert!(!two_at_once(&terms(), &script));
        }
    }

    /// The negative control: a holder that trusts the Lease for longer than others do is found out.
    #[test]
    fn holding_on_for_longer_than_the_lease_lasts_is_noticed() {
        use proptest::{strategy::ValueTree, test_runner::TestRunner};
        let trusting = Terms {
            hold: terms().duration * 2,
            ..terms()
        };
        let mut runner = TestRunner::deterministic();
        let found = (0..2000).any(|_| {
            let script = scripts().new_tree(&mut runner).expect("a script").current();
            two_at_once(&trusting, &script)
        });
        assert!(found);
    }
}
