//! Aborts stale multipart uploads: their process was killed.

use aws_sdk_s3::types::MultipartUpload;

use super::S3Store;
use crate::StorageError;

impl S3Store {
    /// Aborts every upload below `prefix` that began before `before_ms`.
    pub(super) async fn end_old_uploads(
        &self,
        prefix: &str,
        before_ms: i64,
    ) -> Result<u64, StorageError> {
        let attempt = self.attempt("ListMultipartUploads", prefix);
        let client = self.client().await;
        let (mut old, mut after) = (Vec::new(), (None, None));
        loop {
            let page = client
                .list_multipart_uploads()
                .bucket(&self.bucket)
                .prefix(prefix)
                .set_key_marker(after.0)
                .set_upload_id_marker(after.1)
                .send()
                .await
                .map_err(|error| attempt.failed(&error))?;
            after = (page.next_key_marker, page.next_upload_id_marker);
            let listed = page.uploads.unwrap_or_default();
            old.extend(listed.into_iter().filter_map(|upload| {
                // A store may return more than was requested.
                named(upload, before_ms).filter(|(key, _)| key.starts_with(prefix))
            }));
            if page.is_truncated != Some(true) || after.0.is_none() {
                break;
            }
        }
        let mut ended = 0;
        for (key, id) in old {
            let attempt = self.attempt("AbortMultipartUpload", &key);
            let request = client.abort_multipart_upload().bucket(&self.bucket);
            let sent = request.key(&key).upload_id(id).send().await;
            match sent.map_err(|error| attempt.failed(&error)) {
                Ok(_) => ended += 1,
                // Another process has ended it.
                Err(StorageError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }
}

/// Key and id of an upload that was begun before.
fn named(upload: MultipartUpload, before_ms: i64) -> Option<(String, String)> {
    let begun = upload.initiated?.to_millis().ok()?;
    (begun < before_ms).then_some((upload.key?, upload.upload_id?))
}
