//! A server in front of S3 that fails as told.
//!
//! It forwards the bytes of a request as they are, the `Host` header among them, so signatures stay
//! valid; only connections end after one answer.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 503; the server never hears of it.
    Unavailable,
    /// The answer comes late.
    Slow(Duration),
    /// The server does it; the connection ends without an answer.
    AnswerLost,
    /// The server does it; the answer is 412, as for a write that was sent twice on the way.
    RefusedAfterSuccess,
    /// The server does it; the answer is 500.
    ErrorAfterSuccess,
}

/// A request as far as faults look at it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    /// Lower case.
    headers: String,
}

impl Seen {
    /// Whether it is a write under a condition to a key that contains this.
    pub(crate) fn swaps(&self, key: &str) -> bool {
        self.puts(key) && self.headers.contains("\r\nif-match:")
    }

    /// Whether it creates an object whose key contains this, if there is none.
    pub(crate) fn creates(&self, key: &str) -> bool {
        self.puts(key) && self.headers.contains("\r\nif-none-match:")
    }

    /// Whether it writes to a key that contains this.
    pub(crate) fn puts(&self, key: &str) -> bool {
        self.method == "PUT" && self.path.contains(key)
    }
}

struct Rule {
    fault: Fault,
    hits: Arc<AtomicU64>,
    on: Arc<AtomicBool>,
    matches: Box<dyn Fn(&Seen) -> bool + Send + Sync>,
    /// Every so many matching requests.
    every: u64,
    matched: AtomicU64,
}

/// A rule at work; it ends with this handle.
pub(crate) struct Trouble {
    hits: Arc<AtomicU64>,
    on: Arc<AtomicBool>,
}

impl Trouble {
    /// Requests it befell.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::SeqCst)
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        self.on.store(false, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Rules(Mutex<Vec<Rule>>);

impl Rules {
    fn befalling(&self, seen: &Seen) -> Option<Fault> {
        let mut rules = self.0.lock().unwrap();
        rules.retain(|rule| rule.on.load(Ordering::SeqCst));
        let rule = rules.iter().find(|rule| {
            (rule.matches)(seen)
                && rule
                    .matched
                    .fetch_add(1, Ordering::SeqCst)
                    .is_multiple_of(rule.every)
        })?;
        rule.hits.fetch_add(1, Ordering::SeqCst);
        Some(rule.fault)
    }
}

/// The proxy.
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    rules: Arc<Rules>,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A proxy to this `http://host:port`, that does nothing wrong yet.
    pub(crate) async fn to(server: &str) -> Self {
        let server = server.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let rules = Arc::new(Rules::default());
        let shared = rules.clone();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (server, rules) = (server.clone(), shared.clone());
                connections.spawn(async move {
                    // A client or a server that hangs up is what the tests are about.
                    let _ = serve(client, &server, &rules).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            endpoint,
            rules,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Lets `fault` befall every request that matches, until the answer is dropped.
    pub(crate) fn trouble(
        &self,
        fault: Fault,
        matches: impl Fn(&Seen) -> bool + Send + Sync + 'static,
    ) -> Trouble {
        self.trouble_every(1, fault, matches)
    }

    /// The same for the first, and then for every `every`th of them.
    pub(crate) fn trouble_every(
        &self,
        every: u64,
        fault: Fault,
        matches: impl Fn(&Seen) -> bool + Send + Sync + 'static,
    ) -> Trouble {
        let (hits, on) = (Arc::default(), Arc::new(AtomicBool::new(true)));
        self.rules.0.lock().unwrap().push(Rule {
            fault,
            hits: Arc::clone(&hits),
            on: on.clone(),
            matches: Box::new(matches),
            every,
            matched: AtomicU64::new(0),
        });
        Trouble { hits, on }
    }
}

async fn serve(mut client: TcpStream, server: &str, rules: &Rules) -> io::Result<()> {
    let (head, body) = read_request(&mut client).await?;
    let fault = rules.befalling(&seen(&head));
    if fault == Some(Fault::Unavailable) {
        return answer(&mut client, "503 Service Unavailable", "SlowDown").await;
    }
    let answered = forward(server, &head, &body).await?;
    match fault {
        None | Some(Fault::Unavailable) => {}
        Some(Fault::Slow(by)) => tokio::time::sleep(by).await,
        Some(Fault::AnswerLost) => return Ok(()),
        Some(Fault::RefusedAfterSuccess) => {
            return answer(&mut client, "412 Precondition Failed", "PreconditionFailed").await;
        }
        Some(Fault::ErrorAfterSuccess) => {
            return answer(&mut client, "500 Internal Server Error", "InternalError").await;
        }
    }
    client.write_all(&answered).await?;
    client.shutdown().await
}

/// The head of a request with its empty line, and its body.
async fn read_request(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut body = read.split_off(end);
    let head = String::from_utf8(read).map_err(io::Error::other)?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or("0", |(_, value)| value.trim());
    let length: usize = length.parse().map_err(io::Error::other)?;
    while body.len() < length {
        if client.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((head, body))
}

fn seen(head: &str) -> Seen {
    let mut words = head.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    Seen {
        method: word(),
        path: word(),
        headers: head.to_ascii_lowercase(),
    }
}

/// The server's whole answer.
async fn forward(server: &str, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut upstream = TcpStream::connect(server).await?;
    let (request, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let headers = headers
        .split_inclusive("\r\n")
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"))
        .collect::<String>();
    let head = format!("{request}\r\nConnection: close\r\n{headers}");
    upstream.write_all(head.as_bytes()).await?;
    upstream.write_all(body).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    Ok(answer)
}

async fn answer(client: &mut TcpStream, status: &str, code: &str) -> io::Result<()> {
    let body = format!("<Error><Code>{code}</Code><Message>as the test says</Message></Error>");
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}
