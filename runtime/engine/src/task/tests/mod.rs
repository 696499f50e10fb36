//! Subtasks driven step by step, without threads, sockets or time.
//!
//! * [`parts`]: a source, operators and a sink made for checking.
//! * [`rig`]: a whole job in one thread: subtasks, wires that deliver at random, and a coordinator.
//! * [`exactly_once`]: after any interleaving, crash and rescale the output is that of one
//!   undisturbed pass.

mod exactly_once;
mod flow;
mod parts;
mod rig;
