//! S3 and servers that speak it.
//!
//! Reads and unconditional writes are harmless to repeat, so the SDK repeats them. A conditional
//! write is sent once: had the SDK repeated one whose response was lost, the second would get 412
//! although the first had succeeded. [`crate::swap_head`] reads back instead.

mod adaptive_timeout;
mod body;
mod client;
mod encryption;
mod error;
mod limits;
mod multipart;
mod uploads;

use std::{ops::Range, sync::Arc};

use aws_sdk_s3::{
    Client,
    operation::{
        RequestId,
        get_object::{GetObjectOutput, builders::GetObjectFluentBuilder},
    },
    primitives::ByteStream,
};
use bytes::{Bytes, BytesMut};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::OnceCell;

pub use self::limits::RequestLimits;
use self::{
    adaptive_timeout::AdaptiveTimeout, body::Counting, encryption::encryption, error::Attempt,
    limits::RequestKind, multipart::Parts,
};
use crate::{
    Begin, Condition, Object, ObjectMeta, ObjectStore, StorageConfig, StorageError, StoreFuture,
    config::StaticCredentials, write_progress::WriteProgress,
};

/// One bucket. Nothing is read and nothing checked before the first action.
#[derive(Debug)]
pub struct S3Store {
    bucket: String,
    config: StorageConfig,
    credentials: Option<StaticCredentials>,
    limits: RequestLimits,
    adaptive_timeout: Arc<AdaptiveTimeout>,
    client: OnceCell<Client>,
}

/// How often a write that is harmless to repeat is sent while it runs out of time.
const TRIES: u32 = 2;

