//! What the watches have seen. In reading order:
//! * [`written`]: the kinds that are watched, and what this operator wrote of them.
//! * [`progress`]: how far the watches of one kind have come.
//! * [`cache`]: children of jobs; [`lost_nodes`]: nodes; [`multi_namespace_store`]: objects of the
//!   operator's own kinds.
//! * [`caches`]: the table of all of them.
//! * [`unreadable`]: objects that cannot be read cost only themselves.
//! * [`streams`]: the watches, and which job a change belongs to.
//! * [`waiting`]: snapshots that wait for jobs.

pub(crate) mod cache;
pub(crate) mod caches;
pub(crate) mod lost_nodes;
pub(crate) mod multi_namespace_store;
pub(crate) mod progress;
pub(crate) mod streams;
pub(crate) mod unreadable;
pub(crate) mod waiting;
pub(crate) mod written;
