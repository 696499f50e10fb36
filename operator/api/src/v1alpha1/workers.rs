//! Workers, their resources, environment and pods.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Number, size and placement of the workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workers {
    /// Worker pods. The job moves to another number without restarting them; `kubectl scale` and
    /// autoscalers set it too. 1 to 1000, default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: u32,
    /// Subtasks of every operator in one worker; the parallelism of the job is replicas x slots. 1
    /// to 64, default 1. A change makes a new revision.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub slots: u32,
    /// CPU and memory of one worker. Unset, the operator's default is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What else to put into the worker pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
}

const fn one() -> u32 {
    1
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            replicas: one(),
            slots: one(),
            resources: None,
            pod_template: None,
        }
    }
}

/// CPU and memory of one worker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What a worker is guaranteed, by resource name, as Kubernetes quantities. Example: `{cpu:
    /// 500m, memory: 512Mi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// What a worker may use at most, by resource name, as Kubernetes quantities. Example:
    /// `{memory: 512Mi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

/// A map of quantities with a short description, where the upstream schema carries a page of text.
fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "x-kubernetes-validations": [{
            "rule": "!('memory' in self) || !string(self['memory']).endsWith('m')",
            "message": "memory with the suffix m is counted in thousandths of a byte; for 2048 megabytes write 2Gi or 2048Mi, not 2048m",
        }],
        "additionalProperties": {
            "description": "A Kubernetes quantity, such as 500m, 2 or 512Mi.",
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 64,
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        },
    })
}

fn label_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 64, "additionalProperties": {"type": "string", "maxLength": 63}})
}

fn long_texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 64, "additionalProperties": {"type": "string", "maxLength": 65_536}})
}

/// An object whose schema is not inlined; the operator checks it when it plans the job.
fn not_inlined(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 64, "x-kubernetes-preserve-unknown-fields": true})
}

fn pull_secrets(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 16, "items": {"x-kubernetes-preserve-unknown-fields": true}})
}

/// What else to put into the worker pods: a pod template (`metadata`, `spec`) that the worker is
/// merged into, and short forms of what is asked for most. Together at most 64 KiB. What belongs to
/// the operator is refused with the field to write instead; see docs/pod-template.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels to add. Those of the operator cannot be replaced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "label_values")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "long_texts")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have. Example: `{kubernetes.io/arch: amd64}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "label_values")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Secrets with the credentials of the image's registry, at most 16, each as its name or as
    /// `{name: …}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pull_secrets")]
    pub image_pull_secrets: Vec<Value>,
    /// Labels and annotations of the pods, as in a pod template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "not_inlined")]
    pub metadata: Option<Value>,
    /// A pod spec, as in a pod template: volumes, affinity, sidecars, init containers and so on.
    /// Its container named `streamjob` changes the worker's own: environment, volume mounts,
    /// security context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "not_inlined")]
    pub spec: Option<Value>,
}

/// A taint that the pods tolerate; the fields are those of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// Key of the taint; unset with operator `Exists` tolerates every taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub key: Option<String>,
    /// `Exists` or `Equal` (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Exists", "Equal"]))]
    pub operator: Option<String>,
    /// Value of the taint, for `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; unset tolerates all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["NoSchedule", "PreferNoSchedule", "NoExecute"]))]
    pub effect: Option<String>,
    /// Seconds that a `NoExecute` taint is tolerated; unset means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// An environment variable of the workers.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = (
    "has(self.value) != has(self.valueFrom)",
    "exactly one of value and valueFrom must be set"
))]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Name of the variable. Names that start with `STREAMKEEPER_` belong to the operator.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = (
        "self.matches('^[A-Za-z_][A-Za-z0-9_]*$') && !self.startsWith('STREAMKEEPER_')",
        "must consist of letters, digits and '_', not start with a digit, and not start with STREAMKEEPER_"
    ))]
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32_768))]
    pub value: Option<String>,
    /// Where the worker takes its value from; the operator never reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where a worker takes the value of a variable from.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = (
    "has(self.secretKeyRef) != has(self.configMapKeyRef)",
    "exactly one of secretKeyRef and configMapKeyRef must be set"
))]
#[serde(rename_all = "camelCase")]
pub struct EnvVarSource {
    /// Key of a Secret in the namespace of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
    /// Key of a ConfigMap in the namespace of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
}

/// A key of a Secret or ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// Whether the pod may start without it. Default `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}
