//! What only S3 can get wrong: credentials, buckets, servers that do not respond. The responses
//! come from a scripted server on loopback, so that they are equal everywhere; the tests in
//! `contract` use a real one.

use std::time::Duration;

use bytes::Bytes;
use streamkeeper_storage::{Condition, ObjectStore, S3Store, StorageConfig, StorageError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

/// A server that gives every request one response; without one it closes the connection.
struct Scripted {
    endpoint: String,
    requests: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    async fn start(answer: Option<(u16, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = requests.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    let mut part = [0; 1024];
                    match stream.read(&mut part).await {
                        Ok(0) | Err(_) => break,
                        Ok(read) => head.extend_from_slice(&part[..read]),
                    }
                }
                if let Some((status, code)) = answer {
                    let body = if code.is_empty() {
                        String::new()
                    } else {
                        format!("<Error><Code>{code}</Code><Message>said so</Message></Error>")
                    };
                    let text = format!(
                        "HTTP/1.1 {status} X\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(text.as_bytes()).await;
                }
                let _ = stream.shutdown().await;
            }
        });
        Self {
            endpoint,
            requests,
            task,
        }
    }

    fn requests(&self) -> usize {
        self.requests.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn store(&self) -> S3Store {
        let config = StorageConfig {
            endpoint: Some(self.endpoint.clone()),
            region: None,
            ..StorageConfig::default()
        };
        S3Store::with_credentials("bucket", config, "key", "secret")
    }
}

fn kind(error: &StorageError) -> &'static str {
    match error {
        StorageError::NotFound { .. } => "NotFound",
        StorageError::Precondition { .. } => "Precondition",
        StorageError::Conflict { .. } => "Conflict",
        StorageError::AccessDenied { .. } => "AccessDenied",
        StorageError::NoSuchBucket { .. } => "NoSuchBucket",
        StorageError::Unavailable { .. } => "Unavailable",
        StorageError::Unknown { .. } => "Unknown",
        StorageError::Unsupported { .. } => "Unsupported",
        StorageError::Invalid { .. } => "Invalid",
        StorageError::TooLarge { .. } => "TooLarge",
        StorageError::OverMemoryLimit { .. } => "OverMemoryLimit",
    }
}

