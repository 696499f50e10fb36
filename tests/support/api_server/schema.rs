//! What the CRDs make of an object: its defaults, and what they demand: types, required and unknown fields, values, lengths, rules.

use std::{collections::BTreeMap, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::cel::Validator;
use serde_json::Value;
use streamkeeper::api::crd;

use super::{kinds::Kind, refusal::Refusal};

/// Schemas by kind.
static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let schema = |crd: &CustomResourceDefinition| {
        let crd = serde_json::to_value(crd).expect("a CRD is JSON");
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    };
    crd::files()
        .iter()
        .map(|(_, crd)| (crd.spec.names.kind.clone(), schema(crd)))
        .collect()
});

/// Refuses an object that its CRD's schema forbids; what has no CRD passes.
pub fn check(kind: &Kind, called: &str, object: &Value) -> Result<(), Refusal> {
    let Some(schema) = SCHEMAS.get(kind.kind) else {
        return Ok(());
    };
    for part in ["spec", "status"] {
        if let Some(value) = object.get(part) {
            fits(&schema["properties"][part], value, part)
                .map_err(|why| Refusal::invalid(called, &why))?;
        }
    }
    Ok(())
}

/// Refuses an object that the CRD's rules forbid, alone or after the one before it. Rules read names and specs, so an object whose spec is as before is not asked again.
pub fn obey(
    kind: &Kind,
    called: &str,
    object: &Value,
    before: Option<&Value>,
) -> Result<(), Refusal> {
    let Some(schema) = SCHEMAS.get(kind.kind) else {
        return Ok(());
    };
    if before.is_some_and(|before| before["spec"] == object["spec"]) {
        return Ok(());
    }
    Validator::new()
        .validate(schema, object, before)
        .map_err(|errors| Refusal::invalid(called, &errors.to_string()))
}

/// Fills in what the CRD gives to fields that are absent.
pub fn fill(kind: &Kind, object: &mut Value) {
    if let Some(schema) = SCHEMAS.get(kind.kind) {
        fill_in(schema, object);
    }
}

fn fill_in(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = schema.get("default") {
                    fields.entry(name).or_insert_with(|| default.clone());
                }
                if let Some(field) = fields.get_mut(name) {
                    fill_in(schema, field);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                fill_in(&schema["items"], item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fits(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    if value.is_null() {
        return if schema["nullable"] == true {
            Ok(())
        } else {
            Err(format!("{path}: must not be null"))
        };
    }
    let typed = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some(other) => return Err(format!("{path}: the schema has the unknown type {other}")),
        None => true,
    };
    if !typed {
        return Err(format!("{path}: {value} is no {}", schema["type"]));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Err(format!("{path}: {value} is none of {allowed:?}"));
    }
    if let (Some(text), Some(limit)) = (value.as_str(), schema["maxLength"].as_u64())
        && text.chars().count() as u64 > limit
    {
        return Err(format!("{path}: longer than {limit} characters"));
    }
    if let (Some(number), Some(least)) = (value.as_f64(), schema["minimum"].as_f64())
        && number < least
    {
        return Err(format!("{path}: {number} is less than {least}"));
    }
    for required in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if value.get(required).is_none() {
            return Err(format!("{path}.{required}: Required value"));
        }
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(&schema["items"], item, &format!("{path}[{at}]"))?;
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match (
            schema["properties"].get(name),
            schema.get("additionalProperties"),
        ) {
            (Some(known), _) => fits(known, field, &path)?,
            (None, Some(rest)) => fits(rest, field, &path)?,
            (None, None) if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
            (None, None) => return Err(format!("{path}: unknown field")),
        }
    }
    Ok(())
}
