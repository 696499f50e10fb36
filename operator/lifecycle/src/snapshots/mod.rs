//! How StreamSnapshots are taken, imported, verified, kept and removed. In reading order:
//! * [`input`], [`action`], [`folder_work`]: facts and effects of a decision.
//! * `decide`: the pure function [`plan_snapshot`]; `plan_builder`: the plan while it is made.
//! * `take`: a snapshot until it is complete. `retention`: a snapshot afterwards.
//! * `folder`: where the folder of a snapshot is, and whether the operator may act there.
//! * [`needs()`]: which jobs a folder stays for.
//! * `schedule`, `automatic`: snapshots that the operator takes by itself; `final_snapshot`: the
//!   one that a job leaves when it stops.

pub mod action;
pub(crate) mod automatic;
mod decide;
pub(crate) mod final_snapshot;
pub(crate) mod folder;
pub mod folder_work;
pub mod input;
pub(crate) mod needs;
mod plan_builder;
mod retention;
mod schedule;
mod take;

pub use self::{
    action::{SnapshotAction, SnapshotPlan, key},
    decide::{is_at_rest, is_decided_by, plan_snapshot},
    folder_work::{Content, Trouble, TroubleKind, Work, WorkState},
    input::{SnapshotInput, SnapshotJob},
    needs::{Place, needs},
};
