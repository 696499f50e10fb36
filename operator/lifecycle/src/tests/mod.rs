//! The proofs of the lifecycle.
//! * `grid`: every step with every class of facts; each rule holds in each case.
//! * `snapshot_grid`: the same for snapshots.
//! * `model`: operator, coordinators, pods and HEAD in any order.
//! * `mutants`: every guard taken away once; a rule or a promise fails without it.

mod grid;
mod model;
mod mutants;
mod snapshot_grid;
