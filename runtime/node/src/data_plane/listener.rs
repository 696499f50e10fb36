//! Connections that come in.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::handshake::{self, PeerId};
use streamkeeper_control::transport::{Acceptor, Transport, Wire};

/// How long a caller may be ahead of this worker's own deployment.
const AHEAD: Duration = Duration::from_secs(25);

/// What this worker waits for.
#[derive(Debug)]
struct Expected {
    me: PeerId,
    arrivals: mpsc::UnboundedSender<(u32, Wire)>,
}

/// The listening socket of a process. One attempt at a time is expected; callers of a later one
/// wait, callers of an earlier one are sent away.
#[derive(Debug)]
pub struct DataPlane {
    expected: watch::Sender<Option<Arc<Expected>>>,
    _accepting: AbortOnDropHandle<()>,
}

impl DataPlane {
    /// Listens until dropped.
    pub fn listen(listener: TcpListener, transport: Transport) -> Self {
        let (expected, watched) = watch::channel(None);
        let acceptor = Acceptor::of_peers(transport, "records of other workers");
        let accepting = tokio::spawn(accept(listener, acceptor, watched));
        Self {
            expected,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    /// From now on expects callers of the attempt of `me`; answers where they arrive, with their
    /// index.
    pub fn expect(&self, me: PeerId) -> mpsc::UnboundedReceiver<(u32, Wire)> {
        let (arrivals, arrived) = mpsc::unbounded_channel();
        self.expected
            .send_replace(Some(Arc::new(Expected { me, arrivals })));
        arrived
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Acceptor,
    expected: watch::Receiver<Option<Arc<Expected>>>,
) {
    loop {
        let pending = acceptor.next(&listener).await;
        let (acceptor, expected) = (acceptor.clone(), expected.clone());
        tokio::spawn(async move {
            let Some((stream, caller)) = acceptor.admit(pending).await else {
                return;
            };
            if let Err(why) = serve(stream, expected).await {
                tracing::warn!(peer = %caller.peer, why, "data connection refused");
            }
        });
    }
}

async fn serve(
    mut stream: Wire,
    mut expected: watch::Receiver<Option<Arc<Expected>>>,
) -> Result<(), String> {
    let hello = handshake::receive(&mut stream)
        .await
        .map_err(|error| error.to_string())?;
    let attempt = hello.from().attempt;
    let due = |expected: &Option<Arc<Expected>>| {
        expected
            .as_ref()
            .is_some_and(|expected| expected.me.attempt >= attempt)
    };
    // In a statement of its own: what guards the watched value must not live across the next wait.
    let waited = timeout(AHEAD, expected.wait_for(due))
        .await
        .map(|expected| expected.ok().and_then(|expected| expected.clone()));
    let Ok(expected) = waited else {
        return refuse(
            stream,
            format!(
                "attempt {attempt} was not deployed here within {} s",
                AHEAD.as_secs()
            ),
        )
        .await;
    };
    let Some(expected) = expected else {
        return Ok(());
    };
    if let Some(why) = hello.objection(&expected.me) {
        return refuse(stream, why).await;
    }
    handshake::welcome(&mut stream)
        .await
        .map_err(|error| error.to_string())?;
    // No subtask takes it any more: the attempt was cancelled, and dropping the stream says so.
    let _ = expected.arrivals.send((hello.from().worker, stream));
    Ok(())
}

async fn refuse(mut stream: Wire, why: String) -> Result<(), String> {
    // The caller may be gone already.
    let _ = handshake::refuse(&mut stream, why.clone()).await;
    Err(why)
}
