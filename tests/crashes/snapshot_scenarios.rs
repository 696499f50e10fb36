//! Scenarios of snapshots: taken by a person, by schedule, before transitions; what is done with
//! one.

use serde_json::{Value, json};
use streamkeeper_harness::api_server::kinds::STREAM_SNAPSHOTS;

use super::{
    actions::Act,
    scenarios::{PHASE, REVISION, Scenario, create, image, scenario},
};

/// All of them.
pub fn scenarios() -> Vec<Scenario> {
    let running = || vec![create(2)];
    let saved = |deletion_policy| vec![create(2), Act::Save("by-hand", deletion_policy)];
    let phase_of = |name: &'static str| (name, json!("Completed"));
    let taking = |on: &str| Act::Edit(json!({ "snapshots": { on: "Take" } }));
    vec![
        scenario(
            "snapshot",
            running(),
            vec![Act::Save("by-hand", "Retain"), Act::Saved(1)],
            vec![
                phase_of("/objects/StreamSnapshot by-hand/status/phase"),
                ("/folders", json!({ "by-hand": 1 })),
            ],
        ),
        scenario(
            "snapshot of what lies in a bucket",
            saved("Retain"),
            vec![Act::Import("copy", "by-hand"), Act::Saved(2)],
            vec![
                phase_of("/objects/StreamSnapshot copy/status/phase"),
                ("/folders", json!({ "by-hand": 1 })),
            ],
        ),
        scenario(
            "snapshot by schedule",
            running(),
            vec![Act::Schedule, Act::Saved(1)],
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
                Act::Edit(
                    json!({ "snapshots": { "onUpgrade": "Take", "retain": { "count": 1 } } }),
                ),
                image("runtime:2"),
                Act::Saved(1),
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
            vec![Act::Delete],
            vec![
                ("/head/state/is", json!("released")),
                phase_of("/objects/StreamSnapshot delays-delete-TIME/status/phase"),
            ],
        ),
        scenario(
            "restore from a snapshot",
            saved("Retain"),
            vec![Act::Edit(
                json!({ "restoreFrom": { "snapshotRef": { "name": "by-hand" } } }),
            )],
            vec![(REVISION, json!(2)), (PHASE, json!("Running"))],
        ),
        scenario(
            "snapshot deleted with its folder",
            saved("Delete"),
            vec![Act::Remove(&STREAM_SNAPSHOTS, "by-hand")],
            vec![
                ("/objects/StreamSnapshot by-hand", Value::Null),
                ("/folders", json!({})),
            ],
        ),
    ]
}
