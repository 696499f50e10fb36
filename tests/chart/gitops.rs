//! What a tool that renders and compares again and again must never see: a difference.

use std::{fs, path::Path};

use serde_json::Value;
use streamkeeper_harness::helm::{chart, helm, render};

use crate::{EVERYTHING, cluster::Cluster, text};

#[test]
fn two_renderings_of_the_same_values_are_the_same_bytes() {
    let chart = chart();
    for values in [&[] as &[&str], &EVERYTHING] {
        let manifests = || {
            let mut arguments = vec!["template", "x", &chart];
            let own_key = ["tls.enabled=true", "tls.existingSecret=keys"];
            for value in values.iter().chain(&own_key) {
                arguments.extend(["--set", value]);
            }
            let output = helm(&arguments);
            assert!(output.status.success(), "{}", text(&output.stderr));
            output.stdout
        };
        assert!(manifests() == manifests());
    }
}

/// Functions whose answer depends on more than the values.
const UNSTEADY: [&str; 14] = [
    "lookup ",
    "rand",
    "uuidv4",
    "now",
    "date",
    "ago ",
    "genCA",
    "genSelfSigned",
    "genSigned",
    "genPrivateKey",
    "htpasswd",
    "bcrypt",
    "shuffle",
    "getHostByName",
];

#[test]
fn no_template_asks_for_chance_clock_or_cluster_but_that_of_the_master_key() {
    let mut unsteady = Vec::new();
    for file in files(&Path::new(&chart()).join("templates")) {
        let template = fs::read_to_string(&file).unwrap();
        let actions = template.split("{{").skip(1);
        let actions = actions.filter_map(|rest| rest.split("}}").next());
        for action in
            actions.filter(|action| !action.trim_start_matches('-').trim().starts_with("/*"))
        {
            let code: String = action.split('"').step_by(2).collect();
            let words = code.split(|c: char| !c.is_ascii_alphanumeric());
            for word in words.filter(|word| !word.is_empty()) {
                if UNSTEADY.iter().any(|name| word.starts_with(name.trim())) {
                    let name = file.file_name().unwrap().to_str().unwrap();
                    unsteady.push(format!("{name}: {word}"));
                }
            }
        }
    }
    unsteady.sort();
    let wanted = [
        "_cluster.tpl: lookup",
        "_cluster.tpl: lookup",
        "master-key.yaml: lookup",
        "master-key.yaml: randBytes",
    ];
    assert_eq!(unsteady, wanted);
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .flat_map(|entry| {
            if entry.file_type().unwrap().is_dir() {
                files(&entry.path())
            } else {
                vec![entry.path()]
            }
        })
        .collect()
}

/// Fields that mean something when they are empty, and that an API server keeps so.
const MEANT: [&str; 8] = [
    "anyOf",
    "enum",
    "podSelector",
    "namespaceSelector",
    "emptyDir",
    "status",
    "default",
    "items",
];

/// Paths of what an API server drops, as it does with null and empty lists and maps.
fn dropped(value: &Value, path: &str, found: &mut Vec<String>) {
    let name = path.rsplit('.').next().unwrap_or_default();
    match value {
        Value::Null if !MEANT.contains(&name) => found.push(path.to_owned()),
        Value::Array(all) if all.is_empty() && !MEANT.contains(&name) => {
            found.push(path.to_owned());
        }
        Value::Object(all) if all.is_empty() && !MEANT.contains(&name) => {
            found.push(path.to_owned());
        }
        Value::Array(all) => {
            for one in all {
                dropped(one, path, found);
            }
        }
        Value::Object(all) => {
            for (name, one) in all {
                dropped(one, &format!("{path}.{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn no_object_has_a_field_that_an_api_server_drops() {
    let closed = ["metrics.enabled=false", "networkPolicy.enabled=true"];
    let bare = ["operator.tolerations=null", "operator.spreadOver=null"];
    for values in [&[] as &[&str], &EVERYTHING, &closed, &bare] {
        let mut found = Vec::new();
        for object in render(values) {
            let kind = object["kind"].as_str().unwrap().to_owned();
            dropped(&object, &kind, &mut found);
        }
        assert!(found.is_empty(), "{found:#?}");
    }
}

/// The manifests of a kind that a page of the docs shows.
fn shown(page: &str, kind: &str) -> Vec<Value> {
    let blocks = page.split("```yaml\n").skip(1);
    blocks
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| serde_yaml::from_str::<Value>(block).unwrap())
        .filter(|object| object["kind"] == kind)
        .collect()
}

#[test]
fn what_the_docs_show_to_argo_cd_and_flux_renders_as_these_tools_render_it() {
    let page = include_str!("../../docs/gitops.md");
    let folder = tempfile::tempdir().unwrap();
    let chart = chart();
    let template = |values: &Value, more: &[&str]| {
        let file = folder.path().join("values.yaml");
        fs::write(&file, values.to_string()).unwrap();
        let tls = ["--set", "tls.enabled=true", "--values"];
        let named = ["template", "streamkeeper", chart.as_str()];
        let output = helm(&[&named, &tls as &[&str], &[file.to_str().unwrap()], more].concat());
        (output.status.success(), text(&output.stderr))
    };
    let [application] = &shown(page, "Application")[..] else {
        panic!("one Application");
    };
    let source = &application["spec"]["source"];
    let (ok, said) = template(&source["helm"]["valuesObject"], &[]);
    assert!(ok, "{said}");
    assert_eq!(source["path"], "charts/streamkeeper");

    let [release] = &shown(page, "HelmRelease")[..] else {
        panic!("one HelmRelease");
    };
    let values = &release["spec"]["values"];
    let cluster = Cluster::with(&[]);
    let server = cluster.seen();
    let (ok, said) = template(values, &server);
    assert!(ok, "{said}");
    let (ok, said) = template(values, &[]);
    assert!(!ok && said.contains("cannot see the cluster"), "{said}");
}
