//! Operators against naive recomputation, through freezes, restores and rescales.

mod evolution;
mod freezes;
mod groups;
mod lateness;
mod naive;
mod plans;
mod run;
mod stateless;
mod values;
mod windows;
