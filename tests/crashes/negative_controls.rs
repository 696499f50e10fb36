//! Negative controls of the oracle: outcomes that must not pass do not.

use serde_json::{Value, json};
use streamkeeper_harness::api_server::kinds::{SERVICES, STATEFUL_SETS};

use super::{
    crash_injector::Effect,
    outcome::{Outcome, OutcomeParts, repeats},
};

fn effect(call: &str, code: u16, uid: &str) -> Effect {
    Effect {
        life: 0,
        call: call.to_owned(),
        detail: String::new(),
        code: Some(code),
        uid: Some(uid.to_owned()),
    }
}

fn end(objects: Vec<Value>) -> Outcome {
    let kind_of = |object: &Value| {
        if object["kind"] == "Service" {
            &SERVICES
        } else {
            &STATEFUL_SETS
        }
    };
    Outcome::of(&OutcomeParts {
        namespace: "stage-0001",
        objects: objects
            .into_iter()
            .map(|object| (kind_of(&object), object))
            .collect(),
        head: None,
        lives: [("Service/delays-r1".to_owned(), 1)].into(),
        folders: Vec::new(),
        attempts: true,
    })
}

fn service(namespace: &str, uid: &str, port: u16) -> Value {
    json!({
        "kind": "Service", "metadata": { "name": "delays-r1", "namespace": namespace, "uid": uid, "resourceVersion": uid, "labels": { "a": namespace } },
        "spec": { "ports": [port] },
    })
}

#[test]
fn an_object_created_twice_is_noticed() {
    let once = [
        effect("create services delays-r1", 201, "a"),
        effect("create services delays-r1", 409, "a"),
        effect("create services delays-r2", 201, "b"),
    ];
    assert_eq!(repeats(&once, &once), Vec::<String>::new());
    let twice = [
        once.as_slice(),
        &[effect("create services delays-r1", 201, "c")],
    ]
    .concat();
    assert_eq!(
        repeats(&twice, &once),
        ["2 times: create services delays-r1"]
    );
}

#[test]
fn an_object_deleted_twice_is_noticed() {
    let once = [
        effect("delete pods delays-r1-0", 200, "a"),
        effect("delete pods delays-r1-0", 404, "a"),
        effect("delete pods delays-r1-0", 200, "b"),
    ];
    assert_eq!(
        repeats(&once, &once),
        Vec::<String>::new(),
        "two pods of one name are two objects"
    );
    let twice = [
        once.as_slice(),
        &[effect("delete pods delays-r1-0", 200, "b")],
    ]
    .concat();
    assert_eq!(repeats(&twice, &once), ["twice: delete pods delays-r1-0"]);
}

#[test]
fn ends_differ_in_what_matters_and_in_nothing_else() {
    let one = end(vec![service("stage-0001", "1", 80)]);
    let same = end(vec![service("stage-0001", "2", 80)]);
    assert_eq!(one, same);
    let other = end(vec![service("stage-0001", "1", 81)]);
    assert_eq!(
        other.differences(&one),
        "/objects/Service delays-r1/spec/ports/0: expected 80, found 81\n"
    );
    let less = end(Vec::new());
    assert!(
        less.differences(&one)
            .contains("/objects/Service delays-r1/kind: expected \"Service\", found nothing"),
        "{}",
        less.differences(&one)
    );
}
