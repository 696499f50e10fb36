//! The worker: a role in every pod.
//!
//! It dials its coordinator and does what it is told: builds the graph, restores state, takes
//! checkpoints, commits. It decides nothing about the job. In reading order:
//! * `config`: what it is told at the start.
//! * `session`: the connection to the coordinator.
//! * `worker_loop`: the one loop in which everything is decided; `events`: what it handles.
//! * `deploy`, `layout`, `restore`, `channels`, `assembly`, `graph`: from a `Deploy` to running
//!   subtasks.
//! * `checkpoint`, `store`: from frozen state to a share of a manifest.
//! * `commit`: sink output until it is committed.
//! * `failure`, `liveness`: what it tells about itself.

mod assembly;
mod channels;
mod checkpoint;
mod commit;
mod config;
mod deploy;
mod events;
mod failure;
mod graph;
mod layout;
mod liveness;
mod memory;
mod restore;
mod session;
mod store;
#[cfg(test)]
mod tests;
mod worker_loop;

pub use config::WorkerConfig;
pub use worker_loop::run;
