//! When a snapshot is due by `spec.snapshots.schedule`.

use croner::parser::{CronParser, Seconds, Year};
use jiff::{Timestamp, tz::TimeZone};
use streamkeeper_api::v1alpha1::Snapshots;

/// The newest time of the schedule at or before `now`; none without a schedule. Says what is wrong
/// with one that cannot be read.
pub(crate) fn newest(snapshots: &Snapshots, now: Timestamp) -> Result<Option<Timestamp>, String> {
    let Some(schedule) = snapshots.schedule.as_deref().filter(|_| !snapshots.suspend) else {
        return Ok(None);
    };
    let name = snapshots.time_zone.as_deref().unwrap_or("Etc/UTC");
    let zone = TimeZone::get(name).map_err(|_| {
        format!(
            "spec.snapshots.timeZone `{name}` is no IANA time zone; write it like Europe/Zurich"
        )
    })?;
    let cron = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build()
        .parse(schedule)
        .map_err(|error| {
            format!(
                "spec.snapshots.schedule `{schedule}` cannot be read: {error}; it has five fields (minute, hour, day of month, month, day of week), like 0 3 * * *"
            )
        })?;
    // A day that never comes, such as February 30, has no time.
    let time = cron
        .find_previous_occurrence(&now.to_zoned(zone), true)
        .ok();
    Ok(time.map(|time| time.timestamp()))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn daily(schedule: &str, zone: Option<&str>) -> Snapshots {
        Snapshots {
            schedule: Some(schedule.to_owned()),
            time_zone: zone.map(str::to_owned),
            ..Snapshots::default()
        }
    }

    #[test]
    fn the_newest_time_of_the_schedule_is_found_in_its_zone() {
        let now = at("2026-03-01T12:00:00Z");
        let cases = [
            (daily("0 3 * * *", None), "2026-03-01T03:00:00Z"),
            (
                daily("0 3 * * *", Some("Asia/Tokyo")),
                "2026-02-28T18:00:00Z",
            ),
            (daily("0 12 * * *", None), "2026-03-01T12:00:00Z"),
            (daily("*/15 * * * *", None), "2026-03-01T12:00:00Z"),
            (daily("1 12 * * *", None), "2026-02-28T12:01:00Z"),
            (daily("@weekly", None), "2026-03-01T00:00:00Z"),
        ];
        for (snapshots, wanted) in cases {
            assert_eq!(
                newest(&snapshots, now),
                Ok(Some(at(wanted))),
                "{snapshots:?}"
            );
        }
    }

    #[test]
    fn a_night_with_a_clock_change_has_one_run() {
        // In Zurich clocks go from 2 to 3 on this night, so half past two never comes; the run is
        // not lost.
        let zurich = daily("30 2 * * *", Some("Europe/Zurich"));
        let before = newest(&zurich, at("2026-03-28T12:00:00Z")).unwrap();
        let after = newest(&zurich, at("2026-03-29T12:00:00Z")).unwrap();
        assert_eq!(before, Some(at("2026-03-28T01:30:00Z")));
        assert!(after > before, "{after:?}");
        // On this night they go from 3 back to 2, so half past two comes twice.
        let mut runs: Vec<Timestamp> = (0..48)
            .map(|half_hours| {
                at("2026-10-24T12:00:00Z") + SignedDuration::from_mins(30 * half_hours)
            })
            .filter_map(|now| newest(&zurich, now).unwrap())
            .collect();
        runs.dedup();
        assert_eq!(
            runs,
            [at("2026-10-24T00:30:00Z"), at("2026-10-25T00:30:00Z")]
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_with_the_way_out() {
        let now = at("2026-03-01T12:00:00Z");
        let bad = newest(&daily("0 25 * * *", None), now).unwrap_err();
        assert!(
            bad.contains("`0 25 * * *`") && bad.contains("five fields"),
            "{bad}"
        );
        let seconds = newest(&daily("0 0 3 * * *", None), now).unwrap_err();
        assert!(seconds.contains("five fields"), "{seconds}");
        let zone = newest(&daily("0 3 * * *", Some("Mars/Olympus")), now).unwrap_err();
        assert!(zone.contains("Mars/Olympus"), "{zone}");
        assert_eq!(newest(&daily("0 3 30 2 *", None), now), Ok(None));
        let paused = Snapshots {
            suspend: true,
            ..daily("0 3 * * *", None)
        };
        assert_eq!(newest(&paused, now), Ok(None));
    }
}