impl S3Store {
    /// The bucket, reached as `config` says, with the credentials of the environment if it has
    /// them, else those of a web identity token or of the instance.
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
            limits: RequestLimits::default(),
            adaptive_timeout: Arc::default(),
            client: OnceCell::new(),
        }
    }

    /// Returns this store with other limits of time and size.
    #[must_use]
    pub fn with_limits(self, limits: RequestLimits) -> Self {
        Self { limits, ..self }
    }

    async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| client::connect(&self.config, self.credentials.as_ref(), &self.limits))
            .await
    }

    fn attempt<'a>(&'a self, action: &'static str, key: &'a str) -> Attempt<'a> {
        Attempt {
            action,
            bucket: &self.bucket,
            key,
            endpoint: self.config.endpoint.as_deref(),
        }
    }

    fn parts<'a>(&'a self, client: &'a Client, attempt: Attempt<'a>, key: &'a str) -> Parts<'a> {
        Parts {
            client,
            bucket: &self.bucket,
            key,
            limits: &self.limits,
            config: &self.config,
            adaptive_timeout: &self.adaptive_timeout,
            attempt,
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
        let mut answer = ask(&attempt, request).await?;
        let etag = answer.e_tag.take().unwrap_or_default();
        // A server that ignores the condition still returns the version that it read.
        let bare = |etag: &str| etag.trim_matches('"').to_owned();
        if version.is_some_and(|wanted| !etag.is_empty() && bare(wanted) != bare(&etag)) {
            let (action, at) = (attempt.action, attempt.at());
            return Err(StorageError::Precondition { action, at });
        }
        let bytes = content(&attempt, answer, limit).await?;
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

    /// The first bytes of an object. Its size stands beside the range in the server's response.
    async fn first(&self, key: &str, len: u64) -> Result<Begin, StorageError> {
        let attempt = self.attempt("GetObject", key);
        let request = self.client().await.get_object();
        let request = request.bucket(&self.bucket).key(key);
        let request = request.range(format!("bytes=0-{}", len.max(1) - 1));
        let mut answer = ask(&attempt, request).await?;
        let etag = answer.e_tag.take().unwrap_or_default();
        let told = answer.content_range.as_deref();
        let size = told.and_then(|range| range.rsplit_once('/')?.1.parse::<u64>().ok());
        let sent = answer
            .content_length
            .and_then(|len| u64::try_from(len).ok());
        let whole = sent.filter(|sent| told.is_none() && *sent <= len);
        let Some(size) = size.or(whole) else {
            return Err(StorageError::Unsupported {
                action: "GetObject",
                at: attempt.at(),
                detail: "asked for its first bytes, the store does not say how many there are \
                         (Content-Range); use a store that answers ranges as Amazon S3 does"
                    .to_owned(),
            });
        };
        let bytes = content(&attempt, answer, len).await?;
        if bytes.len() as u64 != len.min(size) {
            return Err(crate::memory::outside(
                &(0..len.min(size)),
                bytes.len() as u64,
                attempt.at(),
            ));
        }
        Ok(Begin { bytes, size, etag })
    }

    async fn write(
        &self,
        key: &str,
        bytes: Bytes,
        condition: Condition,
    ) -> Result<String, StorageError> {
        let attempt = self.attempt("PutObject", key);
        let (client, size) = (self.client().await, bytes.len() as u64);
        // A condition on the end of an upload in parts is not known to every store, and one that is
        // ignored loses data. So a conditional write is one request, however large.
        if condition == Condition::Always && size > self.limits.whole {
            return self.parts(client, attempt, key).upload(&bytes).await;
        }
        let kind = match condition {
            Condition::Always => (RequestKind::Plain, size, TRIES),
            Condition::Absent | Condition::Matches(_) => (RequestKind::Conditional, size, 1),
        };
        let progress = WriteProgress::here();
        let (sse, kms_key) = encryption(&self.config);
        let put = |config| {
            let request = client.put_object().bucket(&self.bucket).key(key);
            let request = request
                .set_server_side_encryption(sse.clone())
                .set_ssekms_key_id(kms_key.clone())
                .body(ByteStream::from(bytes.clone()));
            let request = match &condition {
                Condition::Always => request,
                Condition::Absent => request.if_none_match("*"),
                Condition::Matches(etag) => request.if_match(etag),
            };
            let request = request.customize().config_override(config);
            let request = match progress.clone() {
                Some(progress) => request.interceptor(Counting(progress)),
                None => request,
            };
            let request = if self.config.unsigned_payload {
                request.disable_payload_signing()
            } else {
                request
            };
            request.send()
        };
        match self.adaptive_timeout.send(&self.limits, kind, put).await {
            Ok(answer) if answer.e_tag().is_none() && answer.request_id().is_none() => {
                Err(attempt.not_s3("no version of the object"))
            }
            Ok(answer) => Ok(answer.e_tag.unwrap_or_default()),
            Err(error) if condition == Condition::Always => Err(attempt.failed(&error)),
            Err(error) => Err(attempt.failed_conditionally(&error)),
        }
    }

    /// Copies in one request, or in parts what is too large for one.
    async fn duplicate(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let attempt = self.attempt("CopyObject", from);
        let client = self.client().await;
        let request = client.head_object().bucket(&self.bucket).key(from);
        let found = request
            .send()
            .await
            .map_err(|error| attempt.failed(&error))?;
        let size = found
            .content_length()
            .and_then(|size| u64::try_from(size).ok());
        let source = format!("{}/{}", self.bucket, utf8_percent_encode(from, ESCAPED));
        let size = size.unwrap_or(0);
        if size > self.limits.whole {
            let etag = found.e_tag();
            return self
                .parts(client, attempt, to)
                .copy(&source, etag, size)
                .await;
        }
        let (sse, key) = encryption(&self.config);
        client
            .copy_object()
            .bucket(&self.bucket)
            .key(to)
            .copy_source(source)
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(key)
            .customize()
            .config_override(self.limits.of_transfer(size))
            .send()
            .await
            .map_err(|error| attempt.failed(&error))?;
        Ok(())
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

/// The response to a read, unless it is a web page that something other than a store has sent.
async fn ask(
    attempt: &Attempt<'_>,
    request: GetObjectFluentBuilder,
) -> Result<GetObjectOutput, StorageError> {
    let answer = request
        .send()
        .await
        .map_err(|error| attempt.failed(&error))?;
    let page = answer
        .content_type()
        .is_some_and(|kind| kind.starts_with("text/html"));
    if page && answer.request_id().is_none() {
        return Err(attempt.not_s3("an HTML page"));
    }
    Ok(answer)
}

/// The content of a response, at most `limit` bytes.
async fn content(
    attempt: &Attempt<'_>,
    answer: GetObjectOutput,
    limit: u64,
) -> Result<Bytes, StorageError> {
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
    // The length that a server announces is not relied on: it may send without end.
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
    Ok(read.freeze())
}

impl ObjectStore for S3Store {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Object> {
        Box::pin(self.read(key, None, None, u64::MAX))
    }

    fn get_at_most<'a>(&'a self, key: &'a str, limit: u64) -> StoreFuture<'a, Object> {
        Box::pin(self.read(key, None, None, limit))
    }

    fn begin<'a>(&'a self, key: &'a str, len: u64) -> StoreFuture<'a, Begin> {
        Box::pin(self.first(key, len))
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
        Box::pin(self.duplicate(from, to))
    }

    fn end_uploads<'a>(&'a self, prefix: &'a str, before_ms: i64) -> StoreFuture<'a, u64> {
        Box::pin(self.end_old_uploads(prefix, before_ms))
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
