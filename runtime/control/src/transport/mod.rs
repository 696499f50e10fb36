//! Connections between pods, and from the operator. Every one shows that it belongs to the job.
//!
//! * [`wire`]: a connection, with or without TLS.
//! * [`acceptor`]: connections that come in: who calls, within which deadline, and who is refused.
//! * [`crowd`]: places at a port, for which no connection waits.
//! * [`files`]: the keys of a pod, read from the folder of its Secret.

pub mod acceptor;
pub mod crowd;
pub mod files;
pub mod wire;

use std::{io, sync::Arc, time::Duration};

use streamkeeper_security::{Role, SecurityError, WorkerIdentity};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

pub use acceptor::{Acceptor, Caller, PendingConnection};
pub use crowd::{Crowd, Place};
pub use wire::Wire;

/// How a pod talks to others.
#[derive(Debug, Clone, Default)]
pub enum Transport {
    /// Without keys: for processes that listen on loopback alone.
    #[default]
    Plain,
    /// Without TLS. Every connection and every call that changes something shows the job's token.
    Token(Arc<WorkerIdentity>),
    /// With certificates of the job on both sides, and the token as well.
    Tls(Arc<WorkerIdentity>),
}

fn failed(error: SecurityError) -> io::Error {
    io::Error::other(error)
}

impl Transport {
    /// The keys of this pod; none for a process on loopback.
    pub fn identity(&self) -> Option<&Arc<WorkerIdentity>> {
        match self {
            Self::Plain => None,
            Self::Token(identity) | Self::Tls(identity) => Some(identity),
        }
    }

    /// Connects to the Job API of another pod, within `patience`; the token is shown by the call
    /// itself.
    pub async fn dial(&self, address: &str, patience: Duration) -> io::Result<Wire> {
        timeout(patience, self.connect(address))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Connects to the control plane or the data plane of another pod, within `patience`. The first
    /// bytes are the token.
    pub async fn dial_peer(&self, address: &str, patience: Duration) -> io::Result<Wire> {
        let dialled = async {
            let mut wire = self.connect(address).await?;
            if let Some(identity) = self.identity() {
                let token = identity.token().map_err(failed)?;
                wire.write_all(token.header().as_bytes()).await?;
                wire.flush().await?;
            }
            Ok(wire)
        };
        timeout(patience, dialled)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn connect(&self, address: &str) -> io::Result<Wire> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let Self::Tls(identity) = self else {
            return Ok(Wire::Plain(stream));
        };
        let connector = TlsConnector::from(identity.client().map_err(failed)?);
        let name = identity.server_name().map_err(failed)?;
        let stream = connector.connect(name, stream).await?;
        Ok(Wire::Tls(Box::new(TlsStream::Client(stream))))
    }

    /// The other side of [`Self::connect`], and the role that its certificate proves, if it shows
    /// one.
    async fn answer(&self, stream: TcpStream) -> io::Result<(Wire, Option<Role>)> {
        stream.set_nodelay(true)?;
        let Self::Tls(identity) = self else {
            return Ok((Wire::Plain(stream), None));
        };
        let acceptor = TlsAcceptor::from(identity.server().map_err(failed)?);
        let stream = acceptor.accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let role = identity.role(shown).map_err(failed)?;
        let role = role.ok_or_else(|| io::Error::other("its certificate has just expired"))?;
        Ok((Wire::Tls(Box::new(TlsStream::Server(stream))), Some(role)))
    }
}
