//! Go durations, as everywhere in Kubernetes: `30s`, `5m`, `1h30m`, `500ms`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What the CRD accepts, as a CEL regular expression.
pub const PATTERN: &str = r"^([0-9]+([.][0-9]+)?(ms|s|m|h))+$";

/// Longest duration that the CRD accepts, a hundred years: all of these can be read and added to a
/// time.
pub const LONGEST: &str = "876000h";

/// A length of time in whole milliseconds, written as a Go duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    millis: u64,
}

impl Duration {
    /// This many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self { millis }
    }

    /// This many seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self {
            millis: secs * 1000,
        }
    }

    /// Milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.millis
    }

    /// For the standard library.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.millis)
    }
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write it like 30s, 5m or 1h30m (units: ms, s, m, h)")]
pub struct NotADuration(String);

impl FromStr for Duration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let refuse = || NotADuration(text.to_owned());
        let mut rest = text;
        let mut millis = 0_f64;
        if rest.is_empty() {
            return Err(refuse());
        }
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(refuse)?;
            let number: f64 = rest[..digits].parse().map_err(|_| refuse())?;
            rest = &rest[digits..];
            let letters = rest
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(rest.len());
            let unit = match &rest[..letters] {
                "ms" => 1_f64,
                "s" => 1_000_f64,
                "m" => 60_000_f64,
                "h" => 3_600_000_f64,
                _ => return Err(refuse()),
            };
            millis += number * unit;
            rest = &rest[letters..];
        }
        if !(0_f64..=9e15).contains(&millis) {
            return Err(refuse());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was checked"
        )]
        Ok(Self {
            millis: millis.round() as u64,
        })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, rest) = (self.millis / 3_600_000, self.millis % 3_600_000);
        let (minutes, rest) = (rest / 60_000, rest % 60_000);
        let (seconds, millis) = (rest / 1000, rest % 1000);
        if self.millis == 0 {
            return f.write_str("0s");
        }
        for (count, unit) in [(hours, "h"), (minutes, "m"), (seconds, "s"), (millis, "ms")] {
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [{
                "rule": format!(
                    "self.matches('{PATTERN}') && duration(self) <= duration('{LONGEST}')"
                ),
                "message": format!(
                    "must be a duration like 30s, 5m or 1h30m (units: ms, s, m, h) of at most {LONGEST}"
                ),
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read_and_written() {
        for (text, millis, canonical) in [
            ("30s", 30_000, "30s"),
            ("300s", 300_000, "5m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1.5s", 1_500, "1s500ms"),
            ("0s", 0, "0s"),
            ("250ms", 250, "250ms"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(
                (duration.as_millis(), duration.to_string().as_str()),
                (millis, canonical),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "",
            "30",
            "5 minutes",
            "s",
            "1d",
            "-5s",
            "1..5s",
            "99999999999999999h",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
