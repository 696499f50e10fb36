//! Converts relations to the nodes of a plan: removes columns and steps, then adds exchanges and
//! kinds of change.
//!
//! * `build`: the steps in their order.
//! * `prune`, `fuse`: removes unused columns, fuses neighbouring calculations.
//! * `depth`: refuses a plan that is too deep.
//! * `changelog`: which kinds of change every relation brings.
//! * `nodes`: converts relations to nodes with exchanges; `label`: their labels.
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
