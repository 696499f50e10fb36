//! S3 and servers that speak it.
//!
//! Reads and unconditional writes are harmless to repeat, so the SDK repeats them. A conditional
//! write is sent once: had the SDK repeated one whose answer was lost, the second would answer 412
//! although the first had succeeded. [`crate::swap_head`] reads back instead.

mod client;
mod error;

use std::{ops::Range, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{Builder, retry::RetryConfig, timeout::TimeoutConfig},
    primitives::ByteStream,
};
use bytes::{Bytes, BytesMut};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::OnceCell;

use self::error::Attempt;
use crate::{
    Condition, Object, ObjectMeta, ObjectStore, StorageConfig, StorageError, StoreFuture,
    config::StaticCredentials,
};

/// A conditional write, and every read of a small record, ends within this time.
const CONDITIONAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Slowest transfer that is not given up, bytes per second.
const SLOWEST: u64 = 256 * 1024;

/// One bucket. Nothing is read and nothing checked before the first action.
#[derive(Debug)]
pub struct S3Store {
    bucket: String,
    config: StorageConfig,
    credentials: Option<StaticCredentials>,
    client: OnceCell<Client>,
}

impl S3Store {
    /// The bucket, reached as `config` says, with the credentials of the environment if it has them,
    /// else those that a web identity token or the instance gives.
    pub fn new(bucket: &str, config: StorageConfig) -> Self {
        Self::connect_as(bucket, config, StaticCredentials::from_env())
    }

    /// The bucket, with these credentials.
    pub fn with_credentials(
        bucket: &str,
        config: StorageConfig,
        access_key: &str,
        secret_key: &str,
    ) -> Self {
        let credentials = StaticCredentials {
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            session_token: None,
        };
        Self::connect_as(bucket, config, Some(credentials))
    }

    fn connect_as(
        bucket: &str,
        config: StorageConfig,
        credentials: Option<StaticCredentials>,
    ) -> Self {
        Self {
            bucket: bucket.to_owned(),
            config,
            credentials,
            client: OnceCell::new(),
        }
    }

