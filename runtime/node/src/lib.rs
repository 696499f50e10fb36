//! Binary streamjob-runtime: worker and coordinator roles.
