//! `spec.workers.podTemplate`, parsed strictly: every field is one that Kubernetes knows, and none
//! is one that the operator sets itself.
//!
//! The CRD does not inline the schema of a pod, so what the API server checks for other objects is
//! checked here, when the object is planned.
//! * [`check`]: the template as Kubernetes types; unknown fields and wrong types are refused with
//!   their path.
//! * [`rules`]: what belongs to the operator, and the field to write instead.
//! * [`memory`]: amounts of memory that cannot be meant.

pub mod memory;
mod rules;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{LocalObjectReference, PodSpec, Toleration},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use streamkeeper_api::v1alpha1::PodTemplate;

/// Where a template stands in a StreamJob.
const FIELD: &str = "spec.workers.podTemplate";
/// The most that a template may say, in bytes of JSON: it is kept with every revision.
const SIZE_LIMIT: usize = 64 * 1024;

/// A template that cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct TemplateError {
    /// Path of the field, from `spec`.
    pub path: String,
    /// What is wrong with it and what to write instead.
    pub why: String,
}

impl TemplateError {
    fn at(path: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            why: why.into(),
        }
    }
}

/// A template in the types of Kubernetes, its short forms merged into it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Template {
    /// Labels to add to the pods.
    pub labels: BTreeMap<String, String>,
    /// Annotations to add to the pods.
    pub annotations: BTreeMap<String, String>,
    /// The pod; one container of it may be the worker's own.
    pub pod: PodSpec,
}

/// Parses and checks a template.
pub fn check(template: &PodTemplate) -> Result<Template, TemplateError> {
    let size = serde_json::to_vec(template).map_or(usize::MAX, |bytes| bytes.len());
    if size > SIZE_LIMIT {
        return Err(TemplateError::at(
            FIELD,
            format!(
                "it has {size} bytes, more than {SIZE_LIMIT}; move scripts and files into a ConfigMap and mount it"
            ),
        ));
    }
    let parsed = parse(template)?;
    let (meta, spec) = (format!("{FIELD}.metadata"), format!("{FIELD}.spec"));
    no_unknown::<ObjectMeta>(template.metadata.as_ref(), &meta)?;
    rules::of_metadata(template.metadata.as_ref(), &meta)?;
    no_unknown::<PodSpec>(template.spec.as_ref(), &spec)?;
    if let Some(written) = &template.spec {
        rules::of_pod(written, &parsed.pod, &spec)?;
    }
    Ok(parsed)
}

/// Parses a template. What was checked once, perhaps by an operator of another version, is not
/// checked again.
pub fn parse(template: &PodTemplate) -> Result<Template, TemplateError> {
    let meta = typed::<ObjectMeta>(template.metadata.as_ref(), &format!("{FIELD}.metadata"))?;
    let mut pod = typed::<PodSpec>(template.spec.as_ref(), &format!("{FIELD}.spec"))?;
    let short = |name: &str| format!("{FIELD}.{name}");

    let mut labels = meta.labels.unwrap_or_default();
    add(&mut labels, &template.labels, &short("labels"))?;
    let mut annotations = meta.annotations.unwrap_or_default();
    add(
        &mut annotations,
        &template.annotations,
        &short("annotations"),
    )?;
    let selector = pod.node_selector.get_or_insert_default();
    add(selector, &template.node_selector, &short("nodeSelector"))?;
    if pod.node_selector.as_ref().is_some_and(BTreeMap::is_empty) {
        pod.node_selector = None;
    }
    if template.priority_class_name.is_some() {
        if pod.priority_class_name.is_some() {
            return Err(twice(&short("priorityClassName")));
        }
        pod.priority_class_name
            .clone_from(&template.priority_class_name);
    }
    if !template.tolerations.is_empty() {
        let all = pod.tolerations.get_or_insert_default();
        all.extend(template.tolerations.iter().map(|toleration| Toleration {
            key: toleration.key.clone(),
            operator: toleration.operator.clone(),
            value: toleration.value.clone(),
            effect: toleration.effect.clone(),
            toleration_seconds: toleration.toleration_seconds,
        }));
    }
    for (at, secret) in template.image_pull_secrets.iter().enumerate() {
        let path = format!("{}[{at}]", short("imagePullSecrets"));
        let name = secret.as_str().or_else(|| secret["name"].as_str());
        let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
            TemplateError::at(path, "write the name of a Secret, as text or as {name: …}")
        })?;
        let all = pod.image_pull_secrets.get_or_insert_default();
        if all.iter().all(|known| known.name != name) {
            all.push(LocalObjectReference {
                name: name.to_owned(),
            });
        }
    }
    Ok(Template {
        labels,
        annotations,
        pod,
    })
}

/// Adds what a short form says to what `metadata` or `spec` says.
fn add(
    all: &mut BTreeMap<String, String>,
    more: &BTreeMap<String, String>,
    path: &str,
) -> Result<(), TemplateError> {
    for (name, value) in more {
        match all.insert(name.clone(), value.clone()) {
            Some(other) if other != *value => return Err(twice(&format!("{path}.{name}"))),
            Some(_) | None => {}
        }
    }
    Ok(())
}

fn twice(path: &str) -> TemplateError {
    TemplateError::at(
        path,
        "podTemplate.metadata or podTemplate.spec says it too; write it in one place",
    )
}

/// Parses a value as a type of Kubernetes.
fn typed<T: DeserializeOwned + Default>(
    value: Option<&Value>,
    path: &str,
) -> Result<T, TemplateError> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(T::default());
    };
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let at = if inner == "." {
            path.to_owned()
        } else {
            format!("{path}.{inner}")
        };
        TemplateError::at(at, error.into_inner().to_string())
    })
}

/// Refuses a field that a type of Kubernetes does not have.
fn no_unknown<T: DeserializeOwned + Serialize + Default>(
    value: Option<&Value>,
    path: &str,
) -> Result<(), TemplateError> {
    let known = serde_json::to_value(typed::<T>(value, path)?).unwrap_or_default();
    match value.and_then(|value| unknown(value, &known, path)) {
        Some(field) => Err(TemplateError::at(
            field,
            "Kubernetes knows no such field here; correct its name or its indentation (kubectl explain pod.spec)",
        )),
        None => Ok(()),
    }
}

/// Finds the first field that is written and was not understood.
fn unknown(written: &Value, known: &Value, path: &str) -> Option<String> {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            written.iter().find_map(|(name, value)| {
                let path = format!("{path}.{name}");
                match known.get(name) {
                    Some(known) => unknown(value, known, &path),
                    None if value.is_null() => None,
                    None => Some(path),
                }
            })
        }
        (Value::Array(written), Value::Array(known)) => written
            .iter()
            .zip(known)
            .enumerate()
            .find_map(|(at, (value, known))| unknown(value, known, &format!("{path}[{at}]"))),
        _ => None,
    }
}
