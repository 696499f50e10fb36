//! Values that several commands take.

use std::time::Duration;

use jiff::SignedDuration;

/// A duration as Go writes it: `10s`, `1m30s`, `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let hint = "write a number and a unit, like 500ms, 10s or 1m30s";
    let parsed: SignedDuration = text.parse().map_err(|_| hint.to_owned())?;
    Duration::try_from(parsed).map_err(|_| "must not be negative".to_owned())
}

/// A duration, or `0` for none.
pub(super) fn optional_duration(text: &str) -> Result<OptionalDuration, String> {
    if matches!(text, "0" | "none" | "off") {
        return Ok(OptionalDuration(None));
    }
    let duration = duration(text)?;
    Ok(OptionalDuration((!duration.is_zero()).then_some(duration)))
}

/// A duration that may be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OptionalDuration(pub(super) Option<Duration>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h"), Ok(Duration::from_hours(1)));
        assert!(duration("10").unwrap_err().contains("unit"));
        assert!(duration("-1s").is_err());
        assert!(duration("soon").is_err());
        assert_eq!(optional_duration("0s"), Ok(OptionalDuration(None)));
        assert_eq!(optional_duration("0"), Ok(OptionalDuration(None)));
    }
}
