//! Why an expression fails.

/// An expression that cannot be compiled, or that failed on a row as Flink's would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{function}: {detail}")]
pub struct ExprError {
    /// The function, as in SQL.
    pub function: String,
    /// What failed, on which value.
    pub detail: String,
    /// Whether the texts of all rows are too much at once: fewer rows may do.
    pub crowded: bool,
}

impl ExprError {
    /// A failure of `function`.
    pub fn new(function: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            function: function.into(),
            detail: detail.into(),
            crowded: false,
        }
    }
}

impl From<arrow_schema::ArrowError> for ExprError {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::new("expression", error.to_string())
    }
}
