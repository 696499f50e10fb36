//! How rows travel between subtasks.
//!
//! An exchange edge of the plan has one channel per pair of subtasks. Within a channel everything
//! stays in order. Data needs credit, which the receiver returns as it consumes; control messages
//! need none.
//!
//! * [`message`]: what travels.
//! * [`credit`]: the sender's allowance of one channel.
//! * [`inbox`]: what arrives at one subtask, from any thread, and what wakes it.
//! * [`partition`]: which row goes to which subtask.
//! * [`output_channel`]: the sending end of an edge in one subtask.
//! * [`frame`]: messages as bytes, for channels between processes.

pub mod credit;
pub mod frame;
pub mod inbox;
pub mod message;
pub mod output_channel;
pub mod partition;

pub use credit::*;
pub use inbox::*;
pub use message::*;
pub use output_channel::*;
pub use partition::*;
