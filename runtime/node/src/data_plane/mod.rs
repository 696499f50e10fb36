//! Data plane: rows between workers.
//!
//! One TCP connection per pair of workers and attempt; the worker with the greater index dials.
//! Both sides name job, attempt, plan and themselves first, and a connection of anything else is
//! closed. Then frames of [`streamkeeper_engine::exchange::frame`] go both ways, data and returned
//! credit alike.
//!
//! * `handshake`: who may talk.
//! * `listener`: connections that come in.
//! * `mesh`: all connections of one worker in one attempt.
//! * `link`: the sending ends of channels to other workers.

mod handshake;
mod link;
mod listener;
mod mesh;

pub use handshake::{HandshakeError, PeerId};
pub use link::{RemoteLink, RemoteReturn};
pub use listener::DataPlane;
pub use mesh::{Mesh, PeerFrames, Queues, Routes, Streams};
