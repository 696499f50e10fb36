//! What the CRDs make of an object: its defaults, and what they demand: types, required and unknown
//! fields, values, lengths, rules. And what is demanded of Leases.

use std::{collections::BTreeMap, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::cel::Validator;
use serde_json::Value;
use streamkeeper_api::crd;

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

/// Refuses an object that its CRD's schema forbids, and a Lease that is none; anything else passes.
pub fn check(kind: &Kind, called: &str, object: &Value) -> Result<(), Refusal> {
    let Some(schema) = SCHEMAS.get(kind.kind) else {
        return match kind.kind {
            "Lease" => check_lease(called, &object["spec"]),
            _ => Ok(()),
        };
    };
    has_required(schema, object, "").map_err(|why| Refusal::invalid(called, &why))?;
    for part in ["spec", "status"] {
        if let Some(value) = object.get(part) {
            fits(&schema["properties"][part], value, part)
                .map_err(|why| Refusal::invalid(called, &why))?;
        }
    }
    Ok(())
}

fn check_lease(called: &str, spec: &Value) -> Result<(), Refusal> {
    for (field, least, rule) in [
        ("leaseDurationSeconds", 1, "greater than 0"),
        ("leaseTransitions", 0, "greater than or equal to 0"),
    ] {
        if let Some(number) = spec[field].as_i64().filter(|number| *number < least) {
            let why = format!("spec.{field}: Invalid value: {number}: must be {rule}");
            return Err(Refusal::invalid(called, &why));
        }
    }
    Ok(())
}

/// Refuses an object that the CRD's rules forbid, alone or after the one before it. Rules read
/// names and specs, so an object whose spec is as before is not asked again.
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

/// Fills in what the CRD gives to fields that are absent. A null counts as absent, unless it is a
/// value of the field.
pub fn fill(kind: &Kind, object: &mut Value) {
    if let Some(schema) = SCHEMAS.get(kind.kind) {
        fill_in(schema, object);
    }
}

fn fill_in(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, field| {
                !field.is_null()
                    || schema["properties"]
                        .get(name)
                        .or(schema.get("additionalProperties"))
                        .is_none_or(|schema| schema["nullable"] == true)
            });
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
    let length = match value {
        Value::String(text) => Some((text.chars().count(), "minLength", "maxLength")),
        Value::Array(items) => Some((items.len(), "minItems", "maxItems")),
        Value::Object(fields) => Some((fields.len(), "minProperties", "maxProperties")),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    };
    if let Some((length, least, most)) = length {
        let (least, most) = (schema[least].as_u64(), schema[most].as_u64());
        if least.is_some_and(|least| (length as u64) < least) {
            return Err(format!("{path}: {length} is too short"));
        }
        if most.is_some_and(|most| length as u64 > most) {
            return Err(format!("{path}: {length} is too long"));
        }
    }
    if let Some(number) = value.as_f64() {
        let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if least.is_some_and(|least| number < least) {
            return Err(format!("{path}: {number} is less than {least:?}"));
        }
        if most.is_some_and(|most| number > most) {
            return Err(format!("{path}: {number} is more than {most:?}"));
        }
    }
    has_required(schema, value, &format!("{path}."))?;
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

fn has_required(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let required = schema["required"].as_array().into_iter().flatten();
    for field in required.filter_map(Value::as_str) {
        if value.get(field).is_none() {
            return Err(format!("{path}{field}: Required value"));
        }
    }
    Ok(())
}
