//! Object stores: S3, a local directory, memory with injected faults. The only crate that depends
//! on the S3 SDK.
//!
//! In reading order:
//! * [`store`]: the trait, its conditions and errors.
//! * [`config`]: how to reach S3; [`uri`]: from a URI to a store.
//! * [`s3`], [`dir`], [`memory`]: the stores; [`write_progress`]: how far a write is.
//! * [`fault`]: a store that fails as configured, for tests.
//! * [`probe`]: checks that a store honours conditional writes, on which all else depends.
//! * [`head`]: reading and swapping `HEAD.json`.
//! * [`manifests`]: reading and writing manifests and plans; [`manifest_outline`]: the objects and
//!   ranges that a manifest names, without holding it.
//! * [`savepoint`]: a checkpoint copied into a folder of its own; [`verify`]: checks that it is
//!   complete and undamaged; [`import`]: copies it back among a job's checkpoints.
//! * [`garbage`]: removes objects that no checkpoint needs any more.
//!
//! It may depend on `streamkeeper-protocol`, which decides; this crate does the I/O.
#![deny(missing_docs)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod config;
pub mod dir;
pub mod fault;
pub mod garbage;
pub mod head;
pub mod import;
pub mod manifest_outline;
pub mod manifests;
pub mod memory;
pub mod probe;
pub mod s3;
pub mod savepoint;
pub mod store;
pub mod uri;
pub mod verify;
pub mod write_progress;

pub use config::{SseKms, StorageConfig};
pub use dir::DirStore;
pub use fault::{Action, Call, Fault, FaultStore, Rule};
pub use garbage::{Collected, collect_garbage, end_stale_uploads};
pub use head::{HeadAccessError, SwapResult, read_head, swap_head};
pub use import::{ImportedObjects, import_objects, import_plan, write_imported_manifest};
pub use manifest_outline::MemoryLimit;
pub use manifests::{read_manifest, read_plan, write_manifest, write_plan};
pub use memory::MemoryStore;
pub use probe::probe;
pub use s3::{RequestLimits, S3Store};
pub use savepoint::{
    Removal, SavepointError, SavepointMetadata, copy_savepoint, delete_savepoint,
    delete_savepoint_within, read_savepoint, read_savepoint_metadata,
};
pub use store::*;
pub use uri::{open, open_within};
pub use verify::{
    Checked, open_savepoint, verify_manifest, verify_savepoint, verify_savepoint_within,
};
pub use write_progress::{BytesSent, WriteProgress};
