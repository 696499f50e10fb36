//! Date patterns in the letters of Java's `DateTimeFormatter`: `yyyy MM dd HH mm ss SSS`, quotes,
//! other characters as they are. Anything else is refused when the expression is compiled.

use super::{
    ExprError,
    datetime_text::{Local, clamp, digits, local},
};
use streamkeeper_protocol::calendar;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// Year, of this many digits at least; two digits mean 2000 to 2099.
    Year(usize),
    Number(Unit, usize),
    Fraction(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

/// A pattern ready to format and to parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    pieces: Vec<Piece>,
}

impl Pattern {
    /// Compiles `pattern` for `function`.
    pub(crate) fn compile(pattern: &str, function: &str) -> Result<Self, ExprError> {
        let refuse =
            |detail: String| ExprError::new(function, format!("pattern '{pattern}': {detail}"));
        let mut pieces: Vec<Piece> = Vec::new();
        let mut letters = pattern.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\'' => pieces.push(Piece::Text(
                    quoted(&mut letters)
                        .ok_or_else(|| refuse("a quote is not closed".to_owned()))?,
                )),
                letter if letter.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while letters.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    let number = |unit| (count <= 2).then_some(Piece::Number(unit, count));
                    let piece = match letter {
                        'y' | 'u' => matches!(count, 1 | 2 | 4).then_some(Piece::Year(count)),
                        'M' => number(Unit::Month),
                        'd' => number(Unit::Day),
                        'H' => number(Unit::Hour),
                        'm' => number(Unit::Minute),
                        's' => number(Unit::Second),
                        'S' => (count <= 9).then_some(Piece::Fraction(count)),
                        _ => None,
                    };
                    let letters: String = std::iter::repeat_n(letter, count).collect();
                    pieces.push(piece.ok_or_else(|| refuse(format!("'{letters}' is not supported; possible are yyyy, MM, dd, HH, mm, ss, SSS and text in quotes")))?);
                }
                '[' | ']' | '{' | '}' | '#' => {
                    return Err(refuse(format!("'{letter}' is not supported")));
                }
                letter => pieces.push(Piece::Text(letter.to_string())),
            }
        }
        Ok(Self { pieces })
    }

    /// `local` in this pattern.
    pub(crate) fn format(&self, local: Local) -> String {
        use std::fmt::Write;
        let (year, month, day) = calendar::civil_from_days(local.days);
        let seconds = local.micros / 1_000_000;
        let mut out = String::new();
        for piece in &self.pieces {
            // Writing to a string cannot fail.
            let _ = match piece {
                Piece::Text(text) => out.write_str(text),
                Piece::Year(2) => write!(out, "{:02}", year.rem_euclid(100)),
                Piece::Year(width) => write!(out, "{year:0width$}"),
                Piece::Number(unit, width) => {
                    let value = match unit {
                        Unit::Month => month,
                        Unit::Day => day,
                        Unit::Hour => seconds / 3600,
                        Unit::Minute => seconds / 60 % 60,
                        Unit::Second => seconds % 60,
                    };
                    write!(out, "{value:0width$}")
                }
                Piece::Fraction(width) => {
                    let nanos = format!("{:09}", local.micros % 1_000_000 * 1000);
                    out.write_str(&nanos[..*width])
                }
            };
        }
        out
    }

    /// Parses all of `text`; none if it does not fit. Missing fields are those of 1970-01-01
    /// 00:00:00; a day beyond its month is the month's last.
    pub(crate) fn parse(&self, text: &str) -> Option<Local> {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        let (mut hour, mut minute, mut second, mut micros) = (0, 0, 0, 0);
        let mut rest = text;
        for (index, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Text(wanted) => rest = rest.strip_prefix(wanted.as_str())?,
                Piece::Year(2) => year = 2000 + digits(&mut rest, 2, 2)?,
                Piece::Year(4) => year = digits(&mut rest, 4, 4)?,
                Piece::Year(_) => year = digits(&mut rest, 1, self.widest(index, 4))?,
                Piece::Number(unit, width) => {
                    let most = if *width == 2 {
                        2
                    } else {
                        self.widest(index, 2)
                    };
                    let value = digits(&mut rest, *width, most)?;
                    match unit {
                        Unit::Month => month = value,
                        Unit::Day => day = value,
                        Unit::Hour => hour = value,
                        Unit::Minute => minute = value,
                        Unit::Second => second = value,
                    }
                }
                Piece::Fraction(width) => {
                    let fraction = digits(&mut rest, *width, *width)?;
                    let (up, down) = (
                        10_i64.pow(u32::try_from(6_usize.saturating_sub(*width)).ok()?),
                        10_i64.pow(u32::try_from(width.saturating_sub(6)).ok()?),
                    );
                    micros = fraction * up / down;
                }
            }
        }
        rest.is_empty().then_some(())?;
        local(
            year,
            month,
            day.min(clamp(year, month, day)),
            (hour, minute, second, micros),
        )
    }

    /// A field of open width takes as many digits as it can, but only its minimum when another
    /// number follows directly.
    fn widest(&self, index: usize, most: usize) -> usize {
        if matches!(self.pieces.get(index + 1), None | Some(Piece::Text(_))) {
            most
        } else {
            1
        }
    }
}

