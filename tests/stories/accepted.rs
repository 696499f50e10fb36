//! Whatever the CRDs accept can be read and planned: objects are drawn at random from the schemas,
//! and each that the API server lets in must be read by serde and planned without a panic.

use jiff::Timestamp;
use serde_json::{Value, json};
use streamkeeper_api::{
    crd,
    v1alpha1::{StreamJob, StreamSnapshot},
};
use streamkeeper_harness::{
    api_server::{
        kinds::{Kind, STREAM_JOBS, STREAM_SNAPSHOTS},
        store::Store,
    },
    story::{NAMESPACE, Story},
};
use streamkeeper_lifecycle::{
    Fact, Input, Observed, Settings, plan,
    snapshots::{SnapshotInput, WorkState, plan_snapshot},
};

/// Objects drawn of each kind; about half of them are let in.
const DRAWN: u64 = 3000;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

/// Texts of the kinds that fields of the spec have, and some that no user means.
const TEXTS: [&str; 44] = [
    "0s",
    "30s",
    "1.5s",
    "999999999h",
    "9999999999h",
    "99999999999999999999h",
    "876000h",
    "876001h",
    "1ms",
    "0.0000001s",
    "2562047h47m16.854775807s",
    "1h1h1h1h",
    "00000000000000000000001h",
    "24h",
    "s3://streams/prod",
    "s3://b/../..",
    "s3://streams/prod/flights/delays/savepoints/x",
    "https://s3.example.com",
    "http://a",
    "eu-west-1",
    "0 3 * * *",
    "* * * * *",
    "61 25 32 13 8",
    "@daily",
    "Europe/Zurich",
    "Nowhere/City",
    "a",
    "",
    "1",
    "1Gi",
    "2048m",
    "-1",
    "1e400",
    "9223372036854775808",
    "é😀",
    "delays",
    "name-of-it",
    "x/y",
    "SELECT 1",
    "PATH",
    "true",
    "\u{0}",
    " ",
    "\n",
];

fn draw(dice: &mut Dice, schema: &Value, depth: usize) -> Value {
    if let Some(values) = schema["enum"].as_array() {
        return dice.pick(values).clone();
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return match dice.roll(2) {
            0 => json!(dice.roll(5)),
            _ => json!(*dice.pick(&TEXTS)),
        };
    }
    match schema["type"].as_str() {
        Some("string") => json!(*dice.pick(&TEXTS)),
        Some("boolean") => json!(dice.roll(2) == 0),
        Some("integer" | "number") => {
            let bound = |name: &str| schema[name].as_f64();
            #[expect(clippy::cast_possible_truncation, reason = "bounds of fields")]
            let (least, most) = (
                bound("minimum").map_or(i64::MIN, |least| least as i64),
                bound("maximum").map_or(i64::MAX, |most| most as i64),
            );
            json!(*dice.pick(&[
                least,
                most,
                0,
                1,
                2,
                128,
                i64::from(i32::MAX),
                i64::from(u32::MAX) + 1
            ]))
        }
        Some("array") => {
            let items = (0..dice.roll(3)).map(|_| draw(dice, &schema["items"], depth + 1));
            Value::Array(items.collect())
        }
        Some("object") => {
            let mut fields = serde_json::Map::new();
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                if required.contains(&json!(name)) || dice.roll(2 + depth) == 0 {
                    fields.insert(name.clone(), draw(dice, field, depth + 1));
                }
            }
            if let Some(field) = schema
                .get("additionalProperties")
                .filter(|any| any.is_object())
            {
                for _ in 0..dice.roll(2) {
                    let name = (*dice.pick(&TEXTS)).to_owned();
                    fields.insert(name, draw(dice, field, depth + 1));
                }
            }
            Value::Object(fields)
        }
        _ => json!({}),
    }
}

/// A spec that is let in, with one or two fields drawn anew: of a spec that is drawn as a whole
/// something is always wrong.
fn spec(dice: &mut Dice, kind: &Kind, simple: &Value) -> Value {
    let crds = crd::files();
    let (_, crd) = crds
        .iter()
        .find(|(_, crd)| crd.spec.names.kind == kind.kind)
        .unwrap();
    let crd = serde_json::to_value(crd).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut spec = simple.clone();
    for _ in 0..=dice.roll(2) {
        let (mut at, mut schema) = (&mut spec, schema);
        // Goes down to some field.
        loop {
            let Some(fields) = schema["properties"]
                .as_object()
                .filter(|fields| !fields.is_empty())
            else {
                *at = draw(dice, schema, 1);
                break;
            };
            let names: Vec<&String> = fields.keys().collect();
            let name = *dice.pick(&names);
            schema = &fields[name];
            at = &mut at[name];
            if at.is_null() && schema["properties"].is_object() {
                if dice.roll(3) == 0 {
                    *at = draw(dice, schema, 1);
                    break;
                }
                *at = json!({});
            }
        }
    }
    spec
}

fn let_in(dice: &mut Dice, kind: &'static Kind, simple: &Value, now: Timestamp) -> Vec<Value> {
    let mut accepted = Vec::new();
    for _ in 0..DRAWN {
        let object = json!({ "metadata": { "name": "delays", "uid": "6a1f0c1e-77" }, "spec": spec(dice, kind, simple) });
        if let Ok(object) = Store::default().create(kind, NAMESPACE, object, now) {
            accepted.push(object);
        }
    }
    println!("{} of {DRAWN} {}s were let in", accepted.len(), kind.kind);
    assert!(accepted.len() as u64 > DRAWN / 10, "too few were let in");
    accepted
}

fn settings() -> Settings {
    Settings {
        storage: Some(Story::default_storage()),
        ..Settings::default()
    }
}

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

#[test]
fn every_job_that_is_let_in_can_be_read_and_planned() {
    let simple = json!({ "sql": { "text": "SELECT 1" } });
    for object in let_in(&mut Dice(42), &STREAM_JOBS, &simple, now()) {
        let mut job: StreamJob = serde_json::from_value(object.clone())
            .unwrap_or_else(|error| panic!("{error}: {object:#}"));
        for head in [Fact::unknown("no answer"), Fact::Known(None)] {
            let observed = Observed {
                sql: Fact::Known("SELECT 1".to_owned()),
                head,
                ..Observed::default()
            };
            for _ in 0..3 {
                let planned = plan(&Input {
                    job: &job,
                    observed: &observed,
                    settings: &settings(),
                    now: now(),
                });
                job.status = Some(planned.status);
                job.metadata.finalizers = Some(vec!["streamkeeper.dev/job".to_owned()]);
            }
        }
    }
}

#[test]
fn every_snapshot_that_is_let_in_can_be_read_and_planned() {
    let simple = json!({ "jobRef": { "name": "delays" } });
    for object in let_in(&mut Dice(43), &STREAM_SNAPSHOTS, &simple, now()) {
        let mut snapshot: StreamSnapshot = serde_json::from_value(object.clone())
            .unwrap_or_else(|error| panic!("{error}: {object:#}"));
        for _ in 0..3 {
            let planned = plan_snapshot(&SnapshotInput {
                snapshot: &snapshot,
                job: None,
                settings: &settings(),
                operation: &Fact::Known(None),
                work: &WorkState::None,
                refusal: None,
                needed_by: None,
                now: now(),
            });
            snapshot.status = Some(planned.status);
        }
    }
}
