//! Which rows are late depends neither on the batches nor on restarts.

use std::sync::Arc;

use proptest::prelude::*;
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::{
    aggregate::AggregateFunction,
    expr::Expr,
    key_group::Assignment,
    plan::{Operator as Planned, StreamPlan, Window},
};

use super::{
    plans::{NAME, Row, TIME, VALUE, batch, call, schema, single, split},
    run::{Emitted, GROUPS, Machine, emitted},
};
use crate::{
    operator::{Operator, Place},
    operators::build,
};

fn at(time: i64) -> Row {
    Row {
        time,
        name: Some("a".to_owned()),
        number: None,
        value: Some(1),
        text: None,
        money: None,
        real: None,
        flag: None,
    }
}

/// The plan with `WATERMARK FOR time AS time` in the place of its source.
fn assigned(mut plan: StreamPlan) -> StreamPlan {
    plan.nodes[0].operator = Planned::WatermarkAssigner {
        column: TIME,
        expr: Expr::column(TIME, schema().fields[TIME].ty.clone()),
    };
    plan
}

/// Assigner, partial windows where the plan has them, windows: one subtask of each.
struct Chain {
    plan: StreamPlan,
    assigner: Box<dyn Operator>,
    local: Option<Machine>,
    windows: Machine,
    told: Option<i64>,
    out: Vec<Emitted>,
    late: u64,
}

impl Chain {
    fn new(plan: &StreamPlan) -> Self {
        Self {
            assigner: assigner(plan),
            local: (plan.nodes.len() == 3).then(|| Machine::new(plan, 1, 1)),
            windows: Machine::new(plan, plan.nodes.len() - 1, 1),
            plan: plan.clone(),
            told: None,
            out: Vec::new(),
            late: 0,
        }
    }

    fn take(&mut self, rows: &[Row]) {
        let mut out = Vec::new();
        self.assigner
            .process(0, &batch(rows, None), &mut out)
            .unwrap();
        let marks = self.assigner.own_marks().to_vec();
        for (position, batch) in out.iter().enumerate() {
            for (_, watermark) in marks.iter().filter(|(before, _)| *before == position) {
                self.tell(*watermark);
            }
            self.pass(batch);
        }
        if let Some(watermark) = self.assigner.own_watermark().flatten() {
            self.tell(watermark);
        }
    }

    fn pass(&mut self, batch: &Batch) {
        match &mut self.local {
            Some(local) => {
                let merged = local.process(batch);
                self.merge(merged);
            }
            None => self.merge(vec![batch.clone()]),
        }
    }

    fn merge(&mut self, batches: Vec<Batch>) {
        for batch in batches {
            self.windows.process(&batch);
        }
    }

    fn tell(&mut self, watermark: i64) {
        if self.told >= Some(watermark) {
            return;
        }
        self.told = Some(watermark);
        if let Some(local) = &mut self.local {
            let batches = local.watermark(watermark);
            self.merge(batches);
        }
        self.out.extend(emitted(&self.windows.watermark(watermark)));
    }

    /// A checkpoint, and everything anew from it.
    fn restart(&mut self) {
        if let Some(local) = &mut self.local {
            let batches = local.flush();
            self.merge(batches);
        }
        self.windows.checkpoint(true);
        self.count_late();
        self.windows.restore(&self.plan, 1);
        if let Some(local) = &mut self.local {
            local.restore(&self.plan, 1);
        }
        self.assigner = assigner(&self.plan);
        if let Some(watermark) = self.told {
            self.assigner.restore_watermark(watermark);
        }
    }

    fn count_late(&mut self) {
        self.late += self.windows.late() + self.local.as_ref().map_or(0, Machine::late);
    }

    fn end(mut self) -> (Vec<Emitted>, u64) {
        self.tell(i64::MAX);
        self.count_late();
        self.out.sort();
        (self.out, self.late)
    }
}

fn assigner(plan: &StreamPlan) -> Box<dyn Operator> {
    let place = Place {
        subtask: 0,
        assignment: Arc::new(Assignment::even(GROUPS, 1)),
    };
    build(&plan.nodes[0], plan, &place).unwrap()
}

/// What comes out when the rows are cut into parts of these lengths, with a restart after some of
/// them.
fn run(plan: &StreamPlan, times: &[i64], cuts: &[(usize, bool)]) -> (Vec<Emitted>, u64) {
    let mut chain = Chain::new(plan);
    let rows: Vec<Row> = times.iter().map(|&time| at(time)).collect();
    let (mut rest, mut cuts) = (rows.as_slice(), cuts.iter().cycle());
    while !rest.is_empty() {
        let (length, restart) = *cuts.next().unwrap();
        let (part, behind) = rest.split_at(length.min(rest.len()));
        chain.take(part);
        if restart {
            chain.restart();
        }
        rest = behind;
    }
    chain.end()
}

fn window() -> impl Strategy<Value = Window> {
    prop_oneof![
        (1_i64..20).prop_map(|size| Window::Tumble { size, offset: 0 }),
        (1_i64..8, 1_i64..5).prop_map(|(slide, times)| Window::Hop {
            slide,
            size: slide * times,
            offset: 0
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_rows_are_late_whatever_the_batches_and_restarts(
        window in window(),
        times in prop::collection::vec(0_i64..60, 1..40),
        cuts in prop::collection::vec((1_usize..12, any::<bool>()), 1..6),
    ) {
        let calls = [call(AggregateFunction::Count, None), call(AggregateFunction::Sum, Some(VALUE))];
        for plan in [split(window, &[NAME], &calls), single(window, &[NAME], &calls)] {
            let plan = assigned(plan);
            let one_by_one = run(&plan, &times, &[(1, false)]);
            prop_assert_eq!(&run(&plan, &times, &[(times.len(), false)]), &one_by_one, "one batch");
            prop_assert_eq!(&run(&plan, &times, &cuts), &one_by_one, "cuts and restarts");
        }
    }
}

#[test]
fn a_row_is_late_by_the_rows_ahead_of_it_in_its_own_batch() {
    let window = Window::Tumble {
        size: 60,
        offset: 0,
    };
    let calls = [call(AggregateFunction::Count, None)];
    let plan = assigned(split(window, &[NAME], &calls));
    let (out, late) = run(&plan, &[60, 0, 120, 30], &[(4, false)]);
    assert_eq!((out.len(), late), (2, 2));
}

#[test]
fn rows_that_are_out_of_order_within_their_window_cost_no_cut() {
    let window = Window::Tumble {
        size: 60,
        offset: 0,
    };
    let calls = [call(AggregateFunction::Count, None)];
    let plan = assigned(split(window, &[NAME], &calls));
    let rows: Vec<Row> = [5, 3, 9, 1, 30, 2].map(at).into();
    let (mut assigner, mut out) = (assigner(&plan), Vec::new());
    assigner.process(0, &batch(&rows, None), &mut out).unwrap();
    assert_eq!((out.len(), assigner.own_marks().len()), (1, 0));
}
