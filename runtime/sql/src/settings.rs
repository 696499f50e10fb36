//! `SET` statements and the durations in them.

use streamkeeper_protocol::plan::Settings;

/// Result of a `SET`.
pub(crate) enum Applied {
    /// It changes the job.
    Known,
    /// The setting changes nothing; the text explains why and where it is set instead.
    Ignored(String),
}

/// Applies one `SET 'key' = 'value'` to the settings. The error is a sentence about the value.
pub(crate) fn apply(settings: &mut Settings, key: &str, value: &str) -> Result<Applied, String> {
    match key {
        "table.local-time-zone" => settings.time_zone = time_zone(value)?,
        "streamkeeper.source.rows-per-second" => {
            let rate = value.trim().parse().ok().filter(|rate: &u64| *rate > 0);
            settings.source_rows_per_second = Some(rate.ok_or_else(|| {
                format!("'{value}' is not a rate: write a whole number of rows above 0")
            })?);
        }
        "table.exec.source.idle-timeout" => settings.source_idle_timeout_ms = positive(value)?,
        "streamkeeper.sink.buffer-size" => {
            settings.sink_buffer_bytes = Some(buffer_bytes(value)?);
        }
        "table.exec.state.ttl" => settings.state_ttl_ms = positive(value)?,
        "execution.runtime-mode" if value.eq_ignore_ascii_case("streaming") => {}
        "execution.runtime-mode" => {
            return Err(format!(
                "'{value}' is not supported: only the 'streaming' mode exists"
            ));
        }
        _ => return Ok(Applied::Ignored(advice(key))),
    }
    Ok(Applied::Known)
}

fn advice(key: &str) -> String {
    const ELSEWHERE: [(&str, &str); 5] = [
        (
            "parallelism.default",
            "the parallelism is set in the StreamJob, not in the SQL text",
        ),
        (
            "execution.checkpointing.",
            "checkpoints are set in the StreamJob, not in the SQL text",
        ),
        (
            "state.",
            "state and its storage are set in the StreamJob, not in the SQL text",
        ),
        (
            "table.exec.mini-batch.",
            "the engine always works on batches",
        ),
        ("pipeline.name", "the job is named by the StreamJob"),
    ];
    let reason = ELSEWHERE.iter().find(|(prefix, _)| key.starts_with(prefix));
    reason.map_or_else(
        || format!("the setting '{key}' is not known and has no effect"),
        |(_, reason)| format!("the setting '{key}' has no effect: {reason}"),
    )
}

fn positive(value: &str) -> Result<Option<u64>, String> {
    Ok(Some(duration_ms(value)?).filter(|ms| *ms > 0))
}

/// UTC or a fixed offset from it, as the engine supports them: `UTC`, `GMT+2`, `+05:30`. `default`
/// is UTC.
fn time_zone(value: &str) -> Result<Option<String>, String> {
    if value == "default" {
        return Ok(None);
    }
    let rest = ["Etc/UTC", "UTC", "GMT", "Z"]
        .iter()
        .find_map(|prefix| value.strip_prefix(prefix));
    let is_number = |text: &str, most: u32| {
        matches!(text.len(), 1 | 2)
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse().is_ok_and(|number: u32| number <= most)
    };
    let is_fixed = match rest.unwrap_or(value).strip_prefix(['+', '-']) {
        None => rest == Some(""),
        Some(distance) => {
            let (hours, minutes) = distance.split_once(':').unwrap_or((distance, "0"));
            is_number(hours, 18) && is_number(minutes, 59)
        }
    };
    if is_fixed {
        return Ok(Some(value.to_owned()));
    }
    Err(format!(
        "the time zone '{value}' is not supported: write 'UTC' or a fixed distance from it like 'GMT+02:00'; zones with daylight saving time are not supported yet"
    ))
}

