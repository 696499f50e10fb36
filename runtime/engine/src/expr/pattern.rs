//! Date patterns in the letters of Java's `DateTimeFormatter`: `yyyy MM dd HH mm ss SSS`, quotes, other characters as they are. Anything else is refused when the
//! expression is compiled.

use super::{ExprError, calendar};

/// A date and time of day, without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Local {
    /// Days since the epoch.
    pub(crate) days: i64,
    /// Microseconds of the day.
    pub(crate) micros: i64,
}

impl Local {
    /// From microseconds since the epoch.
    pub(crate) fn from_micros(micros: i64) -> Self {
        Self { days: micros.div_euclid(calendar::DAY_MICROS), micros: micros.rem_euclid(calendar::DAY_MICROS) }
    }

    /// Microseconds since the epoch.
    pub(crate) fn to_micros(self) -> i64 {
        self.days * calendar::DAY_MICROS + self.micros
    }
}

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
        let refuse = |detail: String| ExprError::new(function, format!("pattern '{pattern}': {detail}"));
        let mut pieces: Vec<Piece> = Vec::new();
        let mut letters = pattern.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\'' => pieces.push(Piece::Text(quoted(&mut letters).ok_or_else(|| refuse("a quote is not closed".to_owned()))?)),
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
                '[' | ']' | '{' | '}' | '#' => return Err(refuse(format!("'{letter}' is not supported"))),
                letter => pieces.push(Piece::Text(letter.to_string())),
            }
        }
        Ok(Self { pieces })
    }

    /// `local` in this pattern.
    pub(crate) fn format(&self, local: Local) -> String {
        use std::fmt::Write;
        let (year, month, day) = calendar::civil_of(local.days);
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

    /// Parses all of `text`; none if it does not fit. Missing fields are those of 1970-01-01 00:00:00; a day beyond its month is the month's last.
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
                    let most = if *width == 2 { 2 } else { self.widest(index, 2) };
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
                    let (up, down) = (10_i64.pow(u32::try_from(6_usize.saturating_sub(*width)).ok()?), 10_i64.pow(u32::try_from(width.saturating_sub(6)).ok()?));
                    micros = fraction * up / down;
                }
            }
        }
        rest.is_empty().then_some(())?;
        local(year, month, day.min(clamp(year, month, day)), (hour, minute, second, micros))
    }

    /// A field of open width takes what it can, but only its least when digits follow at once.
    fn widest(&self, index: usize, most: usize) -> usize {
        if matches!(self.pieces.get(index + 1), None | Some(Piece::Text(_))) { most } else { 1 }
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

fn digits(rest: &mut &str, least: usize, most: usize) -> Option<i64> {
    let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    let (number, after) = rest.split_at(count);
    *rest = after;
    number.parse().ok()
}

/// Java's "smart" resolution: day 29 to 31 becomes the month's last.
fn clamp(year: i64, month: i64, day: i64) -> i64 {
    if (1..=31).contains(&day) { calendar::days_in_month(year, month) } else { day }
}

/// A valid date and time.
fn local(year: i64, month: i64, day: i64, (hour, minute, second, micros): (i64, i64, i64, i64)) -> Option<Local> {
    let is_valid = (0..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=calendar::days_in_month(year, month)).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second);
    is_valid.then(|| Local { days: calendar::days_of(year, month, day), micros: ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros })
}

/// `yyyy-[M]M-[d]d[ [H]H:[m]m:[s]s[.fraction]]`, the fraction with up to 9 digits; `T` may stand for the space.
pub(crate) fn parse_timestamp(text: &str) -> Option<Local> {
    let mut rest = text;
    let year = digits(&mut rest, 4, 4)?;
    rest = rest.strip_prefix('-')?;
    let month = digits(&mut rest, 1, 2)?;
    rest = rest.strip_prefix('-')?;
    let day = digits(&mut rest, 1, 2)?;
    let mut time = (0, 0, 0, 0);
    if !rest.is_empty() {
        rest = rest.strip_prefix([' ', 'T'])?;
        time = parse_clock(rest)?;
    }
    local(year, month, day.min(clamp(year, month, day)), time)
}

/// `[H]H:[m]m:[s]s[.fraction]`.
fn parse_clock(text: &str) -> Option<(i64, i64, i64, i64)> {
    let mut rest = text;
    let hour = digits(&mut rest, 1, 2)?;
    rest = rest.strip_prefix(':')?;
    let minute = digits(&mut rest, 1, 2)?;
    rest = rest.strip_prefix(':')?;
    let second = digits(&mut rest, 1, 2)?;
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let well_formed = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
        micros = well_formed.then(|| format!("{fraction:0<6}"))?.get(..6)?.parse().ok()?;
        rest = "";
    }
    rest.is_empty().then_some((hour, minute, second, micros))
}

