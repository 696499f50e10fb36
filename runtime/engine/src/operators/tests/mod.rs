//! Operators against naive recomputation, through freezes, restores and rescales.

mod evolution;
mod freezes;
mod group_aggregate;
mod late_filter;
mod naive;
mod plans;
mod run;
mod stateless;
mod values;
mod windows;
