//! The options of a table, read one by one into types; an option that no connector reads is
//! refused.

use std::{fmt::Display, str::FromStr};

use streamkeeper_protocol::plan::TableRef;

use crate::ConnectorError;

/// Options of one table.
///
/// A value that still holds a variable (`${NAME}`, expanded only in the process that runs the job)
/// cannot be judged yet: only its key is checked and it reads as absent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options<'a> {
    table: &'a TableRef,
}

impl<'a> Options<'a> {
    pub(crate) fn new(table: &'a TableRef) -> Self {
        Self { table }
    }

    pub(crate) fn table(self) -> &'a TableRef {
        self.table
    }

    /// An error about one option.
    pub(crate) fn wrong(self, option: &str, detail: impl Display) -> ConnectorError {
        ConnectorError::Option {
            table: self.table.name.clone(),
            option: Some(option.to_owned()),
            detail: format!("option '{option}': {detail}"),
        }
    }

    /// An error about the table.
    pub(crate) fn unfit(self, detail: impl Display) -> ConnectorError {
        ConnectorError::Option {
            table: self.table.name.clone(),
            option: None,
            detail: detail.to_string(),
        }
    }

    pub(crate) fn has(self, option: &str) -> bool {
        self.table.options.contains_key(option)
    }

    /// The value as it stands.
    pub(crate) fn text(self, option: &str) -> Option<&'a str> {
        self.table.options.get(option).map(String::as_str)
    }

    /// The value, if it is there and holds no variable.
    fn known(self, option: &str) -> Option<&'a str> {
        self.text(option).filter(|value| !value.contains("${"))
    }

    pub(crate) fn required(self, option: &str, what: &str) -> Result<&'a str, ConnectorError> {
        match self.text(option) {
            Some(value) if !value.trim().is_empty() => Ok(value),
            _ => Err(self.wrong(option, format_args!("is required: {what}"))),
        }
    }

    pub(crate) fn boolean(self, option: &str, default: bool) -> Result<bool, ConnectorError> {
        match self.known(option).map(str::trim) {
            None => Ok(default),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => {
                Err(self.wrong(option, format_args!("'{value}' is neither true nor false")))
            }
        }
    }

    /// A value that its type can parse; `what` describes it for the error, like `a number of rows`.
    pub(crate) fn parsed<T: FromStr>(
        self,
        option: &str,
        what: &str,
    ) -> Result<Option<T>, ConnectorError> {
        self.known(option)
            .map(|value| {
                value
                    .trim()
                    .parse()
                    .map_err(|_| self.wrong(option, format_args!("'{value}' is not {what}")))
            })
            .transpose()
    }

    /// One of a few words; the first is the default.
    pub(crate) fn choice<T: Copy>(
        self,
        option: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, ConnectorError> {
        let Some(value) = self.known(option) else {
            return Ok(None);
        };
        let found = choices
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(value.trim()));
        found.map(|(_, choice)| Some(*choice)).ok_or_else(|| {
            let names: Vec<_> = choices
                .iter()
                .map(|(name, _)| format!("'{name}'"))
                .collect();
            self.wrong(
                option,
                format_args!("'{value}' is not one of {}", names.join(", ")),
            )
        })
    }

    /// A duration as Flink writes it (`500 ms`, `10s`, `1 min`, `2 h`, `1 d`; a bare number is
    /// milliseconds), in milliseconds.
    pub(crate) fn duration_ms(self, option: &str) -> Result<Option<u64>, ConnectorError> {
        self.known(option)
            .map(|value| {
                parse_duration_ms(value).ok_or_else(|| {
                    self.wrong(
                        option,
                        format_args!(
                            "'{value}' is not a duration like '500 ms', '10 s', '1 min' or '2 h'"
                        ),
                    )
                })
            })
            .transpose()
    }

    /// Refuses options that are neither among `known` nor accepted by `also`.
    pub(crate) fn refuse_unknown(
        self,
        known: &[&str],
        also: impl Fn(&str) -> bool,
    ) -> Result<(), ConnectorError> {
        let stranger = self
            .table
            .options
            .keys()
            .find(|option| !known.contains(&option.as_str()) && !also(option));
        match stranger {
            None => Ok(()),
            Some(option) => Err(ConnectorError::Option {
                table: self.table.name.clone(),
                option: Some(option.clone()),
                detail: format!(
                    "unknown option '{option}' for connector '{}'; known options: {}",
                    self.table.connector,
                    known.join(", ")
                ),
            }),
        }
    }

    /// Refuses the option that Flink has for the parallelism of a sink.
    pub(crate) fn refuse_sink_parallelism(self) -> Result<(), ConnectorError> {
        if self.has("sink.parallelism") {
            return Err(self.wrong(
                "sink.parallelism",
                "is not supported: a sink runs on every worker of the job; remove it",
            ));
        }
        Ok(())
    }
}

fn parse_duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_in_flink() {
        for (text, ms) in [
            ("5", Some(5)),
            ("500 ms", Some(500)),
            ("10s", Some(10_000)),
            (" 1 min ", Some(60_000)),
            ("2 hours", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("", None),
            ("s", None),
            ("1.5 s", None),
            ("3 fortnights", None),
            ("99999999999999999 d", None),
        ] {
            assert_eq!(parse_duration_ms(text), ms, "{text}");
        }
    }
}
