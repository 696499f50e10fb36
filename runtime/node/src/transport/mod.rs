//! Connections between pods, and from the operator: as they are, or TLS 1.3 with a certificate of the job on both sides.
//!
//! * [`wire`]: a connection, whichever it is.
//! * [`door`]: connections that come in: who it is, how long it may take to say so, and who is sent away.
//! * [`files`]: what a pod was given, read from the folder of its Secret.

pub mod door;
pub mod files;
pub mod wire;

use std::{io, sync::Arc, time::Duration};

use streamkeeper_security::{Role, SecurityError, WorkerIdentity};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

pub use door::{Arrival, Caller, Door};
pub use wire::Wire;

/// How a pod talks to others.
#[derive(Debug, Clone, Default)]
pub enum Transport {
    /// Whoever reaches a port may use it.
    #[default]
    Plain,
    /// With certificates of the job.
    Tls(Arc<WorkerIdentity>),
}

fn failed(error: SecurityError) -> io::Error {
    io::Error::other(error)
}

impl Transport {
    /// Connects to another pod of the job, within `patience`.
    pub async fn dial(&self, address: &str, patience: Duration) -> io::Result<Wire> {
        let dialled = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let Self::Tls(identity) = self else {
                return Ok(Wire::Plain(stream));
            };
            let connector = TlsConnector::from(identity.client().map_err(failed)?);
            let name = identity.server_name().map_err(failed)?;
            let stream = connector.connect(name, stream).await?;
            Ok(Wire::Tls(Box::new(TlsStream::Client(stream))))
        };
        timeout(patience, dialled)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// The other side of [`Self::dial`], and who it is; none where nobody asks.
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
