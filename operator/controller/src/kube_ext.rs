//! The few verbs the operator uses against the API server, each bounded in time.

use std::{fmt::Debug, future::Future, time::Duration};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::StatefulSet, autoscaling::v1::Scale, core::v1::Pod},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::Status,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::leader::writes::Busy;

/// Owner of every field the operator writes.
pub const FIELD_MANAGER: &str = streamkeeper_api::names::MANAGER;

/// kube retries for minutes by itself and has no time-out of its own.
const DEADLINE: Duration = Duration::from_secs(15);

/// Objects of a kind that live in namespaces.
pub trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Why the API server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It said no.
    #[error("cannot {action} {what}: {}", reason(source))]
    Refused {
        /// Verb.
        action: &'static str,
        /// Kind and name.
        what: String,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// It did not answer in time.
    #[error("cannot {action} {what}: no answer from the API server within {} s", DEADLINE.as_secs())]
    TimedOut {
        /// Verb.
        action: &'static str,
        /// Kind and name.
        what: String,
    },
}

/// The API server's own sentence, without what the client adds to it.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

impl ApiError {
    /// The Kubernetes status, if the API server answered with one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Refused { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::TimedOut { .. } => None,
        }
    }

    /// Whether another client changed the object first.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(Status::is_conflict)
    }

    /// Whether an object of that name is there already. A conflict, to Kubernetes, is something
    /// else.
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(Status::is_already_exists)
    }

    /// How long the API server asks to be left alone, if it does.
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Refused { source, .. } = self
            && let kube::Error::Service(error) = source.as_ref()
        {
            return error.downcast_ref::<Busy>().map(|busy| busy.after);
        }
        let seconds = self.status()?.details.as_ref()?.retry_after_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// Whether the object is gone.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }

    /// Whether the object is not what the API server can take.
    pub fn is_invalid(&self) -> bool {
        self.status()
            .is_some_and(|status| matches!(status.code, 400 | 413 | 422))
    }

    /// Whether the operator may not, or a quota is exhausted.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(Status::is_forbidden)
    }
}

/// Runs one request with the deadline and names it in errors.
pub async fn bounded<T>(
    action: &'static str,
    what: impl Into<String>,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    let what = what.into();
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(ApiError::Refused {
            action,
            what,
            source: Box::new(source),
        }),
        Err(_) => Err(ApiError::TimedOut { action, what }),
    }
}

fn called<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!(
        "{} {}/{}",
        K::kind(&()),
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}

/// Creates an object, as one of the operator's.
async fn create<K: Namespaced>(
    client: &Client,
    namespace: &str,
    object: &K,
) -> Result<K, ApiError> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    bounded("create", called(object), api.create(&params, object)).await
}

/// Creates an object; when one of that name is there already, returns that one and changes nothing.
pub async fn create_if_absent<K: Namespaced>(
    client: &Client,
    namespace: &str,
    object: &K,
) -> Result<K, ApiError> {
    match create(client, namespace, object).await {
        Ok(created) => Ok(created),
        // It may be gone again by now: then there was a conflict, and the next pass sees why.
        Err(error) if error.is_already_exists() => get(client, namespace, &object.name_any())
            .await?
            .ok_or(error),
        Err(error) => Err(error),
    }
}

/// Creates an object that may be there already; then it is neither changed nor looked at.
pub async fn create_unseen<K: Namespaced>(
    client: &Client,
    namespace: &str,
    object: &K,
) -> Result<(), ApiError> {
    match create(client, namespace, object).await {
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(()),
    }
}

/// Reads an object; none when there is none.
pub async fn get<K: Namespaced>(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<K>, ApiError> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    bounded(
        "read",
        format!("{} {namespace}/{name}", K::kind(&())),
        api.get_opt(name),
    )
    .await
}

/// Sets the replicas of a StatefulSet, by its scale subresource: a right to patch StatefulSets
/// would be one to change what pods run.
pub async fn scale(
    client: &Client,
    namespace: &str,
    name: &str,
    replicas: u32,
) -> Result<Scale, ApiError> {
    let api: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = serde_json::json!({ "spec": { "replicas": replicas } });
    bounded(
        "scale",
        format!("StatefulSet {namespace}/{name}"),
        api.patch_scale(name, &params, &Patch::Merge(patch)),
    )
    .await
}

/// Merges a patch into an object.
pub async fn correct<K: Namespaced>(
    client: &Client,
    namespace: &str,
    object: &K,
    patch: serde_json::Value,
) -> Result<K, ApiError> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let (name, patch) = (object.name_any(), Patch::Merge(patch));
    let request = api.patch(&name, &params, &patch);
    bounded("correct", called(object), request).await
}

/// Deletes exactly this object, in the background; another object of the same name stays.
/// Gone already is success.
pub async fn delete<K: Namespaced>(
    client: &Client,
    namespace: &str,
    object: &K,
) -> Result<(), ApiError> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions {
            uid: object.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    gone_is_success(
        bounded(
            "delete",
            called(object),
            api.delete(&object.name_any(), &params),
        )
        .await,
    )
}

/// Removes a pod whose node does not answer, without waiting for its kubelet. Only safe because
/// HEAD fences whatever still runs there.
pub async fn force_delete_pod(client: &Client, pod: &Pod) -> Result<(), ApiError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: pod.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    gone_is_success(
        bounded(
            "force-delete",
            called(pod),
            api.delete(&pod.name_any(), &params),
        )
        .await,
    )
}

fn gone_is_success<T>(result: Result<T, ApiError>) -> Result<(), ApiError> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes the status of exactly the version that was observed: a conflict means that the world
/// moved on.
async fn write_status<K>(api: &Api<K>, object: &K) -> Result<K, ApiError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    bounded(
        "write the status of",
        called(object),
        api.replace_status(&object.name_any(), &PostParams::default(), object),
    )
    .await
}

/// Like [`write_status`], but a conflict is no error: returns none when the object has changed, or
/// is gone.
pub async fn write_status_unless_changed<K>(api: &Api<K>, object: &K) -> Result<Option<K>, ApiError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    match write_status(api, object).await {
        Ok(written) => Ok(Some(written)),
        Err(error) if error.is_conflict() || error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds or removes one finalizer of exactly the version that was observed, nothing if it is so
/// already. Returns the object as it is then, unless it is gone or was left alone.
pub async fn set_finalizer<K>(
    api: &Api<K>,
    object: &K,
    finalizer: &str,
    wanted: bool,
) -> Result<Option<K>, ApiError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut finalizers = object.finalizers().to_vec();
    if finalizers.iter().any(|name| name == finalizer) == wanted {
        return Ok(None);
    }
    if wanted {
        finalizers.push(finalizer.to_owned());
    } else {
        finalizers.retain(|name| name != finalizer);
    }
    write_finalizers(api, object, &finalizers).await
}

/// Writes the finalizers of exactly the version that was observed.
async fn write_finalizers<K>(
    api: &Api<K>,
    object: &K,
    finalizers: &[String],
) -> Result<Option<K>, ApiError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let patch = serde_json::json!({ "metadata": { "resourceVersion": object.resource_version(), "finalizers": finalizers } });
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let name = object.name_any();
    match bounded(
        "write the finalizers of",
        called(object),
        api.patch(&name, &params, &Patch::Merge(patch)),
    )
    .await
    {
        Ok(written) => Ok(Some(written)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
