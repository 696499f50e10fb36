//! Single behaviours of the flow.
