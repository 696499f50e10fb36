//! Why a subtask fails.

/// Why a subtask cannot go on; the job restarts from its last checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An expression failed on a row, as Flink's would: a cast, a division by zero.
    #[error("{operator}: {detail}")]
    Expression {
        /// Label of the operator.
        operator: String,
        /// What failed on which value.
        detail: String,
    },
    /// A connector failed.
    #[error(transparent)]
    Connector(#[from] streamkeeper_connectors::ConnectorError),
    /// State cannot be read or has another shape than its descriptor.
    #[error("{operator}: state '{state}': {detail}")]
    State {
        /// Label of the operator.
        operator: String,
        /// State name.
        state: String,
        /// What is wrong.
        detail: String,
    },
    /// Arrow refused an operation, or the plan contains something that the engine does not support:
    /// a defect of Streamkeeper.
    #[error("{operator}: {detail}")]
    Internal {
        /// Label of the operator.
        operator: String,
        /// What happened.
        detail: String,
    },
}
