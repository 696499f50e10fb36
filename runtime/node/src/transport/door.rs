//! Connections that come in: who it is, how long it may take to say so, and who is sent away.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use streamkeeper_security::Role;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Transport, Wire};

/// A caller gets this long to show who it is.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// So many may be about to show it at the same time; others wait.
const AT_A_TIME: usize = 64;
/// Strangers that are remembered, so that each is complained about once.
const STRANGERS: usize = 1024;
/// First byte of a TLS connection: a record of the handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// What a caller without TLS is read of, at most, before the connection is closed.
const PLAINTEXT_LIMIT: u64 = 64 << 10;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// What it may do; none where nobody asks.
    pub role: Option<Role>,
    /// Its address.
    pub peer: SocketAddr,
}

/// A connection of which nothing is known yet.
#[derive(Debug)]
pub struct Arrival {
    stream: TcpStream,
    peer: SocketAddr,
    _place: Option<OwnedSemaphorePermit>,
}

/// What stands before a port.
#[derive(Debug, Clone)]
pub struct Door {
    transport: Transport,
    /// What is behind it, for the log.
    purpose: &'static str,
    /// What a caller without TLS is told, if anything.
    plaintext_answer: &'static [u8],
    places: Arc<Semaphore>,
    strangers: Arc<Mutex<HashSet<IpAddr>>>,
}

impl Door {
    /// A door before what is there for `purpose`.
    pub fn new(transport: Transport, purpose: &'static str) -> Self {
        Self {
            transport,
            purpose,
            plaintext_answer: &[],
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            strangers: Arc::default(),
        }
    }

    /// The same; a caller without TLS gets this answer before the connection is closed.
    #[must_use]
    pub fn answering(self, plaintext_answer: &'static [u8]) -> Self {
        Self {
            plaintext_answer,
            ..self
        }
    }

    /// The next connection. Tries on when there is none to be had.
    pub async fn next(&self, listener: &TcpListener) -> Arrival {
        // Never closed, so there always is a place in the end.
        let place = self.places.clone().acquire_owned().await.ok();
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    return Arrival {
                        stream,
                        peer,
                        _place: place,
                    };
                }
                Err(error) => {
                    // Out of descriptors, most likely: others may be freed.
                    tracing::warn!(%error, purpose = self.purpose, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Lets a connection in, once its caller is known; others are sent away.
    pub async fn admit(&self, arrival: Arrival) -> Option<(Wire, Caller)> {
        let Arrival { stream, peer, .. } = arrival;
        match timeout(INTRODUCTION, self.introduced(stream)).await {
            Ok(Ok((wire, role))) => Some((wire, Caller { role, peer })),
            Ok(Err(error)) => self.refused(peer, &error.to_string()),
            Err(_) => self.refused(
                peer,
                &format!(
                    "it did not introduce itself within {} s",
                    INTRODUCTION.as_secs()
                ),
            ),
        }
    }

    async fn introduced(&self, mut stream: TcpStream) -> io::Result<(Wire, Option<Role>)> {
        if matches!(self.transport, Transport::Tls(_)) {
            let mut first = [0];
            if stream.peek(&mut first).await? == 0 {
                return Err(io::Error::other("it closed the connection at once"));
            }
            if first[0] != TLS_HANDSHAKE {
                stream.write_all(self.plaintext_answer).await?;
                stream.shutdown().await?;
                // What is left unread would turn the answer into a reset.
                let mut rest = stream.take(PLAINTEXT_LIMIT);
                let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
                return Err(io::Error::other("it does not speak TLS"));
            }
        }
        self.transport.answer(stream).await
    }

    /// Once for every peer; the rest only for those who look for it.
    fn refused(&self, peer: SocketAddr, why: &str) -> Option<(Wire, Caller)> {
        let mut strangers = self
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if strangers.len() >= STRANGERS {
            strangers.clear();
        }
        let purpose = self.purpose;
        if strangers.insert(peer.ip()) {
            tracing::warn!(%peer, purpose, why, "connection refused; more of this peer are not told");
        } else {
            tracing::debug!(%peer, purpose, why, "connection refused");
        }
        None
    }
}
