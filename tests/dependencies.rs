//! Left may not import right: `api` <- `lifecycle` <- `resources` <- {`coordinator_client`,
//! `buckets`, `kube_ext`} <- `controller` <- `main`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::{fs, path::Path};

const LAYERS: [&[&str]; 5] = [
    &["api", "security"],
    &["lifecycle"],
    &["resources"],
    &["coordinator_client", "buckets", "kube_ext"],
    &["controller"],
];
/// What decisions and builders may not name: clients, sockets, runtimes, clocks, dice.
const IMPURE: [&str; 8] = [
    "kube::Client",
    "kube::client",
    "kube::runtime",
    "tokio",
    "hyper",
    "Timestamp::now",
    "SystemTime",
    "rand::",
];

#[test]
fn no_module_imports_one_to_its_right() {
    let mut wrong = Vec::new();
    for (at, modules) in LAYERS.iter().enumerate() {
        let right: Vec<&str> = LAYERS[at + 1..]
            .iter()
            .flat_map(|layer| layer.iter().copied())
            .collect();
        for module in *modules {
            for (file, line) in lines_of(module) {
                // Both forms: `crate::x`, and `x::` inside a `use crate::{ .. }` that goes over
                // several lines.
                let names = |other: &str| {
                    line.contains(&format!("crate::{other}::"))
                        || line.trim_start().starts_with(&format!("{other}::"))
                };
                wrong.extend(
                    right
                        .iter()
                        .filter(|other| names(other))
                        .map(|other| format!("{file}: {module} imports {other}: {line}")),
                );
                let impure = at <= 2
                    && IMPURE.iter().any(|name| line.contains(name))
                    && !line.trim_start().starts_with("//");
                wrong.extend(impure.then(|| format!("{file}: {module} must stay pure: {line}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Lines of a module's files that are not only about tests.
fn lines_of(module: &str) -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = vec![src.join(module), src.join(format!("{module}.rs"))];
    let mut lines = Vec::new();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if let Ok(text) = fs::read_to_string(&path) {
            lines.extend(
                text.lines()
                    .map(|line| (path.display().to_string(), line.to_owned())),
            );
        }
    }
    assert!(!lines.is_empty(), "module {module} has no files");
    lines
}
