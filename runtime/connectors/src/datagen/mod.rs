//! `datagen`: generated rows, at any rate, equal after every restart.
//!
//! Rows are numbered 0, 1, 2, … over the whole job, and a row is a pure function of the table and
//! its number: neither parallelism nor restarts change what is produced. Key group `k` of `G` is a
//! split and owns the rows `k, k + G, k + 2·G, …`; a subtask advances its splits evenly, so that
//! its rows come nearly in the order of their numbers.
//!
//! * [`options`]: makes one generator per column from the table's options.
//! * [`generator`]: makes columns from generators and row numbers.
//! * [`split`]: which row numbers come next; positions.
//! * [`rate_limiter`]: the rate, `rows-per-second`.

mod generator;
mod options;
mod rate_limiter;
mod split;
#[cfg(test)]
mod tests;

use generator::Schedule;
use rate_limiter::{Allowed, RateLimiter};
use split::Splits;

use crate::{
    ConnectorError,
    batch::Batch,
    options::Options,
    source::{Polled, Source, SourceContext, SplitState},
};

/// Checks the options of a table; returns whether the table is bounded.
pub(crate) fn check(options: Options<'_>) -> Result<bool, ConnectorError> {
    Ok(options::DatagenOptions::parse(options)?.is_bounded)
}

/// Opens the source of one subtask.
pub(crate) fn open(context: SourceContext) -> Result<Box<dyn Source>, ConnectorError> {
    let options = options::DatagenOptions::parse(Options::new(&context.table))?;
    let splits = Splits::new(&context, options.rows)?;
    let rate = RateLimiter::new(&context, options.rows_per_second);
    let schedule = Schedule {
        origin_ms: splits.origin_ms(),
        rows_per_second: options.rows_per_second,
    };
    Ok(Box::new(Datagen {
        context,
        options,
        splits,
        rate,
        schedule,
        numbers: Vec::new(),
    }))
}

struct Datagen {
    context: SourceContext,
    options: options::DatagenOptions,
    splits: Splits,
    rate: RateLimiter,
    schedule: Schedule,
    numbers: Vec<u64>,
}

impl Source for Datagen {
    fn poll(&mut self, max_rows: usize) -> Result<Polled, ConnectorError> {
        if self.splits.at_end() {
            return Ok(match self.options.rows {
                Some(_) => Polled::End,
                None => Polled::Idle,
            });
        }
        let Allowed::Rows(allowed) = self.rate.allow(max_rows.max(1)) else {
            return Ok(Polled::Pending);
        };
        self.numbers.clear();
        self.splits.advance(allowed, &mut self.numbers);
        self.rate.spend(self.numbers.len());
        let rows = generator::rows(
            &self.options.columns,
            &self.options.schema,
            &self.schedule,
            &self.numbers,
        )
        .map_err(|detail| ConnectorError::Option {
            table: self.context.table.name.clone(),
            option: None,
            detail,
        })?;
        Ok(Polled::Rows(Batch::inserts(rows)))
    }

    fn changed_splits(&mut self) -> Vec<SplitState> {
        self.splits.take_changed()
    }
}
