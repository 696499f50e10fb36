//! Why a connector fails.

/// Why a connector failed. Messages say what was tried, on what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// An option of the table is unknown, missing or wrong.
    #[error("table '{table}': {detail}")]
    Option {
        /// Table name.
        table: String,
        /// The option at fault, if one is.
        option: Option<String>,
        /// What is wrong and what is possible.
        detail: String,
    },
    /// A record cannot be decoded.
    #[error("table '{table}': {object} line {line}: {detail}")]
    Record {
        /// Table name.
        table: String,
        /// Object or split.
        object: String,
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// The store failed.
    #[error("table '{table}': {source}")]
    Storage {
        /// Table name.
        table: String,
        /// What happened.
        source: streamkeeper_storage::StorageError,
    },
    /// A row cannot be written.
    #[error("table '{table}': {detail}")]
    Write {
        /// Table name.
        table: String,
        /// Why.
        detail: String,
    },
}