    async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| client::connect(&self.config, self.credentials.as_ref()))
            .await
    }

    fn attempt<'a>(&'a self, action: &'static str, key: &'a str) -> Attempt<'a> {
        Attempt {
            action,
            bucket: &self.bucket,
            key,
        }
    }

    async fn read(
        &self,
        key: &str,
        range: Option<&Range<u64>>,
        version: Option<&str>,
        limit: u64,
    ) -> Result<Object, StorageError> {
        let attempt = self.attempt("GetObject", key);
        let mut request = self
            .client()
            .await
            .get_object()
            .bucket(&self.bucket)
            .key(key);
        if let Some(range) = range {
            if range.is_empty() {
                return Ok(Object {
                    bytes: Bytes::new(),
                    etag: String::new(),
                });
            }
            request = request.range(format!("bytes={}-{}", range.start, range.end - 1));
        }
        if let Some(version) = version {
            request = request.if_match(version);
        }
        let answer = request
            .send()
            .await
            .map_err(|error| attempt.failed(&error))?;
        let etag = answer.e_tag.unwrap_or_default();
        // A server that does not know the condition still says what it read.
        let bare = |etag: &str| etag.trim_matches('"').to_owned();
        if version.is_some_and(|wanted| !etag.is_empty() && bare(wanted) != bare(&etag)) {
            let (action, at) = (attempt.action, attempt.at());
            return Err(StorageError::Precondition { action, at });
        }
        let too_large = || StorageError::TooLarge {
            at: attempt.at(),
            limit,
        };
        let told = answer
            .content_length
            .and_then(|len| u64::try_from(len).ok());
        if told.is_some_and(|len| len > limit) {
            return Err(too_large());
        }
        // What a server says about the length is not relied on: it may send without end.
        let (mut body, mut read) = (answer.body, BytesMut::new());
        while let Some(part) = body.next().await {
            let part = part.map_err(|error| attempt.interrupted(&error))?;
            if (read.len() + part.len()) as u64 > limit {
                return Err(too_large());
            }
            if read.is_empty() {
                read.reserve(told.map_or(0, |len| usize::try_from(len).unwrap_or(0)));
            }
            read.extend_from_slice(&part);
        }
        let bytes = read.freeze();
        if let Some(range) = range
            && bytes.len() as u64 != range.end.saturating_sub(range.start)
        {
            return Err(crate::memory::outside(
                range,
                bytes.len() as u64,
                attempt.at(),
            ));
        }
        Ok(Object { bytes, etag })
    }

    async fn write(
        &self,
        key: &str,
        bytes: Bytes,
        condition: Condition,
    ) -> Result<String, StorageError> {
        let attempt = self.attempt("PutObject", key);
        let time = Duration::from_secs(30 + bytes.len() as u64 / SLOWEST);
        let request = self
            .client()
            .await
            .put_object()
            .bucket(&self.bucket)
            .key(key);
        let request = request.body(ByteStream::from(bytes));
        let sent = match condition {
            Condition::Always => {
                let timeouts = TimeoutConfig::builder()
                    .operation_attempt_timeout(time)
                    .build();
                request
                    .customize()
                    .config_override(Builder::new().timeout_config(timeouts))
                    .send()
                    .await
            }
            Condition::Absent => once(request.if_none_match("*")).send().await,
            Condition::Matches(ref etag) => once(request.if_match(etag)).send().await,
        };
        match sent {
            Ok(answer) => Ok(answer.e_tag.unwrap_or_default()),
            Err(error) if condition == Condition::Always => Err(attempt.failed(&error)),
            Err(error) => Err(attempt.failed_conditionally(&error)),
        }
    }

    async fn entries(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError> {
        let attempt = self.attempt("ListObjectsV2", prefix);
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let request = self
                .client()
                .await
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(prefix);
            let page = request.set_continuation_token(token).send().await;
            let page = page.map_err(|error| attempt.failed(&error))?;
            for entry in page.contents.unwrap_or_default() {
                let modified = entry.last_modified.and_then(|time| time.to_millis().ok());
                found.push(ObjectMeta {
                    key: entry.key.unwrap_or_default(),
                    size: entry
                        .size
                        .and_then(|size| u64::try_from(size).ok())
                        .unwrap_or(0),
                    etag: entry.e_tag.unwrap_or_default(),
                    modified_ms: modified.unwrap_or(0),
                });
            }
            token = page.next_continuation_token;
            if token.is_none() || page.is_truncated != Some(true) {
                break;
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }
}

/// Sends a conditional write once, and not for long.
fn once(
    request: aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder,
) -> aws_sdk_s3::client::customize::CustomizableOperation<
    aws_sdk_s3::operation::put_object::PutObjectOutput,
    aws_sdk_s3::operation::put_object::PutObjectError,
    aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder,
> {
    let timeouts = TimeoutConfig::builder()
        .operation_timeout(CONDITIONAL_TIMEOUT)
        .build();
    let config = Builder::new()
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts);
    request.customize().config_override(config)
}

impl ObjectStore for S3Store {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Object> {
        Box::pin(self.read(key, None, None, u64::MAX))
    }

    fn get_at_most<'a>(&'a self, key: &'a str, limit: u64) -> StoreFuture<'a, Object> {
        Box::pin(self.read(key, None, None, limit))
    }

    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let limit = range.end.saturating_sub(range.start);
            self.read(key, Some(&range), None, limit)
                .await
                .map(|object| object.bytes)
        })
    }

    fn get_range_of<'a>(
        &'a self,
        key: &'a str,
        version: &'a str,
        range: Range<u64>,
    ) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let limit = range.end.saturating_sub(range.start);
            self.read(key, Some(&range), Some(version), limit)
                .await
                .map(|object| object.bytes)
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
        condition: Condition,
    ) -> StoreFuture<'a, String> {
        Box::pin(self.write(key, bytes, condition))
    }

    fn delete<'a>(&'a self, key: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let attempt = self.attempt("DeleteObject", key);
            let request = self
                .client()
                .await
                .delete_object()
                .bucket(&self.bucket)
                .key(key);
            match request.send().await.map_err(|error| attempt.failed(&error)) {
                Ok(_) | Err(StorageError::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<ObjectMeta>> {
        Box::pin(self.entries(prefix))
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let attempt = self.attempt("CopyObject", from);
            let source = format!("{}/{}", self.bucket, utf8_percent_encode(from, ESCAPED));
            let request = self
                .client()
                .await
                .copy_object()
                .bucket(&self.bucket)
                .key(to)
                .copy_source(source);
            request
                .send()
                .await
                .map_err(|error| attempt.failed(&error))?;
            Ok(())
        })
    }

    fn describe(&self) -> String {
        format!("s3://{}", self.bucket)
    }
}

/// Bytes of a key that are escaped inside a header: the SDK does not encode the source of a copy.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
