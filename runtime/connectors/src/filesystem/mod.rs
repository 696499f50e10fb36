//! `filesystem`: objects of S3 or files of a directory, read and written.
//!
//! A split of the source is an object; the key group of its key decides which subtask reads it.
//! Output of an epoch is one object per subtask, staged in the checkpoint and committed after it.
//!
//! * [`options`]: the table's options.
//! * [`table_store`]: the store of a table.
//! * [`position`]: how far an object was read, as state.
//! * [`compression`]: how objects are compressed, and gzip.
//! * [`object_filter`]: which objects belong to the table.
//! * [`object_decoder`]: decodes the bytes of an object to rows, in one thread.
//! * [`warnings`]: warnings for the author of a table, each logged once.
//! * [`reader`]: the task that lists, fetches and decodes ahead.
//! * [`source`]: the source, which runs on the thread of its slot.
//! * [`sink`]: the sink, which stages files in the checkpoint.
//! * [`commit`]: the committer, which writes staged files to their place.

mod commit;
mod compression;
mod object_decoder;
mod object_filter;
mod options;
mod position;
mod reader;
mod sink;
mod source;
mod table_store;
#[cfg(test)]
mod tests;
mod warnings;

pub(crate) use commit::open as open_committer;
pub(crate) use options::check;
pub(crate) use sink::open as open_sink;
pub(crate) use source::{misfit_values, open as open_source};
