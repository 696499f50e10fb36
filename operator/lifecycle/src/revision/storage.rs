//! Where the state of a job lies.

use serde::{Deserialize, Serialize};
use streamkeeper_api::v1alpha1::{S3, Sse};

use crate::revision::error::RenderError;

/// Where state lies, defaults filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedStorage {
    /// `s3://bucket/prefix`, as the user wrote it.
    pub uri: String,
    /// Bucket.
    pub bucket: String,
    /// Prefix without leading or trailing slash; may be empty.
    pub prefix: String,
    /// Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Endpoint; none means Amazon S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How the store encrypts what is written; none: as the bucket says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sse: Option<Sse>,
    /// Whether the content of writes is left out of their signature.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsigned_payload: bool,
}

impl ResolvedStorage {
    /// This storage, as a spec would name it.
    pub(crate) fn as_asked(&self) -> S3 {
        S3 {
            uri: self.uri.clone(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            sse: self.sse.clone(),
            unsigned_payload: Some(self.unsigned_payload),
        }
    }

    /// Whether state that lies here lies there too.
    pub fn is_place_of(&self, other: &Self) -> bool {
        (&self.bucket, &self.prefix) == (&other.bucket, &other.prefix)
            && self.is_in_store(other.endpoint.as_deref())
    }

    /// Whether the store with this endpoint is the one that it lies in.
    pub fn is_in_store(&self, endpoint: Option<&str>) -> bool {
        let here = self.endpoint.as_deref();
        here.map(|url| url.trim_end_matches('/')) == endpoint.map(|url| url.trim_end_matches('/'))
    }

    pub(crate) fn resolve(s3: &S3, default: Option<&S3>) -> Result<Self, RenderError> {
        let bad = || RenderError::BadUri(s3.uri.clone());
        let rest = s3.uri.strip_prefix("s3://").ok_or_else(bad)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(bad());
        }
        if let Some(why) = no_bucket(bucket) {
            return Err(RenderError::BadBucket {
                uri: s3.uri.clone(),
                bucket: bucket.to_owned(),
                why,
            });
        }
        Ok(Self {
            uri: s3.uri.clone(),
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            region: s3
                .region
                .clone()
                .or_else(|| default.and_then(|default| default.region.clone())),
            endpoint: s3
                .endpoint
                .clone()
                .or_else(|| default.and_then(|default| default.endpoint.clone())),
            sse: s3.sse.clone(),
            unsigned_payload: s3.unsigned_payload.unwrap_or(false),
        })
    }
}

/// Why no store can have a bucket of this name, if so. Other stores than Amazon's have more names
/// than that one.
pub(crate) fn no_bucket(name: &str) -> Option<String> {
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if let Some(strange) = name.chars().find(|c| !named(*c)) {
        return Some(format!("it has the character '{}'", strange.escape_debug()));
    }
    (!(1..=255).contains(&name.len())).then(|| "it has 1 to 255 characters".to_owned())
}
