//! A freeze in slices, with rows between them, against its twin that freezes in one go.

use proptest::prelude::*;
use streamkeeper_connectors::batch::{Batch, DELETE, INSERT};
use streamkeeper_protocol::plan::{ChangelogMode, StreamPlan, Window};
use streamkeeper_state::{Entry, FrozenState};

use super::{
    plans::{NAME, Row, all, batch, grouped, row, single},
    run::Machine,
};
use crate::operator::Operator;

#[derive(Debug, Clone)]
enum Step {
    Rows(Vec<(Row, Option<prop::sample::Index>)>),
    Watermark(i64),
    /// Begins a freeze; one that is under way ends first.
    Freeze {
        full: bool,
    },
    Slice(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let pick = prop::option::weighted(0.4, any::<prop::sample::Index>());
    prop_oneof![
        5 => prop::collection::vec((row(), pick), 1..8).prop_map(Step::Rows),
        2 => (1_i64..30).prop_map(Step::Watermark),
        2 => any::<bool>().prop_map(|full| Step::Freeze { full }),
        4 => (1_usize..4).prop_map(Step::Slice),
    ]
}

fn sorted(states: Vec<FrozenState>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = states
        .into_iter()
        .flat_map(FrozenState::into_entries)
        .collect();
    entries.sort();
    entries
}

/// An operator whose freeze is under way, and the expected result.
struct Pair {
    sliced: Box<dyn Operator>,
    whole: Box<dyn Operator>,
    expected: Option<Vec<Entry>>,
}

impl Pair {
    fn advance(&mut self, slice: usize) {
        if self.expected.is_none() {
            return;
        }
        if let Some(frozen) = self.sliced.advance_freeze(slice).unwrap() {
            assert_eq!(Some(sorted(frozen)), self.expected.take());
        }
    }

    fn each(&mut self, mut act: impl FnMut(&mut dyn Operator, &mut Vec<Batch>)) {
        for operator in [&mut self.sliced, &mut self.whole] {
            act(&mut **operator, &mut Vec::new());
        }
    }
}

fn follow(plan: &StreamPlan, retracts: bool, steps: Vec<Step>) {
    let take = || Machine::new(plan, 1, 1).subtasks.remove(0);
    let mut pair = Pair {
        sliced: take(),
        whole: take(),
        expected: None,
    };
    let (mut live, mut watermark): (Vec<Row>, i64) = (Vec::new(), 0);
    for step in steps.into_iter().chain([Step::Freeze { full: false }]) {
        match step {
            Step::Rows(changes) => {
                let (mut rows, mut kinds) = (Vec::new(), Vec::new());
                for (row, pick) in changes {
                    if let Some(pick) = pick.filter(|_| retracts && !live.is_empty()) {
                        rows.push(live.swap_remove(pick.index(live.len())));
                        kinds.push(DELETE);
                    } else {
                        live.push(row.clone());
                        rows.push(row);
                        kinds.push(INSERT);
                    }
                }
                let batch = batch(&rows, retracts.then_some(kinds));
                pair.each(|operator, out| operator.process(0, &batch, out).unwrap());
            }
            Step::Watermark(by) => {
                watermark += by;
                pair.each(|operator, out| operator.watermark(watermark, out).unwrap());
            }
            Step::Slice(slice) => pair.advance(slice),
            Step::Freeze { full } => {
                pair.advance(usize::MAX);
                pair.sliced.begin_freeze(full);
                pair.expected = Some(sorted(pair.whole.freeze(full).unwrap()));
            }
        }
    }
    pair.advance(usize::MAX);
    assert_eq!(pair.expected, None, "every freeze ends");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn groups_freeze_as_they_were_at_the_barrier(steps in prop::collection::vec(step(), 1..40)) {
        let changes = ChangelogMode::Retract;
        follow(&grouped(&[NAME], &all(), changes, changes), true, steps);
    }

    #[test]
    fn windows_freeze_as_they_were_at_the_barrier(steps in prop::collection::vec(step(), 1..40)) {
        let window = Window::Hop { slide: 5, size: 10, offset: 0 };
        follow(&single(window, &[NAME], &all()), false, steps);
    }
}

/// What the barrier itself costs: it begins the freeze, and no entry is made before the first
/// slice.
#[test]
fn a_slice_makes_as_many_entries_as_it_may() {
    let changes = ChangelogMode::Retract;
    let plan = grouped(&[super::plans::VALUE], &all()[..1], changes, changes);
    let mut groups = Machine::new(&plan, 1, 1).subtasks.remove(0);
    let rows = |from: i64| -> Vec<Row> {
        let row = |value| Row {
            time: 0,
            name: None,
            number: None,
            value: Some(value),
            text: None,
            money: None,
            real: None,
            flag: None,
        };
        (from..from + 4_000).map(row).collect()
    };
    for batch_of in 0..5 {
        let batch = batch(&rows(batch_of * 4_000), None);
        groups.process(0, &batch, &mut Vec::new()).unwrap();
    }
    groups.begin_freeze(false);
    let mut slices = 1;
    let frozen = loop {
        if let Some(frozen) = groups.advance_freeze(1_000).unwrap() {
            break frozen;
        }
        slices += 1;
    };
    assert_eq!(slices, 20);
    assert!(frozen[0].chunks.iter().all(|chunk| chunk.len() == 1_000));
    // The control: in one go, all of it is made at once.
    groups.begin_freeze(true);
    let frozen = groups.advance_freeze(usize::MAX).unwrap().unwrap();
    assert_eq!(frozen[0].chunks[0].len(), 20_000);
}
