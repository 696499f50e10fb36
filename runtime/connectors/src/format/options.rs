//! The format of a table, with its options.

use streamkeeper_protocol::{
    plan::{ChangelogMode, TableRef},
    types::{DataType, Field},
};

use super::{csv, json, raw};
use crate::{ConnectorError, TableUse, options::Options};

/// The option that names the format.
pub(crate) const FORMAT: &str = "format";

/// A format with its options.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Format {
    /// A JSON object per line.
    Json(json::JsonOptions),
    /// A JSON object per line that wraps the row before and after a change. Only written.
    DebeziumJson(json::JsonOptions),
    /// Records of fields.
    Csv(csv::CsvOptions),
    /// A line is the value of the one column.
    Raw,
}

impl Format {
    /// Reads and checks the format and its options, and the types of the table's columns.
    pub(crate) fn parse(options: Options<'_>, table_use: TableUse) -> Result<Self, ConnectorError> {
        const KNOWN: &str = "'json', 'csv', 'raw' and, for sinks, 'debezium-json'";
        let name = options.required(FORMAT, &format!("one of {KNOWN}"))?;
        let format = match name {
            "json" => Self::Json(json::JsonOptions::parse(options, "json")?),
            "debezium-json" if table_use == TableUse::Sink => {
                Self::DebeziumJson(json::JsonOptions::parse(options, "debezium-json")?)
            }
            "debezium-json" => {
                return Err(options.wrong(FORMAT, "'debezium-json' can be written, not read"));
            }
            "csv" => Self::Csv(csv::CsvOptions::parse(options)?),
            "raw" => {
                raw::check(options)?;
                Self::Raw
            }
            _ => {
                return Err(options.wrong(
                    FORMAT,
                    format_args!("unknown format '{name}'; known are {KNOWN}"),
                ));
            }
        };
        check_types(options)?;
        Ok(format)
    }

    /// Names of the format's options.
    pub(crate) fn option_names(&self) -> &'static [&'static str] {
        match self {
            Self::Json(_) => json::OPTIONS,
            Self::DebeziumJson(_) => json::DEBEZIUM_OPTIONS,
            Self::Csv(_) => csv::OPTIONS,
            Self::Raw => raw::OPTIONS,
        }
    }

    /// The richest changelog it can write.
    pub(crate) fn accepts(&self) -> ChangelogMode {
        match self {
            Self::DebeziumJson(_) => ChangelogMode::Retract,
            Self::Json(_) | Self::Csv(_) | Self::Raw => ChangelogMode::InsertOnly,
        }
    }

    /// Whether a record may be any bytes.
    pub(crate) fn is_raw_bytes(&self, table: &TableRef) -> bool {
        let bytes = |field: &Field| field.ty.data == DataType::Bytes;
        *self == Self::Raw && table.schema.fields.iter().any(bytes)
    }

    /// Extension of its files.
    pub(crate) fn extension(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::DebeziumJson(_) => "json",
            Self::Csv(_) => "csv",
            Self::Raw => "txt",
        }
    }
}

/// Interval and NULL columns exist only inside expressions.
fn check_types(options: Options<'_>) -> Result<(), ConnectorError> {
    let fields = &options.table().schema.fields;
    let inner = fields.iter().find(|field| {
        matches!(
            field.ty.data,
            DataType::Null | DataType::IntervalDayTime | DataType::IntervalYearMonth
        )
    });
    match inner {
        _ if fields.is_empty() => Err(options.unfit("the table has no columns")),
        None => Ok(()),
        Some(field) => Err(options.unfit(format_args!(
            "column '{}' has type {}, which no format can hold; CAST it to another type",
            field.name, field.ty.data
        ))),
    }
}
