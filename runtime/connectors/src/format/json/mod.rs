//! `json`: one object per line; and the row images inside `debezium-json`.
//!
//! * [`reader`]: a pull parser over one line that keeps numbers as they are written.
//! * [`decode`]: decodes a line to a row.
//! * [`encode`]: encodes a row to a line.

mod decode;
mod encode;
mod reader;

pub(super) use decode::RowDecoder;
pub(super) use encode::RowEncoder;

use crate::{ConnectorError, options::Options, text::TimestampStyle};

/// Names of the options of `json`.
pub(super) const OPTIONS: &[&str] = &[
    "json.ignore-parse-errors",
    "json.fail-on-missing-field",
    "json.timestamp-format.standard",
    "json.encode.decimal-as-plain-number",
    "json.encode.ignore-null-fields",
];

/// Names of the options of `debezium-json`.
pub(super) const DEBEZIUM_OPTIONS: &[&str] = &[
    "debezium-json.ignore-parse-errors",
    "debezium-json.timestamp-format.standard",
    "debezium-json.encode.decimal-as-plain-number",
    "debezium-json.encode.ignore-null-fields",
];

/// Options of `json` and `debezium-json`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct JsonOptions {
    /// Skip lines that are not an object, and read malformed fields as NULL.
    pub(super) ignore_errors: bool,
    fail_on_missing: bool,
    /// Name of the option that chooses the style of timestamps.
    style_option: String,
    style: TimestampStyle,
    omit_nulls: bool,
}

impl JsonOptions {
    pub(super) fn parse(options: Options<'_>, prefix: &str) -> Result<Self, ConnectorError> {
        let name = |option: &str| format!("{prefix}.{option}");
        let style = options.choice(
            &name("timestamp-format.standard"),
            &[
                ("SQL", TimestampStyle::Sql),
                ("ISO-8601", TimestampStyle::Iso8601),
            ],
        )?;
        let parsed = Self {
            ignore_errors: options.boolean(&name("ignore-parse-errors"), false)?,
            fail_on_missing: options.boolean(&name("fail-on-missing-field"), false)?,
            style_option: name("timestamp-format.standard"),
            style: style.unwrap_or_default(),
            omit_nulls: options.boolean(&name("encode.ignore-null-fields"), false)?,
        };
        if parsed.ignore_errors && parsed.fail_on_missing {
            return Err(options.wrong(
                &name("fail-on-missing-field"),
                format_args!(
                    "cannot be true together with '{}'",
                    name("ignore-parse-errors")
                ),
            ));
        }
        let plain = name("encode.decimal-as-plain-number");
        if !options.boolean(&plain, true)? {
            return Err(options.wrong(&plain, "must be true: decimals are always written plain"));
        }
        Ok(parsed)
    }
}
