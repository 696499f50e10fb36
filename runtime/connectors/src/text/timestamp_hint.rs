//! Advice about a text that is not a timestamp of the expected form.

use streamkeeper_protocol::types::DataType;

use super::{
    TimestampStyle,
    time::{parse_date, parse_timestamp},
};

/// What a timestamp must look like, and what to change for one that looks like `text`. `option`
/// names the option that chooses the style, where the format has one. None for other types.
pub(crate) fn timestamp_hint(
    text: &str,
    style: TimestampStyle,
    data: &DataType,
    option: Option<&str>,
) -> Option<String> {
    let zoned = match data {
        DataType::Timestamp { .. } => false,
        DataType::TimestampLtz { .. } => true,
        _ => return None,
    };
    let form = form(style, zoned);
    let accepted = match option {
        Some(option) => format!("'{option}' = '{}' reads times like {form}", name(style)),
        None => format!("the format reads times like {form}"),
    };
    let advice = advice(text.trim(), style, data, zoned, option);
    Some(format!("{accepted}; {advice}"))
}

fn name(style: TimestampStyle) -> &'static str {
    match style {
        TimestampStyle::Sql => "SQL",
        TimestampStyle::Iso8601 => "ISO-8601",
    }
}

fn form(style: TimestampStyle, zoned: bool) -> &'static str {
    match (style, zoned) {
        (TimestampStyle::Sql, false) => "'2013-01-01 05:00:00.5'",
        (TimestampStyle::Sql, true) => "'2013-01-01 05:00:00.5Z'",
        (TimestampStyle::Iso8601, false) => "'2013-01-01T05:00:00.5'",
        (TimestampStyle::Iso8601, true) => "'2013-01-01T05:00:00.5Z'",
    }
}

fn advice(
    text: &str,
    style: TimestampStyle,
    data: &DataType,
    zoned: bool,
    option: Option<&str>,
) -> String {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // Seconds have eleven digits until the year 5138.
        let (unit, precision) = match digits.len() {
            ..=11 => ("seconds", 0),
            _ => ("milliseconds", 3),
        };
        return format!(
            "a number of {unit} needs a BIGINT column n and a column ts AS TO_TIMESTAMP_LTZ(n, {precision})"
        );
    }
    let other = match style {
        TimestampStyle::Sql => TimestampStyle::Iso8601,
        TimestampStyle::Iso8601 => TimestampStyle::Sql,
    };
    let reads = |style, zoned| parse_timestamp(text, style, zoned).is_some();
    let restyle = || match option {
        Some(option) => format!("set '{option}' = '{}'", name(other)),
        None => "write the time in this style, or declare the column STRING".to_owned(),
    };
    let retype = || {
        let (DataType::Timestamp { precision } | DataType::TimestampLtz { precision }) = data
        else {
            return String::new();
        };
        if zoned {
            format!("the text has no zone: declare the column TIMESTAMP({precision})")
        } else {
            format!("the text has a zone: declare the column TIMESTAMP_LTZ({precision})")
        }
    };
    if reads(other, zoned) {
        restyle()
    } else if reads(style, !zoned) {
        retype()
    } else if reads(other, !zoned) {
        format!("{}, and {}", retype(), restyle())
    } else if has_offset(text) {
        "an offset other than Z is not read: write the time in UTC, or declare the column STRING"
            .to_owned()
    } else {
        "declare the column STRING and compute the time with TO_TIMESTAMP(text, 'pattern')"
            .to_owned()
    }
}

/// Whether a date comes first and `+02:00`, `-0200` or `+02` last.
fn has_offset(text: &str) -> bool {
    let date = text.get(..10).and_then(parse_date);
    let Some(sign) = text.rfind(['+', '-']).filter(|at| *at > 10) else {
        return false;
    };
    let offset = &text[sign + 1..];
    date.is_some()
        && (2..=5).contains(&offset.len())
        && offset
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_another_form_is_an_error_with_advice() {
        const OPTION: &str = "json.timestamp-format.standard";
        let local = DataType::Timestamp { precision: 3 };
        let instant = DataType::TimestampLtz { precision: 3 };
        let (sql, iso) = (TimestampStyle::Sql, TimestampStyle::Iso8601);
        for (text, style, data, advice) in [
            (
                "2024-05-01T10:00:00Z",
                sql,
                &instant,
                "set 'json.timestamp-format.standard' = 'ISO-8601'",
            ),
            (
                "2024-05-01 10:00:00Z",
                iso,
                &instant,
                "set 'json.timestamp-format.standard' = 'SQL'",
            ),
            (
                "2024-05-01 10:00:00Z",
                sql,
                &local,
                "declare the column TIMESTAMP_LTZ(3)",
            ),
            (
                "2024-05-01 10:00:00",
                sql,
                &instant,
                "declare the column TIMESTAMP(3)",
            ),
            (
                "2024-05-01T10:00:00Z",
                sql,
                &local,
                "TIMESTAMP_LTZ(3), and set 'json.",
            ),
            (
                "2024-05-01T12:00:00+02:00",
                iso,
                &instant,
                "an offset other than Z is not read",
            ),
            (
                "2024-05-01T12:00:00-0200",
                iso,
                &instant,
                "an offset other than Z is not read",
            ),
            ("1714557600000", sql, &instant, "TO_TIMESTAMP_LTZ(n, 3)"),
            ("1714557600", iso, &local, "TO_TIMESTAMP_LTZ(n, 0)"),
            ("1 May 2024", sql, &local, "TO_TIMESTAMP(text, 'pattern')"),
            ("", sql, &local, "TO_TIMESTAMP(text, 'pattern')"),
        ] {
            let hint = timestamp_hint(text, style, data, Some(OPTION)).unwrap();
            assert!(hint.contains(advice), "{text}: {hint}");
            let accepted = form(style, matches!(data, DataType::TimestampLtz { .. }));
            assert!(
                hint.contains(OPTION) && hint.contains(accepted),
                "{text}: {hint}"
            );
        }
        assert_eq!(timestamp_hint("x", sql, &DataType::Date, None), None);
    }

    #[test]
    fn every_form_that_is_named_is_read() {
        for style in [TimestampStyle::Sql, TimestampStyle::Iso8601] {
            for zoned in [false, true] {
                let text = form(style, zoned).trim_matches('\'');
                assert!(parse_timestamp(text, style, zoned).is_some(), "{text}");
            }
        }
    }
}
