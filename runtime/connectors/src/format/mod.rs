//! Formats: decode the bytes of an object to rows, and encode rows.
//!
//! * [`options`]: which format a table has, with its options.
//! * [`record`]: where a record ends.
//! * [`decode`]: what all formats share in reading: records, positions, bad records.
//! * [`encode`]: what all formats share in writing.
//! * [`json`], [`csv`], [`raw`]: the formats themselves.

mod csv;
mod decode;
mod encode;
mod json;
mod options;
mod raw;
mod record;

pub(crate) use decode::{BadRecord, Decoded, Decoder, Mark};
pub(crate) use encode::Encoder;
pub(crate) use options::{FORMAT, Format};
