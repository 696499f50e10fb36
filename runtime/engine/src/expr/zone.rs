//! The job's local time zone (`table.local-time-zone`).

use super::ExprError;

/// A fixed distance from UTC. Zones with rules (`Europe/Berlin`) are refused, not approximated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    offset_ms: i64,
}

impl Zone {
    /// UTC, the default.
    pub const UTC: Self = Self { offset_ms: 0 };

    /// Parses `UTC`, `GMT`, `Z`, `Etc/UTC`, `+02:00`, `GMT+2`, `UTC-03:30`.
    pub fn parse(name: &str) -> Result<Self, ExprError> {
        let refuse = || {
            ExprError::new(
                "table.local-time-zone",
                format!(
                    "'{name}' is not supported: use UTC or a fixed offset like '+02:00'; zones with daylight saving time are not implemented"
                ),
            )
        };
        let rest = ["Etc/UTC", "UTC", "GMT", "Z"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .unwrap_or(name);
        if rest.is_empty() {
            return if name.is_empty() {
                Err(refuse())
            } else {
                Ok(Self::UTC)
            };
        }
        let (sign, digits) = match rest.as_bytes()[0] {
            b'+' => (1, &rest[1..]),
            b'-' => (-1, &rest[1..]),
            _ => return Err(refuse()),
        };
        let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
        let number = |text: &str, most: i64| {
            let well_formed =
                matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<i64>()
                .ok()
                .filter(|value| well_formed && *value <= most)
        };
        match (number(hours, 18), number(minutes, 59)) {
            (Some(hours), Some(minutes)) => Ok(Self {
                offset_ms: sign * (hours * 60 + minutes) * 60_000,
            }),
            _ => Err(refuse()),
        }
    }

    /// Milliseconds to add to an instant to get the local time.
    pub fn offset_ms(self) -> i64 {
        self.offset_ms
    }

    /// Micros to add to an instant to get the local time.
    pub(crate) fn offset_micros(self) -> i64 {
        self.offset_ms * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_offsets_are_known_and_zones_with_rules_refused() {
        for (name, minutes) in [
            ("UTC", 0),
            ("Z", 0),
            ("+02:00", 120),
            ("GMT+2", 120),
            ("UTC-03:30", -210),
            ("Etc/UTC", 0),
        ] {
            assert_eq!(
                Zone::parse(name).unwrap().offset_ms(),
                minutes * 60_000,
                "{name}"
            );
        }
        for name in ["Europe/Berlin", "", "+2x", "UTC+99", "CET"] {
            assert!(Zone::parse(name).is_err(), "{name}");
        }
    }
}
