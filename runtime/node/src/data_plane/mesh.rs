//! All connections of one worker in one attempt.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use arrow_buffer::MutableBuffer;
use arrow_schema::SchemaRef;
use futures::{FutureExt, future::BoxFuture};
use streamkeeper_engine::{
    exchange::{
        Credit, Deliver, Envelope, Inbox,
        frame::{FrameKind, HEADER, Header, decode},
    },
    task::Command,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    sync::mpsc,
};
use tokio_util::task::AbortOnDropHandle;

use super::handshake::{self, HandshakeError, PeerId};
use streamkeeper_control::transport::{
    Transport, Wire,
    wire::{WireReader, WireWriter},
};

/// Bytes collected before a system call.
const BUFFER: usize = 128 << 10;

/// Puts frames on the connection to one worker, in order. What is put there after the connection is
/// gone is dropped: its loss has been reported.
#[derive(Debug, Clone)]
pub struct PeerFrames(mpsc::UnboundedSender<Vec<u8>>);

impl PeerFrames {
    /// Sends a frame. Never waits: credit bounds what can pile up.
    pub fn send(&self, frame: Vec<u8>) {
        let _ = self.0.send(frame);
    }
}

/// Where frames from other workers go.
pub struct Routes {
    /// First local subtask.
    pub first: u32,
    /// Inboxes of the local subtasks, in order.
    pub inboxes: Vec<Arc<Inbox<Command>>>,
    /// Credit of channels that start here: by edge, local sender, receiving subtask of the job.
    pub credits: Vec<Vec<Vec<Arc<Credit>>>>,
    /// Rows of each edge.
    pub schemas: Vec<SchemaRef>,
    /// Subtasks per worker.
    pub slots: u32,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routes")
            .field("first", &self.first)
            .finish_non_exhaustive()
    }
}

/// Connections that stand, by worker.
#[derive(Debug, Default)]
pub struct Streams(BTreeMap<u32, Wire>);

impl Streams {
    /// Dials every worker before `me` and waits for every one after it. Tries until it is dropped,
    /// unless a peer refuses for good.
    pub async fn connect(
        transport: &Transport,
        me: PeerId,
        workers: Vec<String>,
        mut arrivals: mpsc::UnboundedReceiver<(u32, Wire)>,
    ) -> Result<Self, String> {
        let count = u32::try_from(workers.len()).unwrap_or(u32::MAX);
        let dialled: Vec<BoxFuture<'static, _>> = (0..me.worker)
            .zip(workers)
            .map(|(worker, address)| {
                let (transport, me) = (transport.clone(), me.clone());
                let dialled = async move {
                    let stream = dial(&transport, &address, &me, worker).await;
                    stream
                        .map(|stream| (worker, stream))
                        .map_err(|error| format!("worker {worker} at {address}: {error}"))
                };
                dialled.boxed()
            })
            .collect();
        let accepted = async {
            let mut accepted: BTreeMap<u32, Wire> = BTreeMap::new();
            while accepted.len() < count.saturating_sub(me.worker + 1) as usize {
                let Some((worker, stream)) = arrivals.recv().await else {
                    return Err("another attempt took over the data plane".to_owned());
                };
                if worker <= me.worker || worker >= count {
                    return Err(format!(
                        "worker {worker} dialled worker {} of {count}",
                        me.worker
                    ));
                }
                // A worker that dials again has lost its first connection.
                accepted.insert(worker, stream);
            }
            Ok(accepted)
        };
        let (dialled, mut streams) =
            futures::future::try_join(futures::future::try_join_all(dialled), accepted).await?;
        streams.extend(dialled);
        Ok(Self(streams))
    }
}

