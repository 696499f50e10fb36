//! The CustomResourceDefinition, as it stands in `crds/`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::v1alpha1::StreamJob;

/// The CRD of `StreamJob`.
pub fn stream_job() -> CustomResourceDefinition {
    let mut crd = StreamJob::crd();
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            name_formats(schema);
        }
    }
    crd
}

/// Gives unsigned numbers a format that API servers know; they warn about `uint32` and the like on every apply.
fn name_formats(schema: &mut JSONSchemaProps) {
    match schema.format.as_deref() {
        Some("uint8" | "uint16" | "uint32") => schema.format = Some("int32".to_owned()),
        Some("uint64" | "uint") => schema.format = Some("int64".to_owned()),
        _ => {}
    }
    for child in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        name_formats(child);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(child)) = &mut schema.additional_properties {
        name_formats(child);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(child)) = &mut schema.items {
        name_formats(child);
    }
}
