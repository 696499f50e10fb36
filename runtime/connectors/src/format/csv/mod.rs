//! `csv`: fields between delimiters, quoted where they need it.
//!
//! * [`decode`]: decodes a record to a row.
//! * [`encode`]: encodes a row to a record.

mod decode;
mod encode;

pub(super) use decode::RowDecoder;
pub(super) use encode::RowEncoder;

use crate::{ConnectorError, options::Options};

/// Names of the format's options.
pub(super) const OPTIONS: &[&str] = &[
    "csv.field-delimiter",
    "csv.ignore-first-line",
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
    /// Leave out the first record of every object.
    pub(super) ignore_first: bool,
    /// Skip malformed records, and read malformed fields as NULL.
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
            ignore_first: options.boolean("csv.ignore-first-line", false)?,
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

/// A single ASCII character, or an escape of Java for one, like `\t` or `\u0001`.
fn character(options: Options<'_>, option: &str) -> Result<Option<u8>, ConnectorError> {
    let Some(text) = options.text(option).filter(|text| !text.contains("${")) else {
        return Ok(None);
    };
    let one = match *text.as_bytes() {
        [one] => Some(one),
        _ => unescaped(text),
    };
    match one {
        Some(one) if one.is_ascii() && one != b'\n' && one != b'\r' => Ok(Some(one)),
        _ => Err(options.wrong(
            option,
            format_args!(
                "'{}' is not a single ASCII character other than a line end, nor an escape for one \
                 like \\t or \\u0001",
                text.escape_debug()
            ),
        )),
    }
}

/// The character of a whole Java escape: a letter or sign, up to three octal digits, or four
/// hexadecimal digits.
fn unescaped(text: &str) -> Option<u8> {
    let escape = text.strip_prefix('\\')?;
    let one = match escape.as_bytes() {
        b"b" => 8,
        b"t" => b'\t',
        b"n" => b'\n',
        b"f" => 0x0c,
        b"r" => b'\r',
        [one @ (b'\\' | b'"' | b'\'')] => *one,
        [b'0'..=b'7', ..] if escape.len() <= 3 => u8::from_str_radix(escape, 8).ok()?,
        [b'u', ..] => {
            let digits = escape.trim_start_matches('u').trim_start_matches('+');
            let four = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u8::try_from(u32::from_str_radix(digits, 16).ok().filter(|_| four)?).ok()?
        }
        _ => return None,
    };
    Some(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_java_stand_for_one_character() {
        for (text, one) in [
            ("\\t", Some(b'\t')),
            ("\\u0001", Some(1)),
            ("\\uu007C", Some(b'|')),
            ("\\1", Some(1)),
            ("\\001", Some(1)),
            ("\\\\", Some(b'\\')),
            ("\\'", Some(b'\'')),
            ("\\u01", None),
            ("\\u00011", None),
            ("\\u+001", None),
            ("\\u0100", None),
            ("\\8", None),
            ("\\777", None),
            ("\\x", None),
            ("\\", None),
            ("\\tt", None),
            ("||", None),
        ] {
            assert_eq!(unescaped(text), one, "{text}");
        }
    }
}
