//! Flink SQL text to a StreamPlan. The only crate that sees a SQL library.
