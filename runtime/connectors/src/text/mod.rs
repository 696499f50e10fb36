//! Values as text: the one place that defines it, for reading and for writing.
//!
//! * [`time`]: DATE, TIME, TIMESTAMP and TIMESTAMP_LTZ in the SQL and the ISO-8601 style, and as
//!   Java prints them.
//! * [`number`]: DECIMAL, FLOAT and DOUBLE.
//! * [`bytes`]: BYTES as base64.
//! * [`timestamp_hint`]: advice about a text that is not a timestamp of the expected form.

pub(crate) mod bytes;
pub(crate) mod number;
pub(crate) mod time;
pub(crate) mod timestamp_hint;

/// Style of timestamps in JSON and CSV (`json.timestamp-format.standard`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TimestampStyle {
    /// `2013-01-01 05:00:00.5`, TIMESTAMP_LTZ with `Z` after it.
    #[default]
    Sql,
    /// `2013-01-01T05:00:00.5`, TIMESTAMP_LTZ with `Z` after it.
    Iso8601,
}
