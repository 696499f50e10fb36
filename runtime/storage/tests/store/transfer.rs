//! Large objects and slow stores. A server on loopback that knows writes, copies and multipart
//! uploads records its requests and limits how fast it reads.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use streamkeeper_protocol::paths::StatePaths;
use streamkeeper_storage::{
    BytesSent, Condition, ObjectStore, RequestLimits, S3Store, SseKms, StorageConfig, StorageError,
    end_stale_uploads,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Mutex as Turn, watch},
    task::{JoinHandle, JoinSet},
};

#[derive(Default)]
struct Held {
    objects: BTreeMap<String, Vec<u8>>,
    /// Parts of uploads that are neither complete nor given up.
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    requests: Vec<String>,
    /// Head of each request, in lower case.
    heads: Vec<String>,
}

/// How the server treats requests.
#[derive(Clone, Default)]
struct Manner {
    /// Bytes per second that it reads; none: at once.
    rate: Option<u64>,
    /// The link that all its connections share; none: each has that rate for itself.
    link: Option<Arc<Turn<()>>>,
    /// Stale uploads that it lists: key, id, begun; two on a page.
    stale: Vec<(&'static str, &'static str, &'static str)>,
    /// Whether it does not know the request that lists them.
    ignorant: bool,
    /// Part that it refuses.
    refused: Option<u32>,
    /// Part to which it never responds.
    held: Option<u32>,
    /// Whether it responds to one completion of an upload with an error, although it carries it
    /// out.
    deaf: bool,
}

struct Server {
    endpoint: String,
    held: Arc<Mutex<Held>>,
    changed: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (held, (tell, changed)) = (Arc::default(), watch::channel(0));
        let shared: Arc<Mutex<Held>> = Arc::clone(&held);
        let tell = Arc::new(tell);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manner.clone(), shared.clone(), tell.clone()));
            }
        });
        Self {
            endpoint,
            held,
            changed,
            task,
        }
    }

    fn store(&self) -> S3Store {
        self.store_with(StorageConfig::default())
    }

    /// The store with this configuration.
    fn store_with(&self, config: StorageConfig) -> S3Store {
        self.made(
            config,
            RequestLimits {
                base: Duration::from_millis(300),
                condition: Duration::from_millis(300),
                slowest: 256 << 10,
                whole: 1 << 20,
                part: 256 << 10,
            },
        )
    }

    fn store_at(&self, limits: RequestLimits) -> S3Store {
        self.made(StorageConfig::default(), limits)
    }

    fn made(&self, config: StorageConfig, limits: RequestLimits) -> S3Store {
        let config = StorageConfig {
            endpoint: Some(self.endpoint.clone()),
            ..config
        };
        S3Store::with_credentials("bucket", config, "key", "secret").with_limits(limits)
    }

    fn requests(&self) -> Vec<String> {
        self.held.lock().unwrap().requests.clone()
    }

    /// Waits until the server has received what `what` expects.
    async fn until(&self, what: impl Fn(&Held) -> bool) {
        let mut changed = self.changed.clone();
        let held = changed.wait_for(|_| what(&self.held.lock().unwrap()));
        let held = tokio::time::timeout(Duration::from_mins(1), held).await;
        held.expect("the server is never in that state").unwrap();
    }
}

/// Reads a request, at the rate of this server.
async fn read(stream: &mut TcpStream, manner: &Manner) -> Option<(String, Vec<u8>)> {
    let mut got = Vec::new();
    let mut part = vec![
        0;
        if manner.link.is_some() {
            4 << 10
        } else {
            64 << 10
        }
    ];
    loop {
        let end = got.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(got[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>().unwrap())
            });
            if got.len() >= end + 4 + length.unwrap_or(0) {
                return Some((head, got.split_off(end + 4)));
            }
        }
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        got.extend_from_slice(&part[..read]);
        if let Some(rate) = manner.rate {
            let _turn = match &manner.link {
                Some(link) => Some(link.lock().await),
                None => None,
            };
            let micros = u64::try_from(read).unwrap() * 1_000_000 / rate;
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    manner: Manner,
    held: Arc<Mutex<Held>>,
    tell: Arc<watch::Sender<u64>>,
) {
    let Some((head, body)) = read(&mut stream, &manner).await else {
        return;
    };
    let answer = act(&head, body, &manner, &mut held.lock().unwrap());
    tell.send_modify(|turn| *turn += 1);
    let Some((status, headers, body)) = answer else {
        // Held until the client hangs up.
        let _ = stream.read(&mut [0]).await;
        return;
    };
    let length = if headers.to_lowercase().contains("content-length") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let text = format!(
        "HTTP/1.1 {status} X\r\nx-amz-request-id: 1\r\n{headers}{length}Connection: close\r\n\r\n"
    );
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.write_all(&body).await;
    let _ = stream.shutdown().await;
}

