//! What the tests stand on.
//!
//! * [`wait`], [`dice`]: conditions with a deadline, faults with a seed.
//! * [`process`], [`port`]: processes and where they listen; [`relay`]: an address that changes
//!   hands; [`api`]: the Job API, called; [`keys`]: with which certificates.
//! * [`s3`], [`proxy`]: the server, and one in front of it that fails as told.
//! * [`input`], [`sql`]: what a job reads and does; [`pods`], [`job`]: its pods; [`calls`]: what it
//!   is asked.
//! * [`ledger`]: is the output what the input says? [`outcome`]: what a job comes to.

pub(crate) mod api;
mod calls;
pub(crate) mod dice;
pub(crate) mod input;
pub(crate) mod job;
pub(crate) mod keys;
pub(crate) mod ledger;
mod outcome;
pub(crate) mod pods;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod relay;
pub(crate) mod s3;
pub(crate) mod sql;
pub(crate) mod wait;
