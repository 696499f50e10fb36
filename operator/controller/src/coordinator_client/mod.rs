//! How the operator talks to a running job, whatever engine runs it.
//!
//! * [`native`]: the Job API of our own runtime over HTTP.

mod native;

use std::{future::Future, pin::Pin, sync::Arc};

pub use native::NativeJobApi;
use streamkeeper_protocol::job_api::{Operation, Preflight, Report, SeenHead};
use streamkeeper_security::OperatorIdentity;

use streamkeeper_lifecycle::JobCall;

/// A boxed answer, so that the Job API is a trait object.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, CallError>> + Send + 'a>>;

/// The coordinator of one revision.
#[derive(Debug, Clone)]
pub struct Coordinator {
    /// `host:port` of its pod 0.
    pub address: String,
    /// How it is talked to.
    pub channel: Channel,
}

/// How a coordinator is talked to.
#[derive(Debug, Clone)]
pub enum Channel {
    /// Without keys: its revision was started before jobs without TLS had any.
    Plain,
    /// Without TLS; calls show the token of its job.
    Token(Arc<OperatorIdentity>),
    /// With certificates of its job, and the token.
    Tls(Arc<OperatorIdentity>),
    /// Not at all: its revision was started under a master key that is not here.
    Unknown {
        /// Fingerprint of that key.
        master_key: String,
    },
}

/// Coordinators, whatever engine runs them.
pub trait JobApi: Send + Sync {
    /// What it knows.
    fn report<'a>(&'a self, of: &'a Coordinator) -> Answer<'a, Report>;

    /// HEAD as it knows it.
    fn head<'a>(&'a self, of: &'a Coordinator) -> Answer<'a, SeenHead>;

    /// Whether it could take over, or start from the snapshot in the folder `from`.
    fn preflight<'a>(&'a self, of: &'a Coordinator, from: Option<&'a str>)
    -> Answer<'a, Preflight>;

    /// An operation by its key; none when the coordinator does not know it.
    fn operation<'a>(&'a self, of: &'a Coordinator, key: &'a str) -> Answer<'a, Option<Operation>>;

    /// Asks for something.
    fn command<'a>(&'a self, of: &'a Coordinator, call: &'a JobCall) -> Answer<'a, Operation>;
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The coordinator does not answer, or not in time. A mutating call may have been taken in: ask
    /// again with the same key.
    #[error("no answer from {address}: {detail}")]
    NoAnswer {
        /// Who was asked.
        address: String,
        /// What happened.
        detail: String,
    },
    /// The coordinator says no.
    #[error("{code}: {message}")]
    Refused {
        /// Code of [`streamkeeper_protocol::job_api::ApiError`].
        code: String,
        /// For people.
        message: String,
    },
    /// The answer makes no sense: another version, or not a coordinator.
    #[error("{address} answered something else than the Job API: {detail}")]
    Garbled {
        /// Who was asked.
        address: String,
        /// What is wrong with it.
        detail: String,
    },
}
