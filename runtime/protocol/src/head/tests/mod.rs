//! HEAD: which process may claim a job, what its owner may write, how it is stored, that no
//! interleaving of these makes two owners, and that a test fails without each of the rules.

mod change;
mod claim;
mod golden;
mod model;
mod mutants;
mod records;