async fn dial(
    transport: &Transport,
    address: &str,
    me: &PeerId,
    worker: u32,
) -> Result<Wire, HandshakeError> {
    let mut pause = Duration::from_millis(20);
    loop {
        match handshake::dial(transport, address, me, worker).await {
            Err(HandshakeError::Io(error)) => {
                tracing::debug!(worker, address, %error, "data connection not there yet");
            }
            done => return done,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// Tasks that move frames; dropped, all connections close.
#[derive(Debug)]
pub struct Mesh {
    /// Keeps connections open when the subtasks are gone: a failed worker must not look like a dead
    /// one.
    _peers: Vec<PeerFrames>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// Connections to be: the sending end for subtasks, and what they put there.
#[derive(Debug, Default)]
pub struct Queues(Vec<(u32, PeerFrames, mpsc::UnboundedReceiver<Vec<u8>>)>);

impl Queues {
    /// A queue for frames to `worker`.
    pub fn open(&mut self, worker: u32) -> PeerFrames {
        let (sender, queue) = mpsc::unbounded_channel();
        let frames = PeerFrames(sender);
        self.0.push((worker, frames.clone(), queue));
        frames
    }
}

impl Mesh {
    /// Starts to move frames. `lost` is called with worker and reason when a connection ends.
    pub fn start(
        streams: Streams,
        queues: Queues,
        routes: Routes,
        lost: impl Fn(u32, String) + Send + Sync + 'static,
    ) -> Self {
        let (mut streams, routes, lost) = (streams.0, Arc::new(routes), Arc::new(lost));
        let (mut tasks, mut peers) = (Vec::new(), Vec::new());
        for (worker, frames, queue) in queues.0 {
            peers.push(frames);
            let Some(stream) = streams.remove(&worker) else {
                lost(worker, "it was never connected".to_owned());
                continue;
            };
            let (read, write) = stream.into_split();
            let (routes, reading, writing) = (routes.clone(), lost.clone(), lost.clone());
            tasks.push(AbortOnDropHandle::new(tokio::spawn(async move {
                if let Err(error) = receive(read, worker, &routes).await {
                    reading(worker, error.to_string());
                }
            })));
            tasks.push(AbortOnDropHandle::new(tokio::spawn(async move {
                if let Err(error) = transmit(write, queue).await {
                    writing(worker, error.to_string());
                }
            })));
        }
        Self {
            _peers: peers,
            _tasks: tasks,
        }
    }
}

async fn transmit(
    write: WireWriter,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
) -> io::Result<()> {
    let mut write = BufWriter::with_capacity(BUFFER, write);
    while let Some(frame) = queue.recv().await {
        write.write_all(&frame).await?;
        // What has come meanwhile shares the system call.
        while let Ok(frame) = queue.try_recv() {
            write.write_all(&frame).await?;
        }
        write.flush().await?;
    }
    Ok(())
}

async fn receive(read: WireReader, worker: u32, routes: &Routes) -> io::Result<()> {
    let mut read = BufReader::with_capacity(BUFFER, read);
    let mut head = [0_u8; HEADER];
    loop {
        read.read_exact(&mut head)
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")
                }
                _ => error,
            })?;
        let header = Header::parse(&head).map_err(io::Error::other)?;
        let mut payload = MutableBuffer::from_len_zeroed(header.payload as usize);
        read.read_exact(payload.as_slice_mut()).await?;
        routes
            .route(worker, &header, payload)
            .map_err(io::Error::other)?;
    }
}

impl Routes {
    fn route(&self, worker: u32, header: &Header, payload: MutableBuffer) -> Result<(), String> {
        let edge = usize::from(header.edge);
        let unknown = || {
            format!(
                "a frame for edge {edge} from subtask {} to {}, which do not belong together",
                header.from, header.to
            )
        };
        if header.kind == FrameKind::Credit {
            // Against the channel's direction: the channel starts here and ends at the peer.
            let local = header.from.checked_sub(self.first).ok_or_else(unknown)? as usize;
            let credit = self
                .credits
                .get(edge)
                .and_then(|senders| senders.get(local))
                .and_then(|receivers| receivers.get(header.to as usize));
            credit
                .filter(|_| header.to / self.slots == worker)
                .ok_or_else(unknown)?
                .give(header.cost);
            return Ok(());
        }
        let local = header.to.checked_sub(self.first).ok_or_else(unknown)? as usize;
        let inbox = self
            .inboxes
            .get(local)
            .filter(|_| header.from / self.slots == worker)
            .ok_or_else(unknown)?;
        let schema = self.schemas.get(edge).ok_or_else(unknown)?;
        let msg = decode(header, &payload.into(), schema).map_err(|error| error.to_string())?;
        inbox
            .deliver(Envelope {
                edge,
                from: header.from,
                cost: header.cost,
                msg,
            })
            .map_err(|error| error.to_string())
    }
}