fn quoted(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    // Two quotes are one quote, inside quotes and outside.
    if letters.next_if_eq(&'\'').is_some() {
        return Some("'".to_owned());
    }
    let mut text = String::new();
    loop {
        match letters.next()? {
            '\'' if letters.next_if_eq(&'\'').is_some() => text.push('\''),
            '\'' => return Some(text),
            letter => text.push(letter),
        }
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::datetime_text::{format_timestamp, parse_timestamp};

    fn show(local: Option<Local>) -> Option<String> {
        local.map(|local| format_timestamp(local, 0))
    }

    #[test]
    fn java_patterns_format_and_parse() {
        let at = parse_timestamp("2024-02-29 07:08:09.123456").unwrap();
        for (pattern, text) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2024-02-29 07:08:09.123"),
            ("yyyyMMddHHmmss", "20240229070809"),
            ("d/M/yy H'h'm", "29/2/24 7h8"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSSSS", "2024-02-29T07:08:09.123456"),
            ("'o''clock' HH ''", "o'clock 07 '"),
        ] {
            assert_eq!(Pattern::compile(pattern, "f").unwrap().format(at), text);
        }
        let parse =
            |pattern: &str, text: &str| show(Pattern::compile(pattern, "f").unwrap().parse(text));
        assert_eq!(
            parse("yyyyMMddHHmmss", "20240229070809").as_deref(),
            Some("2024-02-29 07:08:09")
        );
        assert_eq!(
            parse("d/M/yyyy", "1/12/2023").as_deref(),
            Some("2023-12-01 00:00:00")
        );
        assert_eq!(
            parse("yyyy-MM-dd", "2023-02-31").as_deref(),
            Some("2023-02-28 00:00:00")
        );
        assert_eq!(
            parse("HH:mm", "07:08").as_deref(),
            Some("1970-01-01 07:08:00")
        );
        for (pattern, text) in [
            ("yyyy-MM-dd", "2023-13-01"),
            ("yyyy-MM-dd", "2023-1-01"),
            ("yyyy-MM-dd", "2023-01-01 "),
            ("HH:mm", "24:00"),
        ] {
            assert_eq!(parse(pattern, text), None, "{text} as {pattern}");
        }
    }

    #[test]
    fn unknown_letters_are_refused_when_compiled() {
        for pattern in [
            "EEE",
            "yyy",
            "MMM",
            "hh:mm a",
            "[HH]",
            "'open",
            "SSSSSSSSSS",
            "yyyy-MM-dd VV",
        ] {
            assert!(
                Pattern::compile(pattern, "DATE_FORMAT").is_err(),
                "{pattern}"
            );
        }
    }
}