/// Status, headers and body of a response.
type Answer = (u16, String, Vec<u8>);

fn act(head: &str, body: Vec<u8>, manner: &Manner, held: &mut Held) -> Option<Answer> {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let (key, query) = path.split_once('?').unwrap_or((path, ""));
    let key = key.to_owned();
    let fields: BTreeMap<&str, &str> = query
        .split('&')
        .map(|field| field.split_once('=').unwrap_or((field, "")))
        .collect();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let upload = fields.get("uploadId").map(|id| (*id).to_owned());
    let number = fields
        .get("partNumber")
        .map(|number| number.parse().unwrap());
    let word = number.map_or_else(String::new, |number: u32| format!(" part {number}"));
    held.requests.push(format!("{method}{word}"));
    held.heads.push(head.to_lowercase());
    let tag = "ETag: \"1\"\r\n".to_owned();
    let gone = || {
        (
            404,
            String::new(),
            b"<Error><Code>NoSuchUpload</Code></Error>".to_vec(),
        )
    };
    let refused = || {
        (
            403,
            String::new(),
            b"<Error><Code>AccessDenied</Code></Error>".to_vec(),
        )
    };
    let from = header("x-amz-copy-source").map(|from| format!("/{}", from.trim_start_matches('/')));
    Some(match (method, upload, number) {
        ("POST", None, _) => {
            let id = format!("u{}", held.requests.len());
            held.uploads.insert(id.clone(), BTreeMap::new());
            let xml = format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            );
            (200, String::new(), xml.into_bytes())
        }
        ("PUT", Some(id), Some(number)) => {
            if manner.refused == Some(number) {
                return Some(refused());
            }
            if manner.held == Some(number) {
                return None;
            }
            let bytes = match from {
                Some(from) => {
                    let range = header("x-amz-copy-source-range").unwrap();
                    let (from_byte, to) = range.strip_prefix("bytes=")?.split_once('-')?;
                    let (from_byte, to): (usize, usize) =
                        (from_byte.parse().unwrap(), to.parse().unwrap());
                    held.objects[&from][from_byte..=to].to_vec()
                }
                None => body,
            };
            held.uploads.get_mut(&id)?.insert(number, bytes);
            let xml = b"<CopyPartResult><ETag>\"1\"</ETag></CopyPartResult>".to_vec();
            (200, tag, xml)
        }
        ("POST", Some(id), _) => match held.uploads.remove(&id) {
            Some(parts) => {
                held.objects
                    .insert(key, parts.into_values().flatten().collect());
                if manner.deaf {
                    return Some((500, String::new(), Vec::new()));
                }
                let xml = "<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>";
                (200, String::new(), xml.into())
            }
            None => gone(),
        },
        ("DELETE", Some(id), _) => {
            held.uploads.remove(&id);
            (204, String::new(), Vec::new())
        }
        ("GET", None, _) if fields.contains_key("uploads") => {
            if manner.ignorant {
                let body = b"<Error><Code>NotImplemented</Code></Error>".to_vec();
                return Some((501, String::new(), body));
            }
            (
                200,
                String::new(),
                uploads(&manner.stale, &fields).into_bytes(),
            )
        }
        ("HEAD", ..) => {
            let length = held.objects[&key].len();
            (
                200,
                format!("{tag}Content-Length: {length}\r\n"),
                Vec::new(),
            )
        }
        ("GET", ..) => (200, tag, held.objects[&key].clone()),
        ("PUT", ..) => {
            let bytes = match from {
                Some(from) => held.objects[&from].clone(),
                None => body,
            };
            held.objects.insert(key, bytes);
            let xml = b"<CopyObjectResult><ETag>\"1\"</ETag></CopyObjectResult>".to_vec();
            (200, tag, xml)
        }
        _ => refused(),
    })
}

