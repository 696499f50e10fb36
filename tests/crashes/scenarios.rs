//! The transitions, each from a job that is settled to one that is settled again.

use std::iter::once;

use serde_json::{Value, json};
use streamkeeper_harness::{
    api_server::kinds::{PODS, SERVICES, STATEFUL_SETS},
    kubelet::Exit,
    script::Script,
};

use super::{actions::Action, snapshot_scenarios};

/// A transition, or several.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: String,
    /// What happens in pods with an image, or whose SQL contains a text.
    pub scripts: Vec<(&'static str, Script)>,
    /// What is done before writes count; the job settles after each.
    pub before: Vec<Action>,
    /// What is done then.
    pub change: Vec<Action>,
    /// Places in the outcome and what must be there, so that two empty outcomes are never compared.
    pub end: Vec<(&'static str, Value)>,
    /// Whether the number of attempts is compared.
    pub attempts: bool,
    /// Whether a minute of the clock must come first.
    pub waits_for_the_clock: bool,
    /// Whether the operator acts before it has written down what it does: only in the negative
    /// control.
    pub acts_first: bool,
}

pub const PHASE: &str = "/objects/StreamJob delays/status/phase";
pub const REVISION: &str = "/head/revision";
const WORKERS: &str = "/head/workers";
/// Uid of a StreamJob that is gone.
const GONE: &str = "0c2f1f52-8f0e-4c5d-9d5c-0f5a7a2f6c11";
const STALLED: &str = "/objects/StreamJob delays/status/conditions/Stalled";

pub fn scenario(
    name: impl Into<String>,
    before: Vec<Action>,
    change: Vec<Action>,
    end: Vec<(&'static str, Value)>,
) -> Scenario {
    Scenario {
        name: name.into(),
        scripts: Vec::new(),
        before,
        change,
        end,
        attempts: true,
        waits_for_the_clock: false,
        acts_first: false,
    }
}

impl Scenario {
    pub fn with(mut self, image_or_sql: &'static str, script: Script) -> Self {
        self.scripts.push((image_or_sql, script));
        self
    }
}

/// A first start with this many workers.
pub fn create(workers: u32) -> Action {
    Action::create(&flights(workers))
}

fn flights(workers: u32) -> Value {
    json!({
        "sql": { "text": "INSERT INTO late SELECT * FROM flights" }, "image": "runtime:1", "workers": { "replicas": workers },
    })
}

pub fn image(image: &str) -> Action {
    Action::edit(&json!({ "image": image }))
}

fn sql(text: &str) -> Action {
    Action::edit(&json!({ "sql": { "text": text } }))
}

fn replicas(workers: u32) -> Action {
    Action::edit(&json!({ "workers": { "replicas": workers } }))
}

fn suspend(is: bool) -> Action {
    Action::edit(&json!({ "suspend": is }))
}

/// Each transition once: what a run in CI chooses from.
pub fn transitions() -> Vec<Scenario> {
    let running = || vec![create(2)];
    vec![
        deploy(2),
        upgrade(2),
        rejected_sql(),
        scenario(
            "upgrade, rolled back",
            running(),
            vec![image("runtime:2")],
            vec![
                (REVISION, json!(3)),
                (STALLED, json!("True UpgradeRolledBack")),
            ],
        )
        .with(
            "runtime:2",
            Script {
                crash_once_running: Some(Exit::error("panicked")),
                ..Script::default()
            },
        )
        .without_attempts(),
        rescale(2, 3),
        rescale(2, 1),
        suspension(2),
        resumption(2),
        scenario(
            "lost Service",
            running(),
            vec![Action::remove(&SERVICES, "delays-r1")],
            vec![
                (PHASE, json!("Running")),
                ("/made/Service~1delays-r1", json!(2)),
            ],
        ),
        scenario(
            "lost node",
            running(),
            vec![Action::LoseNodeOf("delays-r1-1")],
            vec![
                (PHASE, json!("Running")),
                ("/made/Pod~1delays-r1-1", json!(2)),
                ("/head/attempt", json!(2)),
            ],
        ),
        deletion(2),
    ]
}

/// All of them: other numbers of workers, several changes at once or one in the middle of another.
pub fn all() -> Vec<Scenario> {
    let running = || vec![create(2)];
    let slow = Script {
        preflight_takes: std::time::Duration::from_mins(30),
        ..Script::default()
    };
    // The transition is written down before its objects are made: what comes in between finds some
    // of them.
    let while_prepared = |change: Action| {
        vec![
            image("runtime:slow"),
            Action::WaitForTransition("Upgrade", "Preparing"),
            Action::WaitForObject(&SERVICES, "delays-r2"),
            Action::WaitForObject(&PODS, "delays-r2-0"),
            Action::WaitForObject(&PODS, "delays-r2-1"),
            change,
        ]
    };
    let rejections = once(create(2)).chain((1..=10).map(|n| sql(&format!("SELECT wrong, {n}"))));
    let mut all = transitions();
    for workers in [1, 3] {
        all.extend([
            deploy(workers),
            upgrade(workers),
            suspension(workers),
            resumption(workers),
            deletion(workers),
        ]);
    }
    all.extend([
        rescale(1, 3),
        rescale(3, 1),
        scenario(
            "upgrade to a missing image",
            running(),
            vec![Action::edit(
                &json!({ "image": "runtime:none", "upgrade": { "progressDeadline": "20s" } }),
            )],
            vec![
                (REVISION, json!(1)),
                (STALLED, json!("True ImagePullFailed")),
            ],
        )
        .with(
            "runtime:none",
            Script {
                missing_image: true,
                ..Script::default()
            },
        ),
        scenario(
            "upgrade to incompatible state",
            running(),
            vec![sql("SELECT incompatible")],
            vec![
                (REVISION, json!(1)),
                (STALLED, json!("True StateIncompatible")),
            ],
        )
        .with("incompatible", Script::incompatible("another key")),
        scenario(
            "rejected upgrade corrected",
            vec![create(2), sql("SELECT wrong")],
            vec![sql("SELECT right")],
            vec![(REVISION, json!(3)), (PHASE, json!("Running"))],
        )
        .with("wrong", Script::invalid_sql("1:8: no such column")),
        scenario(
            "upgrade where the first pod stands by",
            running(),
            vec![Action::edit(
                &json!({ "image": "runtime:2", "upgrade": { "standby": "First" } }),
            )],
            vec![(REVISION, json!(2)), (PHASE, json!("Running"))],
        ),
        scenario(
            "upgrade from the last checkpoint, because no savepoint can be taken",
            running(),
            vec![Action::edit(
                &json!({ "image": "runtime:2", "upgrade": { "onSavepointFailure": "UseLastCheckpoint" } }),
            )],
            vec![(REVISION, json!(2)), (PHASE, json!("Running"))],
        )
        .with(
            "runtime:1",
            Script {
                final_checkpoint_fails: Some("no space left".to_owned()),
                ..Script::default()
            },
        ),
        scenario(
            "a job that is complete, and its time over",
            vec![],
            vec![
                Action::create(&json!({
                    "sql": { "text": "INSERT INTO late SELECT * FROM flights" }, "image": "runtime:ends", "workers": { "replicas": 2 },
                    "ttlAfterCompletion": "1s", "checkpoints": { "interval": "500ms" },
                })),
                // That it has ended is seen at the next look, and until then it is at rest.
                Action::WaitUntilGone,
            ],
            vec![
                ("/head/state/is", json!("completed")),
                ("/objects", json!({})),
            ],
        )
        .with(
            "runtime:ends",
            Script {
                input_ends: true,
                ..Script::default()
            },
        ),
        scenario(
            "restart",
            running(),
            vec![Action::restart()],
            vec![(REVISION, json!(2)), (PHASE, json!("Running"))],
        ),
        scenario(
            "upgrade and rescale at once",
            running(),
            vec![Action::edit(
                &json!({ "image": "runtime:2", "workers": { "replicas": 3 } }),
            )],
            vec![
                (REVISION, json!(2)),
                (WORKERS, json!(3)),
                (PHASE, json!("Running")),
            ],
        ),
        scenario(
            "upgrade replaced by another while it is prepared",
            running(),
            while_prepared(image("runtime:3")),
            vec![(REVISION, json!(3)), (PHASE, json!("Running"))],
        )
        .with("runtime:slow", slow.clone()),
        scenario(
            "upgrade taken back while it is prepared",
            running(),
            while_prepared(image("runtime:1")),
            vec![(REVISION, json!(1)), (PHASE, json!("Running"))],
        )
        .with("runtime:slow", slow.clone()),
        scenario(
            "suspension while an upgrade is prepared",
            running(),
            while_prepared(suspend(true)),
            vec![
                (PHASE, json!("Suspended")),
                ("/head/state/is", json!("stopped")),
            ],
        )
        .with("runtime:slow", slow.clone()),
        scenario(
            "deletion while an upgrade is prepared",
            running(),
            while_prepared(Action::delete()),
            vec![
                ("/head/state/is", json!("released")),
                ("/objects", json!({})),
            ],
        )
        .with("runtime:slow", slow),
        scenario(
            "deletion of a suspended job",
            vec![create(2), suspend(true)],
            vec![Action::delete()],
            vec![("/objects", json!({}))],
        ),
        scenario(
            "resumption with another image",
            vec![create(2), suspend(true)],
            vec![Action::edit(&json!({ "suspend": false, "image": "runtime:2" }))],
            vec![(REVISION, json!(2)), (PHASE, json!("Running"))],
        ),
        scenario(
            "lost StatefulSet",
            running(),
            vec![Action::remove(&STATEFUL_SETS, "delays-r1")],
            vec![
                (PHASE, json!("Running")),
                ("/made/StatefulSet~1delays-r1", json!(2)),
            ],
        )
        // The garbage collector may take the worker first: then the coordinator begins another
        // attempt before it goes too.
        .without_attempts(),
        scenario(
            "lost node of the coordinator",
            running(),
            vec![Action::LoseNodeOf("delays-r1-0")],
            vec![
                (PHASE, json!("Running")),
                ("/made/Pod~1delays-r1-0", json!(2)),
                // The old one tries again without its workers; then the new one claims the job.
                ("/head/attempt", json!(3)),
            ],
        ),
        scenario(
            "a job that goes on where one of its name was deleted",
            vec![create(2), Action::delete(), Action::WaitUntilGone],
            vec![create(2)],
            vec![(REVISION, json!(2)), (PHASE, json!("Running"))],
        ),
        scenario(
            "a job that takes over what nobody released",
            vec![create(2), Action::delete(), Action::WaitUntilGone, Action::AbandonHead(GONE)],
            vec![Action::create_over(GONE, &flights(2))],
            vec![(REVISION, json!(2)), (PHASE, json!("Running"))],
        ),
        // Ten unused revisions are kept, the eleventh is not.
        scenario(
            "a revision that is forgotten",
            rejections.collect(),
            vec![sql("SELECT wrong, 11")],
            vec![
                (REVISION, json!(1)),
                (STALLED, json!("True InvalidSQL")),
                ("/objects/ControllerRevision delays-r2", Value::Null),
            ],
        )
        .with("wrong", Script::invalid_sql("1:8: no such column")),
    ]);
    all.extend(snapshot_scenarios::scenarios());
    all
}

impl Scenario {
    pub fn at_a_minute(self) -> Self {
        Self {
            waits_for_the_clock: true,
            ..self
        }
    }

    fn without_attempts(self) -> Self {
        Self {
            attempts: false,
            ..self
        }
    }
}

fn deploy(workers: u32) -> Scenario {
    scenario(
        format!("deploy with {workers}"),
        Vec::new(),
        vec![create(workers)],
        vec![(REVISION, json!(1)), (PHASE, json!("Running"))],
    )
}

fn upgrade(workers: u32) -> Scenario {
    scenario(
        format!("upgrade with {workers}"),
        vec![create(workers)],
        vec![image("runtime:2")],
        vec![(REVISION, json!(2)), (PHASE, json!("Running"))],
    )
}

fn rejected_sql() -> Scenario {
    scenario(
        "upgrade, rejected",
        vec![create(2)],
        vec![sql("SELECT wrong")],
        vec![(REVISION, json!(1)), (STALLED, json!("True InvalidSQL"))],
    )
    .with("wrong", Script::invalid_sql("1:8: no such column"))
}

fn rescale(from: u32, to: u32) -> Scenario {
    scenario(
        format!("rescale from {from} to {to}"),
        vec![create(from)],
        vec![replicas(to)],
        vec![(WORKERS, json!(to)), (PHASE, json!("Running"))],
    )
}

fn suspension(workers: u32) -> Scenario {
    scenario(
        format!("suspend {workers}"),
        vec![create(workers)],
        vec![suspend(true)],
        vec![
            (PHASE, json!("Suspended")),
            ("/head/state/is", json!("stopped")),
        ],
    )
}

fn resumption(workers: u32) -> Scenario {
    scenario(
        format!("resume {workers}"),
        vec![create(workers), suspend(true)],
        vec![suspend(false)],
        vec![
            (PHASE, json!("Running")),
            ("/head/state/is", json!("running")),
        ],
    )
}

fn deletion(workers: u32) -> Scenario {
    scenario(
        format!("delete {workers}"),
        vec![create(workers)],
        vec![Action::delete()],
        vec![
            ("/head/state/is", json!("released")),
            ("/objects", json!({})),
        ],
    )
}
