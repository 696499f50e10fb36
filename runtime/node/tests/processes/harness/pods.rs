//! Names of pods, and what belongs to one.

use std::{fmt, path::PathBuf};

use super::{port::Port, process::Process};

/// A pod: revision, ordinal, and how often a pod of this name was made anew elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodName {
    pub(crate) revision: u64,
    pub(crate) ordinal: u32,
    pub(crate) copy: u32,
}

/// The pod with this ordinal.
pub(crate) fn pod(revision: u64, ordinal: u32) -> PodName {
    PodName {
        revision,
        ordinal,
        copy: 0,
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job-r{}-{}", self.revision, self.ordinal)?;
        match self.copy {
            0 => Ok(()),
            copy => write!(f, " (copy {copy})"),
        }
    }
}

/// Where a pod listens, and its process.
pub(super) struct Pod {
    pub(super) api: Port,
    pub(super) control: Port,
    pub(super) data: Port,
    pub(super) health: Port,
    pub(super) process: Option<Process>,
    pub(super) log: PathBuf,
}
