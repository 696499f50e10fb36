//! The HTTP server. Connections, heads and waits are bounded: most callers show who they are only
//! in a header.

use std::{io, sync::Arc, time::Duration};

use axum::{Extension, Router, extract::Request, middleware};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use streamkeeper_control::transport::{Acceptor, Crowd, PendingConnection, Place};

/// Connections of one port at the same time. No connection waits for a place: the oldest that has
/// asked for nothing makes room.
const CONNECTIONS: usize = 256;
/// So many of them from one address, so that others get through whatever one does: the kubelet's
/// probes above all.
const OF_ONE_PEER: usize = 64;
/// A caller gets this long to send the head of its request.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Longest head of a request.
const HEAD_LIMIT: usize = 64 << 10;
/// A connection makes one call, and ends after this whatever happens.
const CALL_WITHIN: Duration = Duration::from_mins(2);
/// What is under way when the server ends gets this long.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves `app` to callers whom `acceptor` lets in, until `stop` is cancelled. Routes see a caller
/// as an [`Extension`].
pub(super) async fn serve(
    listener: TcpListener,
    acceptor: Acceptor,
    app: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let crowd = Crowd::new(CONNECTIONS, OF_ONE_PEER);
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            let pending = acceptor.next(&listener).await;
            while connections.try_join_next().is_some() {}
            let Some(place) = crowd.enter(pending.peer().ip()) else {
                continue;
            };
            connections.spawn(connection(acceptor.clone(), pending, app.clone(), place));
        }
    };
    stop.run_until_cancelled(accepting).await;
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(FAREWELL, ended).await;
    Ok(())
}

async fn connection(acceptor: Acceptor, pending: PendingConnection, app: Router, place: Place) {
    let place = Arc::new(place);
    let _ = place.during(call(acceptor, pending, app, &place)).await;
}

async fn call(acceptor: Acceptor, pending: PendingConnection, app: Router, place: &Arc<Place>) {
    let Some((wire, caller)) = acceptor.admit(pending).await else {
        return;
    };
    let asked = Arc::clone(place);
    let app = app.layer(middleware::map_request(move |request: Request| {
        asked.keep();
        std::future::ready(request)
    }));
    let service = TowerToHyperService::new(app.layer(Extension(caller)));
    let call = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(wire), service);
    match timeout(CALL_WITHIN, call).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(peer = %caller.peer, %error, "a call did not end well"),
        Err(_) => tracing::warn!(peer = %caller.peer, "a call took too long and was cut off"),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use streamkeeper_control::transport::Transport;

    /// A connection to `at` from this address of the loopback.
    async fn from(peer: &str, at: std::net::SocketAddr) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{peer}:0").parse().unwrap()).unwrap();
        socket.connect(at).await.unwrap()
    }

    async fn probe(peer: &str, at: std::net::SocketAddr) -> String {
        let mut stream = from(peer, at).await;
        let request = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// A client that says nothing holds up no other: more than there are places, and of each
    /// address more than its share.
    #[tokio::test]
    async fn a_probe_gets_through_whoever_else_connects_and_says_nothing() {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let at = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let (began, begun) = tokio::sync::oneshot::channel();
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        let work = Arc::new(tokio::sync::Mutex::new(Some((began, finished))));
        let app = Router::new()
            .route("/healthz", axum::routing::get(|| async { "ok" }))
            .route(
                "/slow",
                post(move || async move {
                    let given = work.lock().await.take();
                    let (began, finished) = given.unwrap();
                    began.send(()).unwrap();
                    finished.await.unwrap();
                    "done"
                }),
            );
        let stop = CancellationToken::new();
        let acceptor = Acceptor::new(Transport::Plain, "a test");
        let server = tokio::spawn(serve(listener, acceptor, app, stop.clone()));
        // A call that is under way is not pushed aside.
        let mut slow = from("127.0.0.1", at).await;
        let request = b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
        slow.write_all(request).await.unwrap();
        begun.await.unwrap();
        let mut silent = Vec::new();
        for number in 0..CONNECTIONS + OF_ONE_PEER {
            let peer = format!("127.0.0.{}", 1 + number % 4);
            silent.push(from(&peer, at).await);
        }
        for peer in ["127.0.0.1", "127.0.0.99"] {
            let answer = probe(peer, at).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{peer}: {answer}");
        }
        finish.send(()).unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("done"), "{answer}");
        stop.cancel();
        drop(silent);
        server.await.unwrap().unwrap();
    }

    async fn answer(request: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let app = Router::new().route("/", post(|body: String| async move { body }));
        let stop = CancellationToken::new();
        let acceptor = Acceptor::new(Transport::Plain, "a test");
        let server = tokio::spawn(serve(listener, acceptor, app, stop.clone()));
        let mut stream = TcpStream::connect(at).await.unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(&request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        stop.cancel();
        server.await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_call_is_answered_and_its_connection_closed() {
        let request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
        let answer = answer(request.to_vec()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with("hi"), "{answer}");
    }

    #[tokio::test]
    async fn a_head_beyond_64_kib_is_not_read() {
        let mut request = b"POST / HTTP/1.1\r\nhost: a\r\nx: ".to_vec();
        request.resize(HEAD_LIMIT + 1, b'a');
        let answer = answer(request).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
            "{answer}"
        );
    }
}
