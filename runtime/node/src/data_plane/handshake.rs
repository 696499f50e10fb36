//! Who may talk to whom.

use std::{io, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use streamkeeper_control::{
    messages::{read_first_message, write_message},
    transport::{Transport, Wire},
};

/// Version of handshake and frames.
const DATA_FORMAT: u32 = 1;
/// A peer gets this long for each message of the handshake. The answer may wait for the peer's own
/// deployment.
const PATIENCE: Duration = Duration::from_secs(30);

/// One worker in one attempt of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerId {
    /// Uid of the StreamJob.
    pub job_uid: String,
    /// Attempt.
    pub attempt: u64,
    /// Hash of the plan: edges have the same numbers on both sides.
    pub plan_hash: String,
    /// Pod ordinal.
    pub worker: u32,
}

/// First message of a connection.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    format: u32,
    from: PeerId,
    to: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
enum Answer {
    Welcome,
    Refused { why: String },
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// No peer is there, or not yet; another try may help.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer does not want it.
    #[error("refused: {0}")]
    Refused(String),
}

/// Dials a peer and introduces ourselves.
pub(super) async fn dial(
    transport: &Transport,
    address: &str,
    from: &PeerId,
    to: u32,
) -> Result<Wire, HandshakeError> {
    let mut stream = transport.dial_peer(address, Duration::from_secs(5)).await?;
    write_message(
        &mut stream,
        &Hello {
            format: DATA_FORMAT,
            from: from.clone(),
            to,
        },
    )
    .await?;
    let answer = timeout(PATIENCE, read_first_message(&mut stream))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    match answer {
        Some(Answer::Welcome) => Ok(stream),
        Some(Answer::Refused { why }) => Err(HandshakeError::Refused(why)),
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

/// Reads who dials.
pub(super) async fn receive(stream: &mut Wire) -> io::Result<Hello> {
    let hello = timeout(Duration::from_secs(5), read_first_message(stream))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    hello.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Lets the dialler in.
pub(super) async fn welcome(stream: &mut Wire) -> io::Result<()> {
    write_message(stream, &Answer::Welcome).await
}

/// Sends the dialler away.
pub(super) async fn refuse(stream: &mut Wire, why: String) -> io::Result<()> {
    write_message(stream, &Answer::Refused { why }).await
}

impl Hello {
    pub(super) fn from(&self) -> &PeerId {
        &self.from
    }

    /// Why it is not for `me`, if so.
    pub(super) fn objection(&self, me: &PeerId) -> Option<String> {
        let Self { format, from, to } = self;
        if *format != DATA_FORMAT {
            return Some(format!(
                "the caller speaks data format {format}, this worker {DATA_FORMAT}: run one image"
            ));
        }
        if *to != me.worker {
            return Some(format!("this is worker {}, not {to}", me.worker));
        }
        if (&from.job_uid, from.attempt, &from.plan_hash)
            != (&me.job_uid, me.attempt, &me.plan_hash)
        {
            return Some(format!(
                "the caller runs attempt {} of job {} (plan {}), this worker attempt {} of job {} (plan {})",
                from.attempt, from.job_uid, from.plan_hash, me.attempt, me.job_uid, me.plan_hash
            ));
        }
        None
    }
}
