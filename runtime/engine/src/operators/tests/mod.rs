//! Operators against naive recomputation, through freezes, restores and rescales.

mod evolution;
mod groups;
mod naive;
mod plans;
mod run;
mod stateless;
mod windows;
