//! Authentication within a job: keys, certificates, roles and the token of the Job API.
//!
//! Only one master key of the operator and one key per job are stored; everything else is derived
//! from them and the time (`docs/adr/0007-keys-are-derived.md`).
//!
//! ```text
//! master key ── job key ─┬─ worker key ─┬─ CA of the workers, per epoch ── certificate of the workers, per epoch
//!  (operator)  (operator)│  (Secret)    └─ token of the Job API, per epoch
//!                        └─ CA of the operator (its certificate alone is in the Secret) ── certificate of the operator, per epoch
//! ```
//!
//! * [`key`]: master key, job key, worker key and their derivation.
//! * [`rotation`]: epochs, and which of them are trusted.
//! * [`certificate`]: certificate authorities and the certificates that they sign.
//! * [`material`]: the content of a job's Secret.
//! * [`identity`]: TLS identities of a worker and of the operator in the current epoch.
//!
//! No I/O; the clock is passed in.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod certificate;
pub mod identity;
pub mod key;
pub mod material;
pub mod rotation;

#[cfg(test)]
mod tests;

pub use identity::{OperatorIdentity, Role, WorkerIdentity};
pub use key::{JobKey, KeyError, MasterKey, Token, WorkerKey};
pub use material::Material;
pub use rotation::{Epoch, Rotation};
pub use rustls;

/// Why there is no certificate or no configuration.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// A certificate could not be made or signed.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS does not take what was made, or what the Secret holds.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The set of trusted certificates is empty or invalid.
    #[error("cannot set up the check of certificates: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    /// The clock has no time.
    #[error("the clock does not tell the time")]
    NoTime,
}
