//! What users write and read: the `StreamJob` type, its rules and its conditions. No I/O.
//!
//! * [`v1alpha1`]: spec and status of a `StreamJob`.
//! * [`crd`]: the CustomResourceDefinition, as it stands in `crds/`.
//! * [`condition`]: condition types, reasons, and how they change.
//! * [`duration`]: Go durations such as `1h30m`.
//! * [`names`]: names, labels and annotations of everything that belongs to a job.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod condition;
pub mod crd;
pub mod duration;
pub mod names;
pub mod v1alpha1;
