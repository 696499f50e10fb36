//! Workers over real sockets, with a coordinator that tests play themselves.
//!
//! * [`job`]: a plan, its input, and what must come out.
//! * [`coordinator`]: the coordinator's side of the control plane.

mod fake_coordinator;
mod faults;
mod job;
mod watermarks;
mod whole;
