//! `csv`: fields between delimiters, quoted where they need it.
//!
//! * [`decode`]: a record to a row.
//! * [`encode`]: a row to a record.

mod decode;
mod encode;

pub(super) use decode::RowDecoder;
pub(super) use encode::RowEncoder;

use crate::{ConnectorError, options::Options};

/// Names of the format's options.
pub(super) const OPTIONS: &[&str] = &[
    "csv.field-delimiter",
    "csv.quote-character",
    "csv.disable-quote-character",
    "csv.escape-character",
    "csv.null-literal",
    "csv.allow-comments",
    "csv.ignore-parse-errors",
    "csv.write-bigdecimal-in-scientific-notation",
];

/// Options of `csv`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CsvOptions {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    null: Option<String>,
    comments: bool,
    /// Skip records that are not one, read fields that are not a value as NULL.
    pub(super) ignore_errors: bool,
}

impl CsvOptions {
    pub(super) fn parse(options: Options<'_>) -> Result<Self, ConnectorError> {
        let quoting = !options.boolean("csv.disable-quote-character", false)?;
        let quote = character(options, "csv.quote-character")?;
        if !quoting && quote.is_some() {
            return Err(options.wrong(
                "csv.quote-character",
                "cannot be set together with 'csv.disable-quote-character'",
            ));
        }
        let parsed = Self {
            delimiter: character(options, "csv.field-delimiter")?.unwrap_or(b','),
            quote: quoting.then(|| quote.unwrap_or(b'"')),
            escape: character(options, "csv.escape-character")?,
            null: options.text("csv.null-literal").map(str::to_owned),
            comments: options.boolean("csv.allow-comments", false)?,
            ignore_errors: options.boolean("csv.ignore-parse-errors", false)?,
        };
        let taken = [Some(parsed.delimiter), parsed.quote, parsed.escape];
        if taken
            .iter()
            .enumerate()
            .any(|(at, one)| one.is_some() && taken[..at].contains(one))
        {
            return Err(options.wrong(
                "csv.field-delimiter",
                "field delimiter, quote character and escape character must differ",
            ));
        }
        let scientific = "csv.write-bigdecimal-in-scientific-notation";
        if options.boolean(scientific, false)? {
            return Err(options.wrong(
                scientific,
                "must be false: decimals are always written plain",
            ));
        }
        Ok(parsed)
    }
}

/// A single ASCII character, also written as `\t` or `\\`.
fn character(options: Options<'_>, option: &str) -> Result<Option<u8>, ConnectorError> {
    let Some(text) = options.text(option).filter(|text| !text.contains("${")) else {
        return Ok(None);
    };
    match *text.as_bytes() {
        [one] if one.is_ascii() && one != b'\n' && one != b'\r' => Ok(Some(one)),
        [b'\\', b't'] => Ok(Some(b'\t')),
        [b'\\', one @ (b'\\' | b'"' | b'\'')] => Ok(Some(one)),
        _ => Err(options.wrong(
            option,
            format_args!("'{}' is not a single ASCII character", text.escape_debug()),
        )),
    }
}
