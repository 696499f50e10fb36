//! The HTTP server. Connections, heads and waits are bounded: most callers show who they are only in a header.

use std::{io, sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::transport::{Arrival, Door};

/// Connections of one port at the same time; others wait.
const CONNECTIONS: usize = 256;
/// A caller gets this long to send the head of its request.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Longest head of a request.
const HEAD_LIMIT: usize = 64 << 10;
/// A connection makes one call, and ends after this whatever happens.
const CALL_WITHIN: Duration = Duration::from_mins(2);
/// What is under way when the server ends gets this long.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves `app` to callers whom `door` lets in, until `stop` is cancelled. Routes see a caller as an [`Extension`].
pub(super) async fn serve(
    listener: TcpListener,
    door: Door,
    app: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let arrival = door.next(&listener).await;
            while connections.try_join_next().is_some() {}
            connections.spawn(connection(door.clone(), arrival, app.clone(), place));
        }
    };
    stop.run_until_cancelled(accepting).await;
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(FAREWELL, ended).await;
    Ok(())
}

async fn connection(door: Door, arrival: Arrival, app: Router, _place: OwnedSemaphorePermit) {
    let Some((wire, caller)) = door.admit(arrival).await else {
        return;
    };
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
    use crate::transport::Transport;

    async fn answer(request: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let app = Router::new().route("/", post(|body: String| async move { body }));
        let stop = CancellationToken::new();
        let door = Door::new(Transport::Plain, "a test");
        let server = tokio::spawn(serve(listener, door, app, stop.clone()));
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
