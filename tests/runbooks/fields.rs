//! Fields that a page names.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::root;

/// Schemas of our kinds.
pub fn schemas() -> Vec<Value> {
    let files = fs::read_dir(root().join("crds")).unwrap();
    let schema = |path: PathBuf| {
        let crd: Value = serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    };
    files.map(|entry| schema(entry.unwrap().path())).collect()
}

pub fn has_field(schema: &Value, path: &str) -> bool {
    let mut at = schema;
    for name in path.split('.') {
        if at["type"] == "array" {
            at = &at["items"];
        }
        if at.get("additionalProperties").is_some() {
            return true;
        }
        at = &at["properties"][name];
    }
    !at.is_null()
}

/// Paths of fields, like `spec.workers.replicas`, that a text names.
pub fn fields(text: &str) -> Vec<String> {
    let starts = |word: &&str| word.starts_with("spec.") || word.starts_with("status.");
    words(text)
        .filter_map(|word| word.trim_start_matches('.').split(['[', '/', '=']).next())
        .filter(starts)
        .map(str::to_owned)
        .collect()
}

/// Words with the signs that names of fields and annotations may have.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let between =
        |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '-' | '[' | '*' | '='));
    text.split(between)
        .map(|word| word.split('=').next().unwrap_or_default())
        .map(|word| word.trim_matches(['.', '-', ']', '*']))
}
