//! The coordinator: a role inside pod 0.
//!
//! It owns HEAD, supervises workers, takes checkpoints and carries out the operations of the Job API. In reading order:
//! * [`config`], [`call`], [`board`]: what it is told, what it is asked, what it shows.

mod board;
mod call;
mod config;

pub use board::Board;
pub use call::{Call, Command, Refusal};
pub use config::{BackOff, CheckpointPolicy, CoordinatorConfig, JobIdentity, StartMode};

/// Something that the coordinator reacts to.
#[derive(Debug)]
pub enum Event {
    /// A call of the Job API.
    Call(Call),
    /// HEAD may have changed: look now.
    Poke,
    /// The process was asked to end within this time.
    Terminate {
        /// Time left.
        grace: std::time::Duration,
    },
}
