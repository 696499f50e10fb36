//! DATE, TIME, TIMESTAMP and TIMESTAMP_LTZ as text, proleptic Gregorian.

use streamkeeper_protocol::calendar::{civil_from_days, days_from_civil, days_in_month};

use super::TimestampStyle;

const SECONDS_OF_DAY: i64 = 86_400;

/// A point in time: seconds since the epoch and nanoseconds of the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

impl Moment {
    pub(crate) fn from_millis(millis: i64) -> Self {
        // A remainder is non-negative and below its divisor.
        let nanos = u32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap_or(0);
        Self {
            seconds: millis.div_euclid(1_000),
            nanos,
        }
    }

    pub(crate) fn from_micros(micros: i64) -> Self {
        let nanos = u32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
        Self {
            seconds: micros.div_euclid(1_000_000),
            nanos,
        }
    }

    /// In milliseconds, the rest cut off.
    pub(crate) fn millis(self) -> i64 {
        self.seconds * 1_000 + i64::from(self.nanos / 1_000_000)
    }

    /// In microseconds, the rest cut off.
    pub(crate) fn micros(self) -> i64 {
        self.seconds * 1_000_000 + i64::from(self.nanos / 1_000)
    }

    /// With only so many digits of the second's fraction, the rest cut off.
    pub(crate) fn with_precision(self, digits: u8) -> Self {
        let unit = 10_u32.pow(9 - u32::from(digits.min(9)));
        Self {
            nanos: self.nanos / unit * unit,
            ..self
        }
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + i64::from(byte - b'0'))
    })
}

/// `2013-01-01`, in days since the epoch.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let days = date_days(text.as_bytes())?;
    i32::try_from(days).ok()
}

fn date_days(text: &[u8]) -> Option<i64> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let (year, month, day) = (
        number(&text[..4])?,
        number(&text[5..7])?,
        number(&text[8..])?,
    );
    ((1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day))
        .then(|| days_from_civil(year, month, day))
}

/// `05:00:00[.fraction]`, in seconds of the day and nanoseconds; `05:00` where seconds are
/// optional.
fn time_of_day(text: &[u8], seconds_optional: bool) -> Option<(i64, u32)> {
    if text.len() < 5 || text[2] != b':' {
        return None;
    }
    let (hour, minute) = (number(&text[..2])?, number(&text[3..5])?);
    let (second, rest) = match text.get(5) {
        Some(b':') if text.len() >= 8 => (number(&text[6..8])?, &text[8..]),
        None if seconds_optional => (0, &text[5..]),
        _ => return None,
    };
    let nanos = match rest {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            let scale = 10_i64.pow(9 - u32::try_from(digits.len()).ok()?);
            u32::try_from(number(digits)? * scale).ok()?
        }
        _ => return None,
    };
    (hour < 24 && minute < 60 && second < 60)
        .then_some((hour * 3_600 + minute * 60 + second, nanos))
}

/// `05:00:00[.fraction]`, in milliseconds of the day.
pub(crate) fn parse_time(text: &str) -> Option<i32> {
    let (seconds, nanos) = time_of_day(text.as_bytes(), false)?;
    i32::try_from(seconds * 1_000 + i64::from(nanos / 1_000_000)).ok()
}

/// A timestamp in the style; `zoned` ones (TIMESTAMP_LTZ) end with `Z`.
pub(crate) fn parse_timestamp(text: &str, style: TimestampStyle, zoned: bool) -> Option<Moment> {
    let mut text = text.as_bytes();
    if zoned {
        text = text.strip_suffix(b"Z")?;
    }
    let separator = match style {
        TimestampStyle::Sql => b' ',
        TimestampStyle::Iso8601 => b'T',
    };
    if text.len() < 11 || text[10] != separator {
        return None;
    }
    let days = date_days(&text[..10])?;
    let (seconds, nanos) = time_of_day(&text[11..], style == TimestampStyle::Iso8601)?;
    Some(Moment {
        seconds: days * SECONDS_OF_DAY + seconds,
        nanos,
    })
}

fn push_padded(out: &mut Vec<u8>, number: i64, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number.unsigned_abs());
    if number < 0 {
        out.push(b'-');
    }
    out.extend(std::iter::repeat_n(
        b'0',
        width.saturating_sub(digits.len()),
    ));
    out.extend_from_slice(digits.as_bytes());
}

/// `2013-01-01`.
pub(crate) fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    if year > 9_999 {
        out.push(b'+');
    }
    push_padded(out, year, 4);
    out.push(b'-');
    push_padded(out, month, 2);
    out.push(b'-');
    push_padded(out, day, 2);
}

fn write_minutes(out: &mut Vec<u8>, seconds: i64) {
    push_padded(out, seconds / 3_600, 2);
    out.push(b':');
    push_padded(out, seconds / 60 % 60, 2);
}

fn write_seconds(out: &mut Vec<u8>, seconds: i64) {
    write_minutes(out, seconds);
    out.push(b':');
    push_padded(out, seconds % 60, 2);
}

/// `.5`: the fraction without trailing zeros, nothing for none.
fn write_fraction(out: &mut Vec<u8>, nanos: u32) {
    if nanos == 0 {
        return;
    }
    out.push(b'.');
    push_padded(out, i64::from(nanos), 9);
    while out.last() == Some(&b'0') {
        out.pop();
    }
}

/// `05:00:00[.fraction]` of milliseconds of the day.
pub(crate) fn write_time(out: &mut Vec<u8>, millis: i32) {
    let moment = Moment::from_millis(i64::from(millis));
    write_seconds(out, moment.seconds);
    write_fraction(out, moment.nanos);
}

