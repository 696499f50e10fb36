//! What this operator wrote, by kind.

/// Kinds that are cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    StreamJob,
    StreamSnapshot,
    StatefulSet,
    ControllerRevision,
    Service,
    ConfigMap,
    NetworkPolicy,
    PodDisruptionBudget,
    Pod,
}

/// Something that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// An object has this version now, or a newer one.
    Version { kind: Kind, version: u64 },
    /// This object is gone, or on its way out.
    Gone {
        kind: Kind,
        name: String,
        uid: String,
    },
}

impl Written {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Version { kind, .. } | Self::Gone { kind, .. } => *kind,
        }
    }
}
