//! The chart, rendered by the Helm that `make setup` builds.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// The Helm of the local cluster's binaries: `HELM`, or the newest one in the cache.
pub fn binary() -> PathBuf {
    if let Some(given) = env::var_os("HELM") {
        return given.into();
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map_or_else(
            || Path::new(&env::var_os("HOME").expect("HOME is set")).join(".cache"),
            PathBuf::from,
        );
    let clusters = cache.join("streamkeeper/cluster");
    let entries = fs::read_dir(&clusters).into_iter().flatten().flatten();
    let found = entries
        .map(|entry| entry.path().join("helm"))
        .filter(|path| path.is_file());
    let modified = |path: &PathBuf| {
        fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    found.max_by_key(modified).unwrap_or_else(|| {
        panic!(
            "no helm in {}/*: build it with `make setup`, or set HELM",
            clusters.display()
        )
    })
}

/// Runs Helm.
pub fn helm(arguments: &[&str]) -> Output {
    let binary = binary();
    Command::new(&binary)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", binary.display()))
}

/// Folder of the chart.
pub fn chart() -> String {
    format!("{}/../../charts/streamkeeper", env!("CARGO_MANIFEST_DIR"))
}

/// Nothing here sees a cluster, and without one no master key is made. Values that follow win.
const OWN_KEY: &str = "tls.existingSecret=streamkeeper-keys";

/// The objects that the chart makes with these values (`--set` each).
pub fn render(values: &[&str]) -> Vec<Value> {
    render_in("streamkeeper-system", values)
}

/// The same, of a release in this namespace.
pub fn render_in(namespace: &str, values: &[&str]) -> Vec<Value> {
    rendered(&chart(), namespace, &[], values)
}

/// The objects that a copy of the chart makes with more arguments of Helm and with these values.
pub fn rendered(chart: &str, namespace: &str, more: &[&str], values: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["template", "streamkeeper", chart, "--namespace", namespace];
    arguments.extend(more);
    arguments.extend(["--set", OWN_KEY]);
    for value in values {
        arguments.extend(["--set", value]);
    }
    let output = helm(&arguments);
    assert!(
        output.status.success(),
        "helm template: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    objects_in(&String::from_utf8(output.stdout).expect("manifests are text"))
}

/// The objects in rendered manifests.
pub fn objects_in(text: &str) -> Vec<Value> {
    let documents = text.split("\n---").filter(|document| {
        document
            .lines()
            .any(|line| !line.trim().is_empty() && !line.starts_with('#') && line != "---")
    });
    documents
        .map(|document| {
            serde_yaml::from_str(document.trim_start_matches("---"))
                .unwrap_or_else(|error| panic!("{error} in:\n{document}"))
        })
        .collect()
}

/// The objects of a kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects
        .iter()
        .filter(|object| object["kind"] == kind)
        .collect()
}
