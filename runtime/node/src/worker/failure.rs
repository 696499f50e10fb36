//! Why a graph cannot be built or go on, and what a restart can do about it.

use streamkeeper_connectors::ConnectorError;
use streamkeeper_engine::EngineError;
use streamkeeper_state::StateError;
use streamkeeper_storage::StorageError;

use streamkeeper_control::messages::FailureKind;
use streamkeeper_tables::variables::VariableError;

/// A failure as the coordinator hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(super) fn state(operator: &str, state: &str, error: &StateError) -> Self {
        let kind = match error {
            StateError::Storage(error) => of_storage(error),
            _ => FailureKind::State,
        };
        Self::new(
            kind,
            format!("{operator}: restoring state '{state}': {error}"),
        )
    }
}

fn of_storage(error: &StorageError) -> FailureKind {
    match error {
        StorageError::AccessDenied { .. } | StorageError::NoSuchBucket { .. } => {
            FailureKind::StorageAccess
        }
        _ => FailureKind::Transient,
    }
}

fn of_connector(error: &ConnectorError) -> FailureKind {
    match error {
        ConnectorError::Option { .. } => FailureKind::Configuration,
        ConnectorError::Record { .. } | ConnectorError::Write { .. } => FailureKind::Data,
        ConnectorError::Storage { source, .. } => of_storage(source),
    }
}

impl From<ConnectorError> for Failure {
    fn from(error: ConnectorError) -> Self {
        Self::new(of_connector(&error), error.to_string())
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let kind = match &error {
            EngineError::Expression { .. } => FailureKind::Data,
            EngineError::Connector(error) => of_connector(error),
            EngineError::State { .. } => FailureKind::State,
            EngineError::Internal { .. } => FailureKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<VariableError> for Failure {
    fn from(error: VariableError) -> Self {
        Self::new(FailureKind::Configuration, error.to_string())
    }
}
