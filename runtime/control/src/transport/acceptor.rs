//! Connections that come in: who it is, how long it may take to say so, and who is sent away.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use streamkeeper_security::{Role, Token};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{
    Transport, Wire,
    crowd::{Crowd, Place},
};

/// A caller gets this long to show who it is.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// So many may be about to show it at the same time. No connection waits for a place: the oldest
/// makes room.
const AT_A_TIME: usize = 256;
/// So many of them from one address.
const OF_ONE_PEER: usize = 64;
/// Rejected peers that are remembered, so that each is logged once.
const REJECTED_PEERS: usize = 1024;
/// A caller that was refused gets this long to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// First byte of a TLS connection: a record of the handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// What a caller without TLS is read of, at most, before the connection is closed.
const PLAINTEXT_LIMIT: u64 = 64 << 10;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// What its certificate proves; none without TLS.
    pub role: Option<Role>,
    /// Its address.
    pub peer: SocketAddr,
}

/// A connection of which nothing is known yet.
#[derive(Debug)]
pub struct PendingConnection {
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
}

impl PendingConnection {
    /// Its address.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// What a caller of another job is told before the connection is closed; control plane and data
/// plane read it alike.
const WRONG_TOKEN: &[u8] =
    b"{\"is\":\"refused\",\"why\":\"the token shown is not this job's; the pods of a job mount one Secret with its keys\"}";

/// What stands before a port.
#[derive(Debug, Clone)]
pub struct Acceptor {
    transport: Transport,
    /// Whether only workers of the job may pass, whose first bytes are the token.
    peers: bool,
    /// What is behind it, for the log.
    purpose: &'static str,
    /// What a caller without TLS is told, if anything.
    plaintext_answer: &'static [u8],
    crowd: Crowd,
    rejected_peers: Arc<Mutex<HashSet<IpAddr>>>,
}

impl Acceptor {
    /// An acceptor of the Job API, `purpose`: a peer with a certificate of the job passes, and
    /// calls show the token.
    pub fn new(transport: Transport, purpose: &'static str) -> Self {
        Self {
            transport,
            peers: false,
            purpose,
            plaintext_answer: &[],
            crowd: Crowd::new(AT_A_TIME, OF_ONE_PEER),
            rejected_peers: Arc::default(),
        }
    }

    /// An acceptor of a port of workers: only a worker of the job passes, after it has shown the
    /// token.
    pub fn of_peers(transport: Transport, purpose: &'static str) -> Self {
        Self {
            peers: true,
            ..Self::new(transport, purpose)
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
    pub async fn next(&self, listener: &TcpListener) -> PendingConnection {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(place) = self.crowd.enter(peer.ip()) {
                        return PendingConnection {
                            stream,
                            peer,
                            place,
                        };
                    }
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
    pub async fn admit(&self, pending: PendingConnection) -> Option<(Wire, Caller)> {
        let PendingConnection {
            stream,
            peer,
            place,
        } = pending;
        let introduced = timeout(INTRODUCTION, self.introduced(stream));
        let Some(introduced) = place.during(introduced).await else {
            return self.refused(peer, "others came while it said nothing");
        };
        match introduced {
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
        let (mut wire, role) = self.transport.answer(stream).await?;
        if self.peers {
            self.authenticate(&mut wire, role).await?;
        }
        Ok((wire, role))
    }

    /// Reads the token of a worker: so many bytes and no more, whatever else it sends.
    async fn authenticate(&self, wire: &mut Wire, role: Option<Role>) -> io::Result<()> {
        if role == Some(Role::Operator) {
            return Err(io::Error::other(
                "it shows the operator's certificate, and only workers talk here",
            ));
        }
        let Some(identity) = self.transport.identity() else {
            return Ok(());
        };
        let mut shown = [0; Token::HEADER_BYTES];
        wire.read_exact(&mut shown).await.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("it does not show the job's token: {error}"),
            )
        })?;
        if identity.knows(&shown).map_err(io::Error::other)? {
            return Ok(());
        }
        let length = u32::try_from(WRONG_TOKEN.len()).unwrap_or_default();
        wire.write_all(&[&length.to_be_bytes()[..], WRONG_TOKEN].concat())
            .await?;
        wire.shutdown().await?;
        // What is left unread would turn the answer into a reset.
        let mut rest = wire.take(PLAINTEXT_LIMIT);
        let _ = timeout(FAREWELL, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
        Err(io::Error::other("the token it shows is not this job's"))
    }

    /// Once for every peer; the rest only for those who look for it.
    fn refused(&self, peer: SocketAddr, why: &str) -> Option<(Wire, Caller)> {
        let mut rejected_peers = self
            .rejected_peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if rejected_peers.len() >= REJECTED_PEERS {
            rejected_peers.clear();
        }
        let purpose = self.purpose;
        if rejected_peers.insert(peer.ip()) {
            tracing::warn!(%peer, purpose, why, "connection refused; more of this peer are not told");
        } else {
            tracing::debug!(%peer, purpose, why, "connection refused");
        }
        None
    }
}
