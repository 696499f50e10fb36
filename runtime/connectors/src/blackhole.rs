//! `blackhole`: takes every row and keeps none. For benchmarks.

use crate::{
    ConnectorError,
    batch::Batch,
    options::Options,
    sink::{Committable, Sink},
};

/// Checks the options of a table: there are none.
pub(crate) fn check(options: Options<'_>) -> Result<(), ConnectorError> {
    options.refuse_sink_parallelism()?;
    options.refuse_unknown(&[], |_| false)
}

/// The sink.
#[derive(Debug)]
pub(crate) struct Blackhole;

impl Sink for Blackhole {
    fn write(&mut self, _batch: &Batch) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn prepare(&mut self, _checkpoint: u64) -> Result<Option<Committable>, ConnectorError> {
        Ok(None)
    }
}
