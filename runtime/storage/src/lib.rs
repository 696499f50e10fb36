//! Object stores: S3, a local directory, memory with injected faults. The only crate that sees the S3 SDK.
//!
//! * [`store`]: the trait, its conditions and errors.

pub mod store;

pub use store::*;
