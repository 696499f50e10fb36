//! Objects too large for one request: written or copied in parts, which become an object all at
//! once.
//!
//! A part that is stored is not sent again: as long as parts get there, those that did not are
//! tried in another round. What fails, or is given up by its caller, leaves no parts behind: a
//! store keeps them, and charges for them, until the upload is aborted. Uploads of a process that
//! was killed are aborted by [`super::uploads`].

use std::sync::Arc;

use aws_sdk_s3::{
    Client,
    error::SdkError,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use tokio::task::JoinSet;

use super::{
    RequestLimits, adaptive_timeout::AdaptiveTimeout, body::Counting, encryption::encryption,
    error::Attempt, limits::RequestKind,
};
use crate::{StorageConfig, StorageError, write_progress::WriteProgress};

/// Parts under way at once.
const AT_ONCE: usize = 4;
/// An upload is given up after this number of rounds in which no part was stored.
const ROUNDS: u32 = 3;

/// An object that is made of parts.
pub(super) struct Parts<'a> {
    pub(super) client: &'a Client,
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    pub(super) limits: &'a RequestLimits,
    pub(super) config: &'a StorageConfig,
    pub(super) adaptive_timeout: &'a Arc<AdaptiveTimeout>,
    /// The action for messages.
    pub(super) attempt: Attempt<'a>,
}

/// Where a part comes from.
enum Content {
    Sent(Bytes),
    Copied {
        source: String,
        etag: Option<String>,
    },
}

impl Parts<'_> {
    /// Writes `bytes` and returns the version.
    pub(super) async fn upload(&self, bytes: &Bytes) -> Result<String, StorageError> {
        self.make(bytes.len() as u64, |from, until| {
            // Both are at most the length of a slice.
            let at = |bound| usize::try_from(bound).unwrap_or(usize::MAX);
            Content::Sent(bytes.slice(at(from)..at(until)))
        })
        .await
    }

    /// Copies an object of `size` bytes that still has the version `etag`.
    pub(super) async fn copy(
        &self,
        source: &str,
        etag: Option<&str>,
        size: u64,
    ) -> Result<(), StorageError> {
        self.make(size, |_, _| Content::Copied {
            source: source.to_owned(),
            etag: etag.map(str::to_owned),
        })
        .await
        .map(drop)
    }

    async fn make(
        &self,
        size: u64,
        content: impl Fn(u64, u64) -> Content,
    ) -> Result<String, StorageError> {
        let (sse, key) = encryption(self.config);
        let begun = self
            .client
            .create_multipart_upload()
            .bucket(self.bucket)
            .key(self.key)
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(key)
            .send()
            .await
            .map_err(|error| self.attempt.failed(&error))?;
        let Some(id) = begun.upload_id else {
            return Err(self.attempt.not_s3("no id of an upload"));
        };
        let mut open = Open {
            client: self.client.clone(),
            bucket: self.bucket.to_owned(),
            key: self.key.to_owned(),
            id: Some(id.clone()),
        };
        let made = match self.move_parts(&id, size, content).await {
            Ok(parts) => self.complete(&id, size, parts).await,
            Err(error) => Err(error),
        };
        match &made {
            Ok(_) => open.id = None,
            Err(_) => open.abort().await,
        }
        made
    }

    async fn move_parts(
        &self,
        id: &str,
        size: u64,
        content: impl Fn(u64, u64) -> Content,
    ) -> Result<Vec<CompletedPart>, StorageError> {
        let (progress, length) = (WriteProgress::here(), self.limits.part_of(size));
        let (mut todo, mut from) = (Vec::new(), 0);
        while from < size {
            let until = size.min(from + length);
            todo.push(Part {
                client: self.client.clone(),
                bucket: self.bucket.to_owned(),
                key: self.key.to_owned(),
                id: id.to_owned(),
                // At most 10,000.
                number: i32::try_from(todo.len() + 1).unwrap_or(i32::MAX),
                range: (from, until),
                limits: self.limits.clone(),
                adaptive_timeout: self.adaptive_timeout.clone(),
                unsigned: self.config.unsigned_payload,
                progress: progress.as_ref().map(WriteProgress::of_part),
            });
            from = until;
        }
        let (mut done, mut idle) = (Vec::new(), 0);
        while !todo.is_empty() {
            let before = done.len();
            let (left, why) = self.round(todo, &content, &mut done).await?;
            idle = if done.len() > before { 0 } else { idle + 1 };
            match why {
                Some(why) if idle == ROUNDS => return Err(why),
                _ => todo = left,
            }
        }
        done.sort_by_key(CompletedPart::part_number);
        Ok(done)
    }

    /// Sends parts. Returns the parts that failed because the store did not respond, and the last
    /// reason.
    async fn round(
        &self,
        todo: Vec<Part>,
        content: impl Fn(u64, u64) -> Content,
        done: &mut Vec<CompletedPart>,
    ) -> Result<(Vec<Part>, Option<StorageError>), StorageError> {
        let mut todo = todo.into_iter();
        let (mut left, mut why) = (Vec::new(), None);
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < AT_ONCE
                && let Some(part) = todo.next()
            {
                let content = content(part.range.0, part.range.1);
                under_way.spawn(async move {
                    let sent = part.send(content).await;
                    (part, sent)
                });
            }
            let (part, error) = match under_way.join_next().await {
                None => return Ok((left, why)),
                Some(Err(error)) => return Err(self.attempt.interrupted(&error)),
                Some(Ok((_, Ok(part)))) => {
                    done.push(part);
                    continue;
                }
                Some(Ok((part, Err(Failed::Sent(error))))) => (part, self.attempt.failed(&*error)),
                Some(Ok((part, Err(Failed::Copied(error))))) => {
                    (part, self.attempt.failed(&*error))
                }
            };
            if !matches!(error, StorageError::Unavailable { .. }) {
                return Err(error);
            }
            left.push(part);
            why = Some(error);
        }
    }

    async fn complete(
        &self,
        id: &str,
        size: u64,
        parts: Vec<CompletedPart>,
    ) -> Result<String, StorageError> {
        let all = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let sent = self
            .client
            .complete_multipart_upload()
            .bucket(self.bucket)
            .key(self.key)
            .upload_id(id)
            .multipart_upload(all)
            .customize()
            .config_override(self.limits.of_transfer(size))
            .send()
            .await;
        let error = match sent {
            Ok(answer) => return Ok(answer.e_tag.unwrap_or_default()),
            Err(error) => self.attempt.failed(&error),
        };
        // An upload that is gone was completed by a request whose response was lost.
        let there = self
            .client
            .head_object()
            .bucket(self.bucket)
            .key(self.key)
            .send()
            .await;
        match there {
            Ok(found)
                if matches!(error, StorageError::NotFound { .. })
                    && found
                        .content_length()
                        .and_then(|size| u64::try_from(size).ok())
                        == Some(size) =>
            {
                Ok(found.e_tag.unwrap_or_default())
            }
            _ => Err(error),
        }
    }
}

