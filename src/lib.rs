//! Streamkeeper operator.
