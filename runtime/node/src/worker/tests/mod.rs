//! Workers over real sockets, with a coordinator that tests play themselves.
//!
//! * [`job`]: a plan, its input, and what must come out.
//! * [`director`]: the coordinator's side of the control plane.

mod director;
mod faults;
mod job;
mod watermarks;
mod whole;
