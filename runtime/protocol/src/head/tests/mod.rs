//! HEAD: who may claim a job, what its owner may write, how it is stored, that no interleaving of
//! it all makes two owners, and that no rule of these is idle.

mod change;
mod claim;
mod golden;
mod model;
mod mutants;
mod records;
