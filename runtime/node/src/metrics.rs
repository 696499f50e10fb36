//! What `/metrics` shows.

/// Placeholder.
#[derive(Debug, Default)]
pub struct Metrics {}

impl Metrics {
    /// OpenMetrics text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        Ok("# EOF\n".to_owned())
    }
}
