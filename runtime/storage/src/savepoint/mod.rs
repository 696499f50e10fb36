//! A checkpoint copied into a folder of its own: `{metadata.json, manifest.json, plan.json,
//! data/*}`.
//!
//! Nothing outside the folder is needed to restore from it, and it may be moved: its manifest names
//! objects relative to the folder. `metadata.json` is written last, so a folder with one is whole.
//!
//! * `folder`: what is in the folder, and reading it.
//! * `error`: why a savepoint is refused.
//! * `copy`, `delete`: make one, remove one.

mod copy;
mod delete;
mod error;
pub(crate) mod folder;

pub use self::{
    copy::copy_savepoint,
    delete::{Removal, delete_savepoint, delete_savepoint_within},
    error::SavepointError,
    folder::{SAVEPOINT_FORMAT, SavepointMetadata, read_savepoint, read_savepoint_metadata},
};