/// `H[:m[:s[.fraction]]]`, milliseconds of the day without the fraction.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let number = |part: &str| {
        let part = part.trim();
        let well_formed = matches!(part.len(), 1 | 2) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<i64>().ok().filter(|_| well_formed)
    };
    let hour = number(parts.next()?)?;
    let minute = parts.next().map_or(Some(0), number)?;
    let second = match parts.next() {
        None => 0,
        Some(part) => {
            let (whole, fraction) = part.split_once('.').unwrap_or((part, ""));
            fraction.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
            number(whole)?
        }
    };
    let is_valid = parts.next().is_none() && hour < 24 && minute < 60 && second < 60;
    is_valid.then_some(((hour * 60 + minute) * 60 + second) * 1000)
}

/// `y[-m[-d]]`, what follows a space is ignored.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let text = match text.find(' ') {
        Some(at) if at > 0 => &text[..at],
        _ => text,
    };
    let number = |part: &str| {
        let part = part.trim();
        let well_formed = !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<i64>().ok().filter(|_| well_formed)
    };
    let mut parts = text.splitn(3, '-');
    let year = number(parts.next()?)?;
    let month = parts.next().map_or(Some(1), number)?;
    let day = parts.next().map_or(Some(1), number)?;
    local(year, month, day, (0, 0, 0, 0)).map(|local| local.days)
}

/// `yyyy-MM-dd`.
pub(crate) fn format_date(days: i64) -> String {
    let (year, month, day) = calendar::civil_of(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `HH:mm:ss`.
pub(crate) fn format_time(ms: i64) -> String {
    let seconds = ms / 1000;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `yyyy-MM-dd HH:mm:ss[.fraction]` with at least `precision` digits of fraction, and more only while they are not zero.
pub(crate) fn format_timestamp(local: Local, precision: u8) -> String {
    let mut fraction = format!("{:06}", local.micros % 1_000_000);
    while fraction.len() > usize::from(precision) && fraction.ends_with('0') {
        fraction.pop();
    }
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{} {}{dot}{fraction}", format_date(local.days), format_time(local.micros / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let parse = |pattern: &str, text: &str| show(Pattern::compile(pattern, "f").unwrap().parse(text));
        assert_eq!(parse("yyyyMMddHHmmss", "20240229070809").as_deref(), Some("2024-02-29 07:08:09"));
        assert_eq!(parse("d/M/yyyy", "1/12/2023").as_deref(), Some("2023-12-01 00:00:00"));
        assert_eq!(parse("yyyy-MM-dd", "2023-02-31").as_deref(), Some("2023-02-28 00:00:00"));
        assert_eq!(parse("HH:mm", "07:08").as_deref(), Some("1970-01-01 07:08:00"));
        for (pattern, text) in [("yyyy-MM-dd", "2023-13-01"), ("yyyy-MM-dd", "2023-1-01"), ("yyyy-MM-dd", "2023-01-01 "), ("HH:mm", "24:00")] {
            assert_eq!(parse(pattern, text), None, "{text} as {pattern}");
        }
    }

    #[test]
    fn unknown_letters_are_refused_when_compiled() {
        for pattern in ["EEE", "yyy", "MMM", "hh:mm a", "[HH]", "'open", "SSSSSSSSSS", "yyyy-MM-dd VV"] {
            assert!(Pattern::compile(pattern, "DATE_FORMAT").is_err(), "{pattern}");
        }
    }

    #[test]
    fn texts_become_times_as_in_flink() {
        assert_eq!(show(parse_timestamp("2021-9-7 1:2:3")).as_deref(), Some("2021-09-07 01:02:03"));
        assert_eq!(show(parse_timestamp("2021-09-27T12:34:56.1234567")).as_deref(), Some("2021-09-27 12:34:56.123456"));
        assert_eq!(show(parse_timestamp("2021-09-27")).as_deref(), Some("2021-09-27 00:00:00"));
        assert_eq!(show(parse_timestamp("2021-09-27 12:34:56.")).as_deref(), Some("2021-09-27 12:34:56"));
        for bad in ["123", "2021/09/27", "2021-09-27 12:34", "2021-09-27 25:00:00", "", "2021-09-27x", " 2021-09-27"] {
            assert_eq!(parse_timestamp(bad), None, "{bad}");
        }
        assert_eq!(parse_date("2021-09-27 12:34:56.123456789").map(format_date).as_deref(), Some("2021-09-27"));
        assert_eq!(parse_date("123").map(format_date).as_deref(), Some("0123-01-01"));
        assert_eq!(parse_date("2021-02-30"), None);
        assert_eq!(parse_date("2021/09/27"), None);
        assert_eq!(parse_time("12:34:56.789").map(format_time).as_deref(), Some("12:34:56"));
        assert_eq!(parse_time("2021-09-27"), None);
    }
}
