//! Dates and times of day without a zone as texts, in the forms that SQL reads and writes.

use streamkeeper_protocol::calendar;

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
        Self {
            days: micros.div_euclid(calendar::DAY_MICROS),
            micros: micros.rem_euclid(calendar::DAY_MICROS),
        }
    }

    /// Microseconds since the epoch.
    pub(crate) fn to_micros(self) -> i64 {
        self.days * calendar::DAY_MICROS + self.micros
    }
}

pub(super) fn digits(rest: &mut &str, least: usize, most: usize) -> Option<i64> {
    let count = rest
        .bytes()
        .take(most)
        .take_while(u8::is_ascii_digit)
        .count();
    if count < least {
        return None;
    }
    let (number, after) = rest.split_at(count);
    *rest = after;
    number.parse().ok()
}

/// Java's "smart" resolution: day 29 to 31 becomes the month's last.
pub(super) fn clamp(year: i64, month: i64, day: i64) -> i64 {
    if (1..=31).contains(&day) {
        calendar::days_in_month(year, month)
    } else {
        day
    }
}

/// A valid date and time.
pub(super) fn local(
    year: i64,
    month: i64,
    day: i64,
    (hour, minute, second, micros): (i64, i64, i64, i64),
) -> Option<Local> {
    let is_valid = (0..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=calendar::days_in_month(year, month)).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second);
    is_valid.then(|| Local {
        days: calendar::days_from_civil(year, month, day),
        micros: ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros,
    })
}

/// `yyyy-[M]M-[d]d[ [H]H:[m]m:[s]s[.fraction]]`, the fraction with up to 9 digits; `T` may stand
/// for the space.
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
        micros = well_formed
            .then(|| format!("{fraction:0<6}"))?
            .get(..6)?
            .parse()
            .ok()?;
        rest = "";
    }
    rest.is_empty().then_some((hour, minute, second, micros))
}

/// `H[:m[:s[.fraction]]]`, milliseconds of the day without the fraction.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let number = |part: &str| {
        let part = part.trim();
        let well_formed =
            matches!(part.len(), 1 | 2) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<i64>().ok().filter(|_| well_formed)
    };
    let hour = number(parts.next()?)?;
    let minute = parts.next().map_or(Some(0), number)?;
    let second = match parts.next() {
        None => 0,
        Some(part) => {
            let (whole, fraction) = part.split_once('.').unwrap_or((part, ""));
            fraction
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then_some(())?;
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
        let well_formed =
            !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
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
    let (year, month, day) = calendar::civil_from_days(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `HH:mm:ss`.
pub(crate) fn format_time(ms: i64) -> String {
    let seconds = ms / 1000;
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// `yyyy-MM-dd HH:mm:ss[.fraction]` with at least `precision` digits of fraction, and more only
/// while they are not zero.
pub(crate) fn format_timestamp(local: Local, precision: u8) -> String {
    let mut fraction = format!("{:06}", local.micros % 1_000_000);
    while fraction.len() > usize::from(precision) && fraction.ends_with('0') {
        fraction.pop();
    }
    let dot = if fraction.is_empty() { "" } else { "." };
    format!(
        "{} {}{dot}{fraction}",
        format_date(local.days),
        format_time(local.micros / 1000)
    )
}
#[cfg(test)]
mod tests {
    use super::*;

    fn show(local: Option<Local>) -> Option<String> {
        local.map(|local| format_timestamp(local, 0))
    }

    #[test]
    fn texts_become_times_as_in_flink() {
        assert_eq!(
            show(parse_timestamp("2021-9-7 1:2:3")).as_deref(),
            Some("2021-09-07 01:02:03")
        );
        assert_eq!(
            show(parse_timestamp("2021-09-27T12:34:56.1234567")).as_deref(),
            Some("2021-09-27 12:34:56.123456")
        );
        assert_eq!(
            show(parse_timestamp("2021-09-27")).as_deref(),
            Some("2021-09-27 00:00:00")
        );
        assert_eq!(
            show(parse_timestamp("2021-09-27 12:34:56.")).as_deref(),
            Some("2021-09-27 12:34:56")
        );
        for bad in [
            "123",
            "2021/09/27",
            "2021-09-27 12:34",
            "2021-09-27 25:00:00",
            "",
            "2021-09-27x",
            " 2021-09-27",
        ] {
            assert_eq!(parse_timestamp(bad), None, "{bad}");
        }
        assert_eq!(
            parse_date("2021-09-27 12:34:56.123456789")
                .map(format_date)
                .as_deref(),
            Some("2021-09-27")
        );
        assert_eq!(
            parse_date("123").map(format_date).as_deref(),
            Some("0123-01-01")
        );
        assert_eq!(parse_date("2021-02-30"), None);
        assert_eq!(parse_date("2021/09/27"), None);
        assert_eq!(
            parse_time("12:34:56.789").map(format_time).as_deref(),
            Some("12:34:56")
        );
        assert_eq!(parse_time("2021-09-27"), None);
    }
}
