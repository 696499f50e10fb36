//! The proleptic Gregorian calendar over days since 1970-01-01.
//!
//! The only copy of this arithmetic: connectors and engine use it. Source of the algorithms: Howard
//! Hinnant, "chrono-Compatible Low-Level Date Algorithms",
//! <https://howardhinnant.github.io/date_algorithms.html>: eras of 400 years that start in March.

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;
/// Microseconds of a day.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// Days since the epoch of a civil date; the month may be anything, the day too.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = (
        year + (month - 1).div_euclid(12),
        (month - 1).rem_euclid(12) + 1,
    );
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a day since the epoch.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days of a month.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the day `months` later, or the last day of that month if it is shorter.
pub fn add_months(days: i64, months: i64) -> i64 {
    let (year, month, day) = civil_from_days(days);
    let first = days_from_civil(year, month + months, 1);
    let (year, month, _) = civil_from_days(first);
    first + day.min(days_in_month(year, month)) - 1
}

/// Day of the week, 0 = Sunday.
pub fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// Day of the year from 1.
pub fn day_of_year(days: i64) -> i64 {
    let (year, _, _) = civil_from_days(days);
    days - days_from_civil(year, 1, 1) + 1
}

/// Week of the year, ISO 8601.
pub fn iso_week(days: i64) -> i64 {
    // The week belongs to the year of its Thursday.
    let thursday = days - (weekday(days) + 6) % 7 + 3;
    (day_of_year(thursday) - 1) / 7 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates_and_days_are_inverse() {
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(19_723), (2024, 1, 1));
        for days in (-800_000..800_000).step_by(37) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
            assert!((1..=days_in_month(year, month)).contains(&day));
        }
    }

    #[test]
    fn weeks_follow_iso_8601() {
        for ((year, month, day), week) in [
            ((2021, 1, 1), 53),
            ((2021, 1, 4), 1),
            ((2020, 12, 31), 53),
            ((2019, 12, 30), 1),
            ((2022, 1, 2), 52),
            ((2026, 11, 23), 48),
        ] {
            assert_eq!(
                iso_week(days_from_civil(year, month, day)),
                week,
                "{year}-{month}-{day}"
            );
        }
    }

    #[test]
    fn months_are_added_up_to_the_last_day() {
        assert_eq!(
            civil_from_days(add_months(days_from_civil(2024, 1, 31), 1)),
            (2024, 2, 29)
        );
        assert_eq!(
            civil_from_days(add_months(days_from_civil(2024, 3, 31), -1)),
            (2024, 2, 29)
        );
        assert_eq!(
            civil_from_days(add_months(days_from_civil(2023, 11, 30), 3)),
            (2024, 2, 29)
        );
        assert_eq!(
            civil_from_days(add_months(days_from_civil(2024, 5, 15), -17)),
            (2022, 12, 15)
        );
    }
}
