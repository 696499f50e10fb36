//! What the operator does in all stories is what the chart allows it, no more and no less.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use streamkeeper_harness::{
    helm::{of_kind, render},
    story::tell,
    world::Use,
};

use crate::TRACES;

/// Reads are granted together: a client that lists also watches, and gets what it has seen.
fn normalised(uses: BTreeSet<Use>) -> BTreeSet<Use> {
    let read = |verb: &str| ["get", "list", "watch"].contains(&verb);
    uses.into_iter()
        .map(|(group, resource, verb)| {
            (
                group,
                resource,
                if read(&verb) { "read".to_owned() } else { verb },
            )
        })
        .collect()
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Everything that the rendered roles allow. Wildcards and names would make them say more or less
/// than they seem to; only the Lease is named.
fn granted(values: &[&str]) -> BTreeSet<Use> {
    let objects = render(values);
    let bindings = [
        of_kind(&objects, "ClusterRoleBinding"),
        of_kind(&objects, "RoleBinding"),
    ]
    .concat();
    let operators: Vec<_> = bindings
        .iter()
        .filter(|binding| binding["subjects"][0]["name"] == "streamkeeper")
        .map(|binding| (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]))
        .collect();
    let roles = [of_kind(&objects, "ClusterRole"), of_kind(&objects, "Role")].concat();
    let roles = roles
        .into_iter()
        .filter(|role| operators.contains(&(&role["kind"], &role["metadata"]["name"])));
    let mut all = BTreeSet::new();
    for rule in roles.flat_map(|role| role["rules"].as_array().into_iter().flatten()) {
        let names = &rule["resourceNames"];
        let named = rule["resources"] == json!(["leases"]) && *names == json!(["streamkeeper"]);
        assert!(
            (names.is_null() || named) && rule["nonResourceURLs"].is_null(),
            "{rule}"
        );
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                for verb in strings(&rule["verbs"]) {
                    assert!(group != "*" && resource != "*" && verb != "*", "{rule}");
                    all.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    all
}

/// What the operator needs though no story shows it: with OwnerReferencesPermissionEnforcement,
/// setting blockOwnerDeletion takes the right to finalize the owner.
fn unseen() -> BTreeSet<Use> {
    BTreeSet::from([(
        "streamkeeper.dev".to_owned(),
        "streamjobs/finalizers".to_owned(),
        "update".to_owned(),
    )])
}

#[test]
fn what_all_stories_need_is_what_the_chart_grants() {
    let mut needed = unseen();
    for trace in TRACES.iter() {
        assert!(!trace.uses.is_empty(), "{} asked for nothing", trace.story);
        needed.extend(trace.uses.clone());
    }
    let (needed, granted) = (normalised(needed), normalised(granted(&[])));
    let missing: Vec<&Use> = needed.difference(&granted).collect();
    let extra: Vec<&Use> = granted.difference(&needed).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "missing in charts/streamkeeper/templates/rbac.yaml: {missing:#?}\ngranted, but no story needs it: {extra:#?}"
    );
}

#[test]
fn an_operator_of_some_namespaces_is_granted_the_same() {
    assert_eq!(
        granted(&["operator.watchNamespaces={flights,trains}"]),
        granted(&[])
    );
}

#[test]
fn the_self_test_needs_what_its_role_grants() {
    let needed = tell(async |story| {
        story
            .run_self_test(std::time::Duration::from_mins(4))
            .await
            .expect("it passes");
        story.uses_of_self_test()
    });
    let objects = render(&[]);
    let roles = of_kind(&objects, "Role");
    let role = roles
        .iter()
        .find(|role| role["metadata"]["name"] == "streamkeeper-test")
        .expect("a role of the self-test");
    let rules = role["rules"].as_array().expect("rules").iter();
    let granted: BTreeSet<Use> = rules
        .flat_map(|rule| {
            let resource = strings(&rule["resources"]).concat();
            let verbs = strings(&rule["verbs"]).into_iter();
            verbs.map(move |verb| ("streamkeeper.dev".to_owned(), resource.clone(), verb))
        })
        .collect();
    assert_eq!(needed, granted);
}

#[test]
fn a_secret_may_be_created_and_nothing_else() {
    let of_secrets = |values: &[&str]| -> Vec<String> {
        let all = granted(values).into_iter();
        all.filter(|(_, resource, _)| resource.starts_with("secrets"))
            .map(|(_, _, verb)| verb)
            .collect()
    };
    assert_eq!(of_secrets(&[]), ["create"]);
    assert_eq!(of_secrets(&["tls.enabled=false"]), ["create"]);
}
