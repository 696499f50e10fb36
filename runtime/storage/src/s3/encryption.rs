//! Encryption by the store.

use aws_sdk_s3::types::ServerSideEncryption;

use crate::StorageConfig;

/// Encryption headers of a request that creates an object.
pub(super) fn encryption(config: &StorageConfig) -> (Option<ServerSideEncryption>, Option<String>) {
    let sse = config.sse.as_ref();
    (
        sse.map(|_| ServerSideEncryption::AwsKms),
        sse.and_then(|sse| sse.key_id.clone()),
    )
}