/// A timestamp in the style, its fraction without trailing zeros; `zoned` ones end with `Z`.
pub(crate) fn write_timestamp(
    out: &mut Vec<u8>,
    moment: Moment,
    style: TimestampStyle,
    zoned: bool,
) {
    write_date(out, moment.seconds.div_euclid(SECONDS_OF_DAY));
    out.push(match style {
        TimestampStyle::Sql => b' ',
        TimestampStyle::Iso8601 => b'T',
    });
    write_seconds(out, moment.seconds.rem_euclid(SECONDS_OF_DAY));
    write_fraction(out, moment.nanos);
    if zoned {
        out.push(b'Z');
    }
}

/// A fraction of 3, 6 or 9 digits, as `java.time` prints it.
fn write_java_fraction(out: &mut Vec<u8>, nanos: u32) {
    if nanos == 0 {
        return;
    }
    out.push(b'.');
    let (value, width) = if nanos.is_multiple_of(1_000_000) {
        (nanos / 1_000_000, 3)
    } else if nanos.is_multiple_of(1_000) {
        (nanos / 1_000, 6)
    } else {
        (nanos, 9)
    };
    push_padded(out, i64::from(value), width);
}

fn write_java_time(out: &mut Vec<u8>, seconds: i64, nanos: u32) {
    if seconds % 60 == 0 && nanos == 0 {
        write_minutes(out, seconds);
    } else {
        write_seconds(out, seconds);
        write_java_fraction(out, nanos);
    }
}

/// TIME as `LocalTime.toString`: `05:00`, `05:00:01`, `05:00:00.500`.
pub(crate) fn print_time(out: &mut Vec<u8>, millis: i32) {
    let moment = Moment::from_millis(i64::from(millis));
    write_java_time(out, moment.seconds, moment.nanos);
}

/// TIMESTAMP as `LocalDateTime.toString` (`2013-01-01T05:00`), TIMESTAMP_LTZ as `Instant.toString`
/// (`2013-01-01T05:00:00Z`).
pub(crate) fn print_timestamp(out: &mut Vec<u8>, moment: Moment, zoned: bool) {
    write_date(out, moment.seconds.div_euclid(SECONDS_OF_DAY));
    out.push(b'T');
    let seconds = moment.seconds.rem_euclid(SECONDS_OF_DAY);
    if zoned {
        write_seconds(out, seconds);
        write_java_fraction(out, moment.nanos);
        out.push(b'Z');
    } else {
        write_java_time(out, seconds, moment.nanos);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sql(moment: Moment, zoned: bool) -> String {
        let mut out = Vec::new();
        write_timestamp(&mut out, moment, TimestampStyle::Sql, zoned);
        String::from_utf8(out).unwrap()
    }

    fn java(moment: Moment, zoned: bool) -> String {
        let mut out = Vec::new();
        print_timestamp(&mut out, moment, zoned);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_look_as_in_flink() {
        let five = Moment {
            seconds: 1_357_016_400,
            nanos: 0,
        };
        assert_eq!(sql(five, false), "2013-01-01 05:00:00");
        assert_eq!(
            sql(
                Moment {
                    nanos: 500_000_000,
                    ..five
                },
                true
            ),
            "2013-01-01 05:00:00.5Z"
        );
        assert_eq!(java(five, false), "2013-01-01T05:00");
        assert_eq!(java(five, true), "2013-01-01T05:00:00Z");
        assert_eq!(
            java(
                Moment {
                    nanos: 500_000_000,
                    ..five
                },
                false
            ),
            "2013-01-01T05:00:00.500"
        );
        assert_eq!(
            sql(
                Moment {
                    seconds: -1,
                    nanos: 0
                },
                false
            ),
            "1969-12-31 23:59:59"
        );
    }

    #[test]
    fn impossible_dates_and_foreign_styles_are_refused() {
        for bad in [
            "2013-02-29 00:00:00",
            "2013-13-01 00:00:00",
            "2013-00-01 00:00:00",
            "2013-01-01 24:00:00",
            "2013-01-01 00:60:00",
            "2013-01-01T00:00:00",
            "2013-01-01 00:00:00Z",
            "2013-01-01 00:00",
            "2013-01-01 00:00:00.",
            "2013-01-01 00:00:00.1234567890",
            "2013-1-1 00:00:00",
            "2013-01-01",
            "",
            "2013-01-01 0a:00:00",
        ] {
            assert_eq!(
                parse_timestamp(bad, TimestampStyle::Sql, false),
                None,
                "{bad}"
            );
        }
        assert!(parse_timestamp("2012-02-29 00:00:00", TimestampStyle::Sql, false).is_some());
        assert!(parse_timestamp("2013-01-01T05:00", TimestampStyle::Iso8601, false).is_some());
        assert_eq!(
            parse_timestamp("2013-01-01 05:00:00", TimestampStyle::Sql, true),
            None
        );
    }

    proptest! {
        #[test]
        fn a_timestamp_reads_back_as_written(micros in -62_135_596_800_000_000_i64..253_402_300_799_999_999, zoned: bool) {
            let moment = Moment::from_micros(micros);
            prop_assert_eq!(moment.micros(), micros);
            let read = parse_timestamp(&sql(moment, zoned), TimestampStyle::Sql, zoned);
            prop_assert_eq!(read, Some(moment));
        }

        #[test]
        fn every_day_has_one_date(days in -1_000_000_i64..1_000_000) {
            let (year, month, day) = civil_from_days(days);
            prop_assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