/// The page of a list of uploads that follows the requested marker.
fn uploads(all: &[(&str, &str, &str)], fields: &BTreeMap<&str, &str>) -> String {
    let after = fields.get("upload-id-marker");
    let from = after.map_or(0, |id| {
        all.iter().position(|known| known.1 == *id).unwrap() + 1
    });
    let page = &all[from..all.len().min(from + 2)];
    let mut entries = String::new();
    for (key, id, begun) in page {
        let words = [
            "<Upload><Key>",
            key,
            "</Key><UploadId>",
            id,
            "</UploadId><Initiated>",
            begun,
            "</Initiated></Upload>",
        ];
        entries.push_str(&words.concat());
    }
    let more = from + 2 < all.len();
    let (key, id, _) = page.last().copied().unwrap_or_default();
    format!(
        "<ListMultipartUploadsResult><IsTruncated>{more}</IsTruncated><NextKeyMarker>{key}</NextKeyMarker>\
         <NextUploadIdMarker>{id}</NextUploadIdMarker>{entries}</ListMultipartUploadsResult>"
    )
}

fn content(length: usize) -> Bytes {
    (0..length)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect()
}

#[tokio::test]
async fn a_write_may_take_as_long_as_its_size_needs() {
    let rate = Some(1 << 20);
    let server = Server::start(Manner {
        rate,
        ..Manner::default()
    })
    .await;
    let store = server.store();
    for condition in [Condition::Always, Condition::Absent] {
        // One second: more than three times what a request without content may take.
        store.put("a", content(1 << 20), condition).await.unwrap();
    }
    assert_eq!(server.requests(), ["PUT", "PUT"]);
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up() {
    let manner = Manner {
        held: Some(2),
        ..Manner::default()
    };
    let server = Server::start(manner).await;
    let store = server.store_at(RequestLimits {
        slowest: 4 << 20,
        ..server_limits()
    });
    let error = store.put("a", content(2 << 20), Condition::Always).await;
    let error = error.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
    assert!(server.held.lock().unwrap().uploads.is_empty());
    // What got there was not sent again for the sake of what did not.
    let requests = server.requests();
    let sent = |part: &str| requests.iter().filter(|request| *request == part).count();
    assert_eq!(
        (sent("PUT part 1"), sent("PUT part 8")),
        (1, 1),
        "{requests:?}"
    );
    assert!(sent("PUT part 2") > 2, "{requests:?}");
}

/// What a link of four times the slowest rate gives to each of eight that share it is half of what
/// their deadlines assume. After they ran out of time together they get there one by one.
#[tokio::test]
async fn writes_that_share_a_slow_link_get_there_one_by_one() {
    let server = Server::start(shared(4)).await;
    let store = Arc::new(server.store_at(server_limits()));
    let mut waiting: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
    let mut rounds = Vec::new();
    while !waiting.is_empty() && rounds.len() < 4 {
        let mut commits = JoinSet::new();
        for key in waiting.drain(..) {
            let store = store.clone();
            commits.spawn(async move {
                let put = store.put(&key, content(SLOWEST), Condition::Absent);
                put.await.is_err().then_some(key)
            });
        }
        waiting = commits.join_all().await.into_iter().flatten().collect();
        rounds.push(waiting.len());
    }
    assert!(waiting.is_empty(), "{waiting:?} after {rounds:?}");
    // The control: with all of them at once some did not.
    assert!(rounds[0] > 0, "{rounds:?}");
}

#[tokio::test]
async fn an_upload_over_a_slow_link_goes_on_with_the_parts_that_are_missing() {
    let server = Server::start(shared(2)).await;
    let store = server.store_at(server_limits());
    let size = 4 * SLOWEST;
    store
        .put("a", content(size), Condition::Always)
        .await
        .unwrap();
    let requests = server.requests();
    let begun_and_ended = requests.iter().filter(|request| *request == "POST").count();
    assert_eq!(begun_and_ended, 2, "{requests:?}");
    assert_eq!(server.held.lock().unwrap().objects["/bucket/a"].len(), size);
    // The control: four at once ran out of time.
    assert!(requests.len() > 2 + 4, "{requests:?}");
}

/// Bytes per second that a transfer gets at least.
const SLOWEST: usize = 64 << 10;

fn server_limits() -> RequestLimits {
    RequestLimits {
        base: Duration::from_millis(300),
        condition: Duration::from_millis(300),
        slowest: SLOWEST as u64,
        whole: 2 * SLOWEST as u64,
        part: SLOWEST as u64,
    }
}

/// A server behind one link, so many times as fast as the slowest rate.
fn shared(times: u64) -> Manner {
    Manner {
        rate: Some(times * SLOWEST as u64),
        link: Some(Arc::default()),
        ..Manner::default()
    }
}

#[tokio::test]
async fn uploads_of_a_killed_process_are_ended_after_a_day_and_no_others() {
    let (long_ago, of_now) = ("2026-01-01T00:00:00.000Z", "2026-01-02T11:00:00.000Z");
    let server = Server::start(Manner {
        stale: vec![
            ("state/ns/job/data/1", "old-1", long_ago),
            ("state/ns/job/data/2", "new", of_now),
            ("state/ns/other/data/1", "of-another", long_ago),
            ("state/ns/job/data/3", "old-2", long_ago),
            (
                "state/ns/job/savepoints/s/data/1",
                "of-a-savepoint",
                long_ago,
            ),
        ],
        ..Manner::default()
    })
    .await;
    for id in ["old-1", "old-2"] {
        let mut held = server.held.lock().unwrap();
        held.uploads.insert(id.to_owned(), BTreeMap::new());
    }
    let store = server.store();
    let paths = StatePaths::at("state/ns/job");
    let noon = 1_767_355_200_000;
    assert_eq!(end_stale_uploads(&store, &paths, noon).await, 2);
    let requests = server.requests();
    let deleted = requests
        .iter()
        .filter(|request| request.starts_with("DELETE"));
    assert_eq!(deleted.count(), 2, "{requests:?}");
    assert!(server.held.lock().unwrap().uploads.is_empty());
    let pages = requests.iter().filter(|request| *request == "GET").count();
    assert_eq!(pages, 3, "{requests:?}");
}

#[tokio::test]
async fn a_store_that_does_not_know_uploads_is_left_alone() {
    let server = Server::start(Manner {
        ignorant: true,
        ..Manner::default()
    })
    .await;
    let paths = StatePaths::at("state/ns/job");
    assert_eq!(
        end_stale_uploads(&server.store(), &paths, i64::MAX).await,
        0
    );
    assert!(server.requests().iter().all(|request| request == "GET"));
}

#[tokio::test]
async fn a_write_reports_its_progress_and_a_refused_one_counts_once() {
    let server = Server::start(Manner {
        refused: Some(3),
        ..Manner::default()
    })
    .await;
    let store = server.store();
    let moved = BytesSent::default();
    let (object, large) = (moved.object(), content(1 << 20));
    for _ in 0..2 {
        let put = object.count(store.put("a", large.clone(), Condition::Absent));
        put.await.unwrap();
        // The last piece counts with the request that follows it.
        assert!(moved.bytes() >= (1 << 20) - (64 << 10), "{}", moved.bytes());
        assert!(moved.bytes() <= 1 << 20, "{}", moved.bytes());
    }
    let before = moved.bytes();
    let parts = moved.object();
    let put = parts.count(store.put("b", content(2 << 20), Condition::Always));
    put.await.unwrap_err();
    let sent = moved.bytes() - before;
    assert!(sent > 0 && sent <= 2 << 20, "{sent}");
}

#[tokio::test]
async fn a_large_object_is_written_and_copied_in_parts() {
    let server = Server::start(Manner::default()).await;
    let store = server.store();
    let large = content((1 << 20) + 5);
    store
        .put("a", large.clone(), Condition::Always)
        .await
        .unwrap();
    store.copy("a", "b").await.unwrap();
    assert_eq!(store.get("a").await.unwrap().bytes, large);
    assert_eq!(store.get("b").await.unwrap().bytes, large);
    let requests = server.requests();
    let parts = requests.iter().filter(|request| request.contains("part"));
    assert_eq!(parts.count(), 10, "{requests:?}");
    assert!(server.held.lock().unwrap().uploads.is_empty());
}

#[tokio::test]
async fn a_conditional_write_is_one_request_however_large() {
    let server = Server::start(Manner::default()).await;
    let store = server.store();
    store
        .put("a", content(3 << 20), Condition::Absent)
        .await
        .unwrap();
    assert_eq!(server.requests(), ["PUT"]);
}

#[tokio::test]
async fn an_upload_whose_last_answer_is_lost_is_found_to_be_done() {
    let server = Server::start(Manner {
        deaf: true,
        ..Manner::default()
    })
    .await;
    let store = server.store();
    store
        .put("a", content(2 << 20), Condition::Always)
        .await
        .unwrap();
    assert_eq!(store.get("a").await.unwrap().bytes.len(), 2 << 20);
}

#[tokio::test]
async fn an_upload_that_fails_leaves_no_parts_behind() {
    let server = Server::start(Manner {
        refused: Some(3),
        ..Manner::default()
    })
    .await;
    let error = server
        .store()
        .put("a", content(2 << 20), Condition::Always)
        .await;
    assert!(
        matches!(error, Err(StorageError::AccessDenied { .. })),
        "{error:?}"
    );
    assert!(server.held.lock().unwrap().uploads.is_empty());
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_no_parts_behind() {
    let server = Server::start(Manner {
        held: Some(1),
        ..Manner::default()
    })
    .await;
    let store = server.store();
    let writing =
        tokio::spawn(async move { store.put("a", content(2 << 20), Condition::Always).await });
    server
        .until(|held| held.requests.iter().any(|request| request == "PUT part 1"))
        .await;
    writing.abort();
    server.until(|held| held.uploads.is_empty()).await;
}

/// Per request: whether it names the algorithm, whether it names the key, and whether its content
/// is left out of its signature.
async fn said(config: StorageConfig) -> BTreeMap<String, [bool; 3]> {
    let server = Server::start(Manner::default()).await;
    let store = server.store_with(config);
    let (small, large) = (content(100), content(2 << 20));
    store.put("a", small, Condition::Absent).await.unwrap();
    store.put("b", large, Condition::Always).await.unwrap();
    store.copy("a", "c").await.unwrap();
    store.copy("b", "d").await.unwrap();
    store.get("a").await.unwrap();
    let held = server.held.lock().unwrap();
    let requests = held.requests.iter().zip(&held.heads);
    let told = requests.map(|(request, head)| {
        let copies = head.contains("x-amz-copy-source:");
        let first = head.split(' ').nth(1).unwrap_or_default();
        let end = request.starts_with("POST") && first.contains("uploadid=");
        let name = match (copies, end) {
            (true, _) => format!("{request} copied"),
            (_, true) => "POST end".to_owned(),
            (false, false) => request.clone(),
        };
        let said = [
            "x-amz-server-side-encryption: aws:kms",
            "x-amz-server-side-encryption-aws-kms-key-id: alias/streams",
            "x-amz-content-sha256: unsigned-payload",
        ];
        (name, said.map(|line| head.lines().any(|told| told == line)))
    });
    told.collect()
}

#[tokio::test]
async fn what_makes_an_object_names_the_key_that_it_is_encrypted_with() {
    let sse = Some(SseKms {
        key_id: Some("alias/streams".to_owned()),
    });
    let with = said(StorageConfig {
        sse,
        ..StorageConfig::default()
    })
    .await;
    for (request, said) in &with {
        let makes = matches!(request.as_str(), "PUT" | "PUT copied" | "POST");
        assert_eq!(*said, [makes, makes, false], "{request}");
    }
    for request in ["PUT", "PUT copied", "POST", "PUT part 1", "POST end", "GET"] {
        assert!(with.contains_key(request), "{request}: {with:?}");
    }
    let without = said(StorageConfig::default()).await;
    assert!(
        without.values().all(|said| *said == [false; 3]),
        "{without:?}"
    );
}

#[tokio::test]
async fn content_under_tls_is_left_out_of_signatures_if_configured() {
    let unsigned = said(StorageConfig {
        unsigned_payload: true,
        ..StorageConfig::default()
    })
    .await;
    for (request, said) in &unsigned {
        let sends = request == "PUT" || (request.contains("part") && !request.contains("copied"));
        assert_eq!(*said, [false, false, sends], "{request}");
    }
}

#[tokio::test]
async fn a_real_store_makes_the_same_object_of_parts() {
    let Some((endpoint, bucket)) = crate::s3_server() else {
        eprintln!("skipped: objects in parts on S3: STREAMKEEPER_TEST_S3_ENDPOINT is not set");
        return;
    };
    let config = StorageConfig {
        endpoint: Some(endpoint),
        region: None,
        ..StorageConfig::default()
    };
    let store = S3Store::new(&bucket, config).with_limits(RequestLimits {
        whole: 6 << 20,
        part: 5 << 20,
        ..RequestLimits::default()
    });
    let (prefix, large) = (
        format!("parts-{}", ulid::Ulid::generate()),
        content(12 << 20),
    );
    let (a, b) = (format!("{prefix}/a b"), format!("{prefix}/c"));
    store
        .put(&a, large.clone(), Condition::Always)
        .await
        .unwrap();
    store.copy(&a, &b).await.unwrap();
    assert_eq!(store.get(&b).await.unwrap().bytes, large);
    crate::clean(&store, &prefix).await;
}
