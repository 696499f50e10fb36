//! What the code can ask for, and its text.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::root;

/// Reasons of `CheckpointsHealthy` being False.
pub fn unhealthy_checkpoints() -> BTreeSet<String> {
    let source = on_one_line(
        &fs::read_to_string(root().join("operator/lifecycle/src/status/conditions.rs")).unwrap(),
    );
    let (_, after) = source.split_once("fn checkpoints(").unwrap();
    let (body, _) = after.split_once(" fn ").unwrap();
    let found = quoted_after(body, "Truth::False, \"");
    assert!(found.len() >= 2, "{found:?}");
    found
}

/// Reasons of events that warn, but those that are made of a condition's reason.
pub fn warnings() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in sources(&root().join("operator")) {
        let source = on_one_line(&source);
        found.extend(quoted_after(&source, "EventKind::Warning, \""));
        // Of snapshots: the second argument says whether it is a warning.
        for name in quoted_after(&source, ".tell( \"")
            .into_iter()
            .chain(quoted_after(&source, ".tell(\""))
        {
            if source.contains(&format!("\"{name}\", true,")) {
                found.insert(name);
            }
        }
    }
    assert!(
        found.contains("WorkerOOMKilled") && found.contains("JobRestarting"),
        "{found:?}"
    );
    found
}

/// Text of every Rust file below a folder, without its tests.
pub fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    let mut left: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            if path
                .file_name()
                .is_some_and(|name| name != "tests" && name != "target")
            {
                left.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            texts.push(code.to_owned());
        }
    }
    texts
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands between `before` and the next quote, wherever it does.
fn quoted_after(text: &str, before: &str) -> BTreeSet<String> {
    text.split(before)
        .skip(1)
        .filter_map(|after| Some(after.split_once('"')?.0.to_owned()))
        .collect()
}
