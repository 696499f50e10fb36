//! Times, pauses and sizes, as the status and messages show them.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

/// Second precision, as the API server keeps it: what is written must equal what is read back.
pub(crate) fn time(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// A time in milliseconds since the epoch, as the status keeps it.
pub(crate) fn millis_at(millis: i64) -> Time {
    time(Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Milliseconds as a Go duration in seconds.
pub(crate) fn seconds(millis: u64) -> String {
    format!("{}.{:03}s", millis / 1000, millis % 1000)
}

/// Bytes for people: `1.2Gi`.
pub(crate) fn bytes(count: u64) -> String {
    let units = [
        (1_u64 << 40, "Ti"),
        (1 << 30, "Gi"),
        (1 << 20, "Mi"),
        (1 << 10, "Ki"),
    ];
    match units.into_iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => {
            let tenths = u128::from(count) * 10 / u128::from(size);
            if tenths >= 100 {
                format!("{}{unit}", tenths / 10)
            } else {
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            }
        }
        None => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_pauses_are_written_for_people() {
        assert_eq!(
            [0, 1023, 1536, 300 << 20, 1_288_490_189].map(bytes),
            ["0", "1023", "1.5Ki", "300Mi", "1.2Gi"]
        );
        assert_eq!(
            [0, 999, 1214, 61_000].map(seconds),
            ["0.000s", "0.999s", "1.214s", "61.000s"]
        );
    }
}
