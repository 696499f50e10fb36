//! Why no revision can be made of a spec.

use crate::revision::template::TemplateError;

/// Why a spec cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Neither the spec nor the operator names a storage.
    #[error(
        "spec.storage.s3.uri is not set and the operator has no default storage; set it to a place like s3://bucket/prefix"
    )]
    NoStorage,
    /// The URI is no S3 URI.
    #[error(
        "spec.storage.s3.uri `{0}` must name a bucket and optionally a prefix, like s3://bucket/prefix"
    )]
    BadUri(String),
    /// The bucket has a name that no store takes.
    #[error(
        "spec.storage.s3.uri `{uri}` names the bucket `{bucket}`, which is not the name of one: {why}"
    )]
    BadBucket {
        /// The URI.
        uri: String,
        /// Its bucket.
        bucket: String,
        /// What is wrong with it.
        why: String,
    },
    /// The pod template cannot be rendered.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// An amount of memory cannot be meant.
    #[error("spec.workers.resources.{list}: {why}")]
    Memory {
        /// `requests` or `limits`.
        list: &'static str,
        /// What is wrong with it.
        why: String,
    },
}
