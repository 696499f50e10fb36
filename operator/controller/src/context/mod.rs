//! What all reconciles share.
//! * [`shared`]: the context itself: clients, settings, caches, and what is remembered of an
//!   object.
//! * `expectations`: what was written and the caches do not show yet.
//! * `rate_limiter`: how often one object is looked at; `turns`: how many at once.
//! * `lost_node_limiter`: how many lost nodes give their pods up at once.

pub(crate) mod expectations;
pub(crate) mod lost_node_limiter;
pub(crate) mod rate_limiter;
pub mod shared;
pub(crate) mod turns;
