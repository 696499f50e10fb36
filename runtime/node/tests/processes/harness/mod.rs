//! What the tests stand on.
//!
//! * [`wait`], [`dice`]: conditions with a deadline, faults with a seed.
//! * [`process`], [`port`]: processes and where they listen; [`relay`]: an address that changes hands; [`api`]: the Job API, called.
//! * [`s3`], [`proxy`]: the server, and one in front of it that fails as told.
//! * [`input`], [`sql`]: what a job reads and does; [`job`]: its pods and its HEAD.
//! * [`ledger`]: is the output what the input says?

pub(crate) mod api;
pub(crate) mod dice;
pub(crate) mod input;
pub(crate) mod job;
pub(crate) mod ledger;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod relay;
pub(crate) mod s3;
pub(crate) mod sql;
pub(crate) mod wait;
