//! Relations to the nodes of a plan: fewer columns, fewer steps, then exchanges and kinds of
//! change.
//!
//! * `build`: the steps in their order.
//! * `prune`, `fuse`: unused columns go, neighbouring calculations become one.
//! * `depth`: refuses a plan that is too deep.
//! * `changelog`: which kinds of change every relation brings.
//! * `nodes`: relations to nodes with exchanges; `label`: their names.
//! * `traversal`: which relations lead to a sink, and how many read each.

mod build;
mod changelog;
mod depth;
mod fuse;
mod label;
mod nodes;
mod prune;
mod traversal;

pub(crate) use build::build;
pub(crate) use label::{call_text, window_text};