/// A duration as Flink writes it ('5 s', '1 min', '500ms', a bare number for milliseconds), in
/// milliseconds, rounded down.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let refuse = || {
        format!(
            "'{text}' is not a duration: write a number and one of ms, s, min, h, d, like '5 s'"
        )
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let unit = unit.trim().to_ascii_lowercase();
    let scaled = match unit.as_str() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => Some(number),
        "s" | "sec" | "secs" | "second" | "seconds" => number.checked_mul(1_000),
        "m" | "min" | "minute" | "minutes" => number.checked_mul(60_000),
        "h" | "hour" | "hours" => number.checked_mul(3_600_000),
        "d" | "day" | "days" => number.checked_mul(86_400_000),
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => Some(number / 1_000),
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => Some(number / 1_000_000),
        _ => None,
    };
    scaled.ok_or_else(refuse)
}

/// Smallest buffer of a sink: a batch of rows fits.
const LEAST_BUFFER_BYTES: u64 = 1 << 20;

fn buffer_bytes(value: &str) -> Result<u64, String> {
    let bytes = memory_bytes(value)?;
    if bytes < LEAST_BUFFER_BYTES {
        return Err(format!("'{value}' is too small: the least is '1 mb'"));
    }
    Ok(bytes)
}

/// A size as Flink writes it ('64 mb', '1g', a bare number for bytes); units are powers of 1,024.
fn memory_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => Some(0),
        "k" | "kb" | "kibibytes" => Some(10),
        "m" | "mb" | "mebibytes" => Some(20),
        "g" | "gb" | "gibibytes" => Some(30),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    number
        .zip(shift)
        .and_then(|(number, shift)| number.checked_mul(1 << shift))
        .ok_or_else(|| {
            format!("'{text}' is not a size: write a number and one of b, kb, mb, gb, like '64 mb'")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_in_flink() {
        assert_eq!(memory_bytes("64 mb"), Ok(64 << 20));
        assert_eq!(memory_bytes("1G"), Ok(1 << 30));
        assert_eq!(memory_bytes("512"), Ok(512));
        for wrong in ["", "mb", "1 mib?", "-1 mb", "99999999999 gb"] {
            assert!(memory_bytes(wrong).is_err(), "{wrong}");
        }
        assert!(buffer_bytes("1 kb").is_err());
    }

    #[test]
    fn durations_read_as_in_flink() {
        assert_eq!(duration_ms("5 s"), Ok(5_000));
        assert_eq!(duration_ms("1min"), Ok(60_000));
        assert_eq!(duration_ms(" 250 ms "), Ok(250));
        assert_eq!(duration_ms("10"), Ok(10));
        assert_eq!(duration_ms("2 Days"), Ok(172_800_000));
        for wrong in [
            "",
            "s",
            "5 parsecs",
            "-1 s",
            "1.5 h",
            "99999999999999999999 s",
            "9999999999999999 d",
        ] {
            assert!(duration_ms(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn time_zones_are_those_of_the_engine() {
        for known in [
            "default",
            "UTC",
            "Z",
            "Etc/UTC",
            "+02:00",
            "GMT+2",
            "UTC-03:30",
            "-1",
        ] {
            assert!(time_zone(known).is_ok(), "{known}");
        }
        for unknown in [
            "Europe/Berlin",
            "",
            "+2x",
            "UTC+99",
            "CET",
            "GMT2",
            "+",
            "on the moon",
        ] {
            assert!(time_zone(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn a_known_key_with_a_bad_value_is_an_error_and_an_unknown_key_is_not() {
        let mut settings = Settings::default();
        assert!(apply(&mut settings, "table.exec.state.ttl", "soon").is_err());
        assert!(apply(&mut settings, "streamkeeper.source.rows-per-second", "0").is_err());
        assert!(apply(&mut settings, "execution.runtime-mode", "batch").is_err());
        assert!(matches!(
            apply(&mut settings, "no.such.key", "1"),
            Ok(Applied::Ignored(_))
        ));
        assert_eq!(settings, Settings::default());
    }
}