#[tokio::test]
async fn responses_of_the_server_become_storage_errors() {
    // Status, code, what a read makes of it, what a conditional write makes of it.
    let table = [
        (403, "AccessDenied", "AccessDenied", "AccessDenied"),
        (403, "SignatureDoesNotMatch", "AccessDenied", "AccessDenied"),
        (401, "", "AccessDenied", "AccessDenied"),
        (400, "ExpiredToken", "AccessDenied", "AccessDenied"),
        (404, "NoSuchKey", "NotFound", "NotFound"),
        (404, "NoSuchBucket", "NoSuchBucket", "NoSuchBucket"),
        (412, "PreconditionFailed", "Precondition", "Precondition"),
        (409, "ConditionalRequestConflict", "Conflict", "Conflict"),
        (416, "InvalidRange", "Invalid", "Invalid"),
        (400, "InvalidArgument", "Invalid", "Invalid"),
        (503, "SlowDown", "Unavailable", "Unknown"),
        (500, "InternalError", "Unavailable", "Unknown"),
        (502, "", "Unavailable", "Unknown"),
        (501, "NotImplemented", "Unsupported", "Unsupported"),
    ];
    for (status, code, read, write) in table {
        let server = Scripted::start(Some((status, code))).await;
        let store = server.store();
        let error = store.get("dir/key").await.unwrap_err();
        assert_eq!(kind(&error), read, "{status} {code}: {error}");
        let text = error.to_string();
        assert!(text.starts_with("GetObject s3://bucket"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        for condition in [Condition::Absent, Condition::Matches("\"e\"".to_owned())] {
            let before = server.requests();
            let error = store
                .put("dir/key", Bytes::from_static(b"x"), condition)
                .await
                .unwrap_err();
            assert_eq!(kind(&error), write, "{status} {code}: {error}");
            assert_eq!(
                server.requests(),
                before + 1,
                "a conditional write is sent once: {status} {code}"
            );
        }
    }
}

/// A web server that responds to every request with this status and a page.
async fn web_server(status: u16) -> (S3Store, String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read_buf(&mut head).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            let page = "<!doctype html><html><title>console</title></html>";
            let text = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
                page.len()
            );
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let config = StorageConfig {
        endpoint: Some(endpoint.clone()),
        region: None,
        ..StorageConfig::default()
    };
    let store = S3Store::with_credentials("bucket", config, "key", "secret");
    (store, endpoint, task)
}

#[tokio::test]
async fn a_web_server_is_not_taken_for_s3() {
    for status in [200, 404, 405] {
        let (store, endpoint, task) = web_server(status).await;
        let errors = [
            store.get("key").await.map(drop),
            store
                .put("key", Bytes::new(), Condition::Absent)
                .await
                .map(drop),
            store
                .put("key", Bytes::new(), Condition::Always)
                .await
                .map(drop),
            store.list("").await.map(drop),
        ];
        for error in errors {
            let error = error.unwrap_err();
            assert_eq!(kind(&error), "Invalid", "{status}: {error}");
            let text = error.to_string();
            assert!(
                text.contains("this is not S3") && text.contains(&endpoint),
                "{text}"
            );
        }
        task.abort();
    }
    // The response of a proxy while the store behind it is away.
    let (store, _, task) = web_server(503).await;
    let error = store.get("key").await.unwrap_err();
    assert_eq!(kind(&error), "Unavailable", "{error}");
    task.abort();
}

#[tokio::test]
async fn a_server_that_hangs_up_leaves_a_conditional_write_open_and_a_read_unavailable() {
    let server = Scripted::start(None).await;
    let store = server.store();
    let error = store
        .put("key", Bytes::new(), Condition::Absent)
        .await
        .unwrap_err();
    assert_eq!((kind(&error), server.requests()), ("Unknown", 1), "{error}");
    assert_eq!(kind(&store.get("key").await.unwrap_err()), "Unavailable");
    assert!(server.requests() > 2, "a read is tried again");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = StorageConfig {
        endpoint: Some(endpoint),
        region: None,
        ..StorageConfig::default()
    };
    let store = S3Store::with_credentials("bucket", config, "key", "secret");
    let error = tokio::time::timeout(Duration::from_mins(1), store.get("key"))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(kind(&error), "Unavailable", "{error}");
}

#[tokio::test]
async fn a_real_server_refuses_wrong_credentials_and_missing_buckets_by_name() {
    let Some((endpoint, bucket)) = crate::s3_server() else {
        eprintln!(
            "skipped: wrong credentials and buckets on S3: STREAMKEEPER_TEST_S3_ENDPOINT is not set"
        );
        return;
    };
    let config = StorageConfig {
        endpoint: Some(endpoint),
        region: None,
        ..StorageConfig::default()
    };
    let wrong = S3Store::with_credentials(&bucket, config.clone(), "nobody", "wrong");
    let error = wrong.get("key").await.unwrap_err();
    assert_eq!(kind(&error), "AccessDenied", "{error}");
    assert!(
        error.to_string().contains(&format!("s3://{bucket}/key")),
        "{error}"
    );
    let missing = S3Store::new("no-such-bucket-here", config);
    for error in [
        missing.get("key").await.map(drop),
        missing.list("").await.map(drop),
        missing
            .put("key", Bytes::new(), Condition::Absent)
            .await
            .map(drop),
    ] {
        let error = error.unwrap_err();
        assert_eq!(kind(&error), "NoSuchBucket", "{error}");
        assert!(
            error.to_string().contains("s3://no-such-bucket-here"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_large_object_and_many_keys_go_through() {
    let Some((store, prefix)) = crate::s3("large") else {
        return;
    };
    let large = Bytes::from(
        (0..20 << 20)
            .map(|at: u32| (at % 251) as u8)
            .collect::<Vec<_>>(),
    );
    let key = format!("{prefix}/large");
    store
        .put(&key, large.clone(), Condition::Always)
        .await
        .unwrap();
    assert_eq!(store.get(&key).await.unwrap().bytes, large);
    assert_eq!(
        store
            .get_range(&key, 1 << 20..(1 << 20) + 10)
            .await
            .unwrap(),
        large.slice(1 << 20..(1 << 20) + 10)
    );
    // More than one page of a listing.
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let (store, prefix) = (store.clone(), prefix.clone());
        writers.spawn(async move {
            for number in (writer..1100).step_by(16) {
                store
                    .put(
                        &format!("{prefix}/many/{number:04}"),
                        Bytes::new(),
                        Condition::Always,
                    )
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let listed = store.list(&format!("{prefix}/many/")).await.unwrap();
    assert_eq!(listed.len(), 1100);
    assert!(listed.is_sorted_by(|a, b| a.key < b.key));
    crate::clean(&*store, &prefix).await;
}
