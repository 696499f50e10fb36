//! What connects the processes of a job: the control protocol and the connections below it.
//!
//! In reading order:
//! * [`messages`]: what the coordinator and the workers send to each other.
//! * [`transport`]: connections between pods, with or without TLS, and the identity at their other
//!   end.
//! * [`job_api_client`]: a call from one pod to the Job API of another.
//! * [`clock`], [`failpoint`], [`termination_message`]: the time of a process, the steps at which a
//!   test ends it, and the message that it leaves when it ends.
//!
//! It may depend on `protocol` and `security`. It knows neither roles nor jobs.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod clock;
pub mod failpoint;
pub mod job_api_client;
pub mod messages;
pub mod termination_message;
pub mod transport;