/// One part on its way.
struct Part {
    client: Client,
    bucket: String,
    key: String,
    id: String,
    number: i32,
    range: (u64, u64),
    limits: RequestLimits,
    /// Whether its content is left out of the signature.
    unsigned: bool,
    adaptive_timeout: Arc<AdaptiveTimeout>,
    progress: Option<WriteProgress>,
}

type Refused<E> = Box<SdkError<E, HttpResponse>>;

enum Failed {
    Sent(Refused<aws_sdk_s3::operation::upload_part::UploadPartError>),
    Copied(Refused<aws_sdk_s3::operation::upload_part_copy::UploadPartCopyError>),
}

impl Part {
    async fn send(&self, content: Content) -> Result<CompletedPart, Failed> {
        let (from, until) = self.range;
        let size = until - from;
        let etag = match content {
            Content::Sent(bytes) => {
                let upload = |config| {
                    let request = self
                        .client
                        .upload_part()
                        .bucket(&self.bucket)
                        .key(&self.key)
                        .upload_id(&self.id)
                        .part_number(self.number)
                        .body(ByteStream::from(bytes.clone()));
                    let request = request.customize().config_override(config);
                    let request = match self.progress.clone() {
                        Some(progress) => request.interceptor(Counting(progress)),
                        None => request,
                    };
                    let request = if self.unsigned {
                        request.disable_payload_signing()
                    } else {
                        request
                    };
                    request.send()
                };
                // Another round is another try.
                let sent = self
                    .adaptive_timeout
                    .send(&self.limits, (RequestKind::Plain, size, 1), upload)
                    .await;
                sent.map_err(|error| Failed::Sent(Box::new(error)))?.e_tag
            }
            Content::Copied { source, etag } => self
                .client
                .upload_part_copy()
                .bucket(&self.bucket)
                .key(&self.key)
                .upload_id(&self.id)
                .part_number(self.number)
                .copy_source(source)
                .copy_source_range(format!("bytes={from}-{}", until - 1))
                .set_copy_source_if_match(etag)
                .customize()
                .config_override(self.limits.of_transfer(size))
                .send()
                .await
                .map_err(|error| Failed::Copied(Box::new(error)))?
                .copy_part_result
                .and_then(|part| part.e_tag),
        };
        if let Some(progress) = &self.progress {
            progress.reached(size);
        }
        Ok(CompletedPart::builder()
            .part_number(self.number)
            .set_e_tag(etag)
            .build())
    }
}

/// An upload that the store holds parts of; it is aborted when dropped.
struct Open {
    client: Client,
    bucket: String,
    key: String,
    id: Option<String>,
}

impl Open {
    async fn abort(&mut self) {
        let Some(id) = self.id.take() else { return };
        let sent = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(id)
            .send()
            .await;
        if let Err(error) = sent {
            tracing::warn!(key = self.key, %error, "parts of an upload that failed may stay behind");
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.id.is_none() {
            return;
        }
        let mut left = Self {
            client: self.client.clone(),
            bucket: std::mem::take(&mut self.bucket),
            key: std::mem::take(&mut self.key),
            id: self.id.take(),
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { left.abort().await });
        }
    }
}
