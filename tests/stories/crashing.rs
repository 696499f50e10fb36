//! The operator ends before and after every call that changes something; the next operator finishes
//! what it began, and the result shows no trace of the crash.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::v1alpha1::{Outcome, TransitionKind};
use streamkeeper_harness::{
    interference::{Fate, Interference},
    story::{Story, tell},
};
use streamkeeper_protocol::head::RunState;

use super::upgrading::running;

/// What a crash may not change.
#[derive(Debug, PartialEq, Eq)]
struct End {
    head: Option<(u64, u64, u32, RunState)>,
    pods: Vec<String>,
    history: Vec<(TransitionKind, Outcome)>,
    gone: bool,
}

impl End {
    fn of(story: &Story) -> Self {
        let history = story.status("delays").history;
        Self {
            head: story
                .head("delays")
                .map(|head| (head.revision, head.attempt, head.workers, head.state)),
            pods: story.pods(),
            history: history
                .iter()
                .map(|entry| (entry.kind, entry.result))
                .collect(),
            gone: story.find("delays").is_none(),
        }
    }
}

/// Returns the end, once everything has settled: pods that terminate, an operator that ended with
/// the last call.
async fn settled(story: &mut Story) -> End {
    story.pass(Duration::from_secs(5)).await;
    End::of(story)
}

/// Tells a story again and again, the operator ending at another call each time.
fn survives(
    before: impl AsyncFn(&mut Story),
    change: impl Fn(&mut Story),
    arrive: impl AsyncFn(&mut Story),
) {
    let (undisturbed, effects) = tell(async |story| {
        before(story).await;
        story.world().effects.clear();
        change(story);
        arrive(story).await;
        let effects = story.effects();
        (settled(story).await, effects)
    });
    assert!(!effects.is_empty(), "nothing was done");
    for (n, effect) in effects.iter().enumerate() {
        for fate in [Fate::CrashBefore, Fate::CrashAfter] {
            let end = tell(async |story| {
                before(story).await;
                story.interfere(Interference::nth(n, fate.clone()));
                change(story);
                arrive(story).await;
                let end = settled(story).await;
                assert_eq!(story.crashes, 1, "{fate:?} of call {n} ({effect})");
                end
            });
            assert_eq!(
                end, undisturbed,
                "{fate:?} of call {n} ({effect}) changed the end; all calls: {effects:#?}"
            );
        }
    }
}

async fn nothing(_: &mut Story) {}

async fn ready(story: &mut Story) {
    story.ready("delays").await;
}

#[test]
fn an_operator_that_ends_anywhere_in_a_first_start_is_replaced_without_a_trace() {
    let create = |story: &mut Story| {
        story.create(
            "delays",
            json!({ "sql": { "text": "SELECT 1" }, "workers": { "replicas": 2 } }),
        );
    };
    survives(nothing, create, ready);
}

#[test]
fn an_operator_that_ends_anywhere_in_an_upgrade_is_replaced_without_a_trace() {
    let upgrade = |story: &mut Story| story.edit("delays", json!({ "image": "runtime:2" }));
    survives(running, upgrade, async |story| {
        story.rolled_out("delays", 2).await;
    });
}

#[test]
fn an_operator_that_ends_anywhere_in_a_rescale_is_replaced_without_a_trace() {
    for replicas in [1, 3] {
        let rescale = |story: &mut Story| {
            story.edit("delays", json!({ "workers": { "replicas": replicas } }));
        };
        survives(running, rescale, ready);
    }
}

#[test]
fn an_operator_that_ends_anywhere_in_a_suspension_is_replaced_without_a_trace() {
    let suspend = |story: &mut Story| story.edit("delays", json!({ "suspend": true }));
    survives(running, suspend, async |story| {
        story.suspended("delays").await;
    });
}

#[test]
fn an_operator_that_ends_anywhere_in_a_resumption_is_replaced_without_a_trace() {
    let suspended = async |story: &mut Story| {
        running(story).await;
        story.edit("delays", json!({ "suspend": true }));
        story.suspended("delays").await;
    };
    let resume = |story: &mut Story| story.edit("delays", json!({ "suspend": false }));
    survives(suspended, resume, ready);
}

#[test]
fn an_operator_that_ends_anywhere_in_a_deletion_is_replaced_without_a_trace() {
    survives(
        running,
        |story| story.delete("delays"),
        async |story| {
            story
                .until("everything of it is gone", |story| {
                    story.find("delays").is_none()
                        && story.pods().is_empty()
                        && story.running_sets().is_empty()
                })
                .await;
        },
    );
}

#[test]
fn an_operator_that_ends_anywhere_in_a_rollback_is_replaced_without_a_trace() {
    use streamkeeper_harness::{kubelet::Exit, script::Script};
    let before = async |story: &mut Story| {
        story.script(
            "runtime:2",
            Script {
                crash_once_running: Some(Exit::error("panicked")),
                ..Script::default()
            },
        );
        running(story).await;
    };
    let upgrade = |story: &mut Story| story.edit("delays", json!({ "image": "runtime:2" }));
    // How often the failing revision restarts depends on when the operator looks: attempts are not
    // compared.
    survives_but_for_attempts(before, upgrade, async |story| {
        story.stalled("delays", "UpgradeRolledBack").await;
        story
            .until("only the third revision is left", |story| {
                story.runner("delays") == Some(3) && story.pods() == ["delays-r3-0", "delays-r3-1"]
            })
            .await;
        story
            .until("nothing is in progress", |story| {
                story.status("delays").transition.is_none()
            })
            .await;
    });
}

fn survives_but_for_attempts(
    before: impl AsyncFn(&mut Story),
    change: impl Fn(&mut Story),
    arrive: impl AsyncFn(&mut Story),
) {
    survives(before, change, async |story| {
        arrive(story).await;
        story.world().jobs.forget_attempts();
    });
}
