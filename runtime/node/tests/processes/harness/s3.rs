//! The S3 server of the environment.

use std::sync::Arc;

use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use bytes::Bytes;
use streamkeeper_storage::{Condition, ObjectStore, StorageConfig, open};

/// The server, and a prefix that no other test uses.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) endpoint: String,
    pub(crate) name: String,
    pub(crate) prefix: String,
    pub(crate) store: Arc<dyn ObjectStore>,
}

impl Bucket {
    /// A prefix of its own for `test`.
    pub(crate) fn new(test: &str) -> Self {
        let endpoint = variable("STREAMKEEPER_TEST_S3_ENDPOINT");
        let bucket = variable("STREAMKEEPER_TEST_S3_BUCKET");
        variable("AWS_ACCESS_KEY_ID");
        variable("AWS_SECRET_ACCESS_KEY");
        let config = StorageConfig {
            endpoint: Some(endpoint.clone()),
            region: None,
            ..StorageConfig::default()
        };
        let uri = format!("s3://{bucket}/{test}-{}", ulid::Ulid::generate());
        let (store, prefix) = open(&uri, &config).unwrap();
        Self {
            endpoint,
            name: bucket,
            prefix,
            store,
        }
    }

    /// `s3://` URI of a key below the prefix.
    pub(crate) fn uri(&self, below: &str) -> String {
        format!("s3://{}/{}/{below}", self.name, self.prefix)
    }

    pub(crate) async fn put(&self, below: &str, bytes: impl Into<Bytes>) {
        let key = format!("{}/{below}", self.prefix);
        self.store
            .put(&key, bytes.into(), Condition::Always)
            .await
            .unwrap();
    }

    /// Keys below a folder (without it), in order, with their content.
    pub(crate) async fn read_all(&self, below: &str) -> Vec<(String, Bytes)> {
        let folder = format!("{}/{below}/", self.prefix);
        let mut all = Vec::new();
        for object in self.store.list(&folder).await.unwrap() {
            let content = self.store.get(&object.key).await.unwrap().bytes;
            let name = object.key.strip_prefix(&folder).unwrap().to_owned();
            all.push((name, content));
        }
        all
    }

    /// Uploads below the prefix that were begun and not ended.
    pub(crate) async fn open_uploads(&self) -> Vec<String> {
        let keys = Credentials::new(
            variable("AWS_ACCESS_KEY_ID"),
            variable("AWS_SECRET_ACCESS_KEY"),
            None,
            None,
            "test",
        );
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(keys)
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.endpoint)
            .force_path_style(true)
            .build();
        let uploads = aws_sdk_s3::Client::from_conf(config)
            .list_multipart_uploads()
            .bucket(&self.name)
            .prefix(format!("{}/", self.prefix))
            .send()
            .await
            .unwrap();
        let uploads = uploads.uploads.unwrap_or_default().into_iter();
        uploads.filter_map(|upload| upload.key).collect()
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: these tests need an S3 server; run them as \
             dev/s3/local -- cargo test -p streamkeeper-node --features test-unfenced"
        )
    })
}
