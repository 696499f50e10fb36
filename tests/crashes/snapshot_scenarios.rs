//! Scenarios of snapshots: taken by a person, by schedule, before transitions; what is done with
//! one.

use serde_json::{Value, json};
use streamkeeper_harness::api_server::kinds::STREAM_SNAPSHOTS;

use super::{
    actions::Action,
    scenarios::{PHASE, REVISION, Scenario, create, image, scenario},
};

/// All of them.
pub fn scenarios() -> Vec<Scenario> {
    let running = || vec![create(2)];
    let saved = |deletion_policy| vec![create(2), Action::snapshot("by-hand", deletion_policy)];
    let phase_of = |name: &'static str| (name, json!("Completed"));
    let taking = |on: &str| Action::edit(&json!({ "snapshots": { on: "Take" } }));
    vec![
        scenario(
            "snapshot",
            running(),
            vec![
                Action::snapshot("by-hand", "Retain"),
                Action::WaitForSnapshots(1),
            ],
            vec![
                phase_of("/objects/StreamSnapshot by-hand/status/phase"),
                ("/folders", json!({ "by-hand": 1 })),
            ],
        ),
        scenario(
            "snapshot of what lies in a bucket",
            saved("Retain"),
            vec![
                Action::ImportSnapshot("copy", "by-hand"),
                Action::WaitForSnapshots(2),
            ],
            vec![
                phase_of("/objects/StreamSnapshot copy/status/phase"),
                ("/folders", json!({ "by-hand": 1 })),
            ],
        ),
        scenario(
            "snapshot by schedule",
            running(),
            vec![Action::ScheduleSnapshots, Action::WaitForSnapshots(1)],
            vec![
                phase_of("/objects/StreamSnapshot delays-TIME-TIME/status/phase"),
                ("/folders", json!({ "delays-TIME-TIME": 1 })),
            ],
        )
        .at_a_minute(),
        scenario(
            "a snapshot that retention drops",
            vec![
                create(2),
                Action::edit(
                    &json!({ "snapshots": { "onUpgrade": "Take", "retain": { "count": 1 } } }),
                ),
                image("runtime:2"),
                Action::WaitForSnapshots(1),
            ],
            vec![image("runtime:3")],
            vec![
                (REVISION, json!(3)),
                (PHASE, json!("Running")),
                ("/folders", json!({ "delays-upgrade-TIME": 1 })),
            ],
        ),
        scenario(
            "snapshot before an upgrade",
            vec![create(2), taking("onUpgrade")],
            vec![image("runtime:2")],
            vec![
                (REVISION, json!(2)),
                (PHASE, json!("Running")),
                ("/folders", json!({ "delays-upgrade-TIME": 1 })),
            ],
        ),
        scenario(
            "snapshot before a deletion",
            vec![create(2), taking("onDelete")],
            vec![Action::delete()],
            vec![
                ("/head/state/is", json!("released")),
                phase_of("/objects/StreamSnapshot delays-delete-TIME/status/phase"),
            ],
        ),
        scenario(
            "restore from a snapshot",
            saved("Retain"),
            vec![Action::edit(
                &json!({ "restoreFrom": { "snapshotRef": { "name": "by-hand" } } }),
            )],
            vec![(REVISION, json!(2)), (PHASE, json!("Running"))],
        ),
        scenario(
            "snapshot deleted with its folder",
            saved("Delete"),
            vec![Action::remove(&STREAM_SNAPSHOTS, "by-hand")],
            vec![
                ("/objects/StreamSnapshot by-hand", Value::Null),
                ("/folders", json!({})),
            ],
        ),
    ]
}
