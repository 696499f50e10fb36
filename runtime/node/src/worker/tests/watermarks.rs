//! Every subtask goes on with its own watermark.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use streamkeeper_protocol::{
    expr::Expr,
    manifest::CheckpointKind,
    plan::{
        ChangelogMode, Exchange, Input, Operator, PLAN_FORMAT, PlanNode, Settings, StreamPlan,
        TableRef,
    },
    types::{DataType, Field, LogicalType, Schema},
};
use streamkeeper_storage::{Condition, MemoryStore, ObjectStore};

use super::fake_coordinator::FakeCoordinator;

const FILES: u64 = 8;
const ASSIGNER: usize = 1;

/// `input`, which never ends, with a watermark on its time, into `rows`.
fn plan() -> StreamPlan {
    let time = LogicalType::nullable(DataType::Timestamp { precision: 3 });
    let schema = Schema::new(vec![Field::new("ts", time.clone())]);
    let table = |name: &str| {
        let mut options = BTreeMap::from([
            ("path".to_owned(), format!("s3://any/{name}/")),
            ("format".to_owned(), "json".to_owned()),
        ]);
        if name == "input" {
            options.insert("source.monitor-interval".to_owned(), "1 h".to_owned());
        }
        TableRef {
            name: name.to_owned(),
            connector: "filesystem".to_owned(),
            options,
            schema: schema.clone(),
            primary_key: Vec::new(),
        }
    };
    let expr = Expr::column(0, time);
    let operators = [
        Operator::Source(table("input")),
        Operator::WatermarkAssigner { column: 0, expr },
        Operator::Sink(table("rows")),
    ];
    let nodes = operators.into_iter().enumerate().map(|(id, operator)| {
        let inputs = id.checked_sub(1).map(|node| Input {
            node,
            exchange: Exchange::Forward,
        });
        PlanNode {
            id,
            state_uid: format!("{id:016x}"),
            label: format!("node {id}"),
            operator,
            inputs: inputs.into_iter().collect(),
            schema: schema.clone(),
            changelog: ChangelogMode::InsertOnly,
        }
    });
    StreamPlan {
        format: PLAN_FORMAT,
        nodes: nodes.collect(),
        settings: Settings::default(),
    }
}

/// A job of two subtasks whose assigners stand at different times.
async fn apart() -> FakeCoordinator {
    let store = Arc::new(MemoryStore::new());
    for file in 0..FILES {
        store
            .put(
                &format!("input/{file}.json"),
                Bytes::from(format!("{{\"ts\":\"2024-01-01 0{file}:00:00\"}}\n")),
                Condition::Always,
            )
            .await
            .unwrap();
    }
    let mut coordinator = FakeCoordinator::new(store, plan(), 2).await;
    coordinator.connect(0).await;
    coordinator.start().await;
    loop {
        let shares = coordinator.checkpoint(CheckpointKind::Periodic).await;
        coordinator.commit().await;
        if shares.iter().map(|share| share.records_in).sum::<u64>() == FILES {
            return coordinator;
        }
    }
}

/// Watermarks of the assigner in the restore point: of each subtask, and of all.
fn marks(coordinator: &FakeCoordinator) -> (Vec<(u32, i64)>, Option<i64>) {
    let operators = &coordinator.last.as_ref().unwrap().operators;
    let uid = &plan().nodes[ASSIGNER].state_uid;
    let mut assigners = operators.iter().filter(|known| known.state_uid == *uid);
    let assigner = assigners.next().unwrap();
    (assigner.watermarks.clone(), assigner.watermark)
}

/// The same after a crash and a restart, with no new row.
async fn restarted(coordinator: &mut FakeCoordinator, workers: u32) -> Vec<(u32, i64)> {
    coordinator.kill(0).await;
    for worker in 0..workers {
        coordinator.connect(worker).await;
    }
    coordinator.start().await;
    coordinator.checkpoint(CheckpointKind::Periodic).await;
    marks(coordinator).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subtask_is_as_far_as_before_after_a_restart() {
    let mut coordinator = apart().await;
    let (before, all) = marks(&coordinator);
    let own: Vec<i64> = before.iter().map(|(_, own)| *own).collect();
    assert_eq!(own.len(), 2);
    assert_ne!(own[0], own[1], "a row between the two is late for one only");
    assert_eq!(all, own.iter().min().copied());
    assert_eq!(restarted(&mut coordinator, 1).await, before);
    coordinator.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subtasks_that_read_something_else_than_before_start_from_the_smallest_watermark() {
    let mut coordinator = apart().await;
    let (_, all) = marks(&coordinator);
    let all = all.unwrap();
    let after = restarted(&mut coordinator, 2).await;
    assert_eq!(after, [(0, all), (1, all), (2, all), (3, all)]);
    coordinator.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_of_an_earlier_release_knows_the_smallest_watermark_only() {
    let mut coordinator = apart().await;
    let (_, all) = marks(&coordinator);
    let all = all.unwrap();
    for operator in &mut coordinator.last.as_mut().unwrap().operators {
        operator.watermarks.clear();
    }
    let after = restarted(&mut coordinator, 1).await;
    assert_eq!(after, [(0, all), (1, all)]);
    coordinator.close().await;
}
