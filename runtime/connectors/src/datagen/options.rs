//! Makes one generator per column from the table's options.

use std::{fmt::Display, str::FromStr, sync::Arc};

use arrow_schema::Schema as ArrowSchema;
use streamkeeper_protocol::types::{DataType, Field};

use super::generator::{Generator, Kind, hash_text};
use crate::{
    ConnectorError,
    batch::arrow_schema,
    options::Options,
    text::number::{parse_decimal, parse_double},
};

const OPTIONS: &[&str] = &[
    "rows-per-second",
    "number-of-rows",
    "fields.<column>.kind",
    "fields.<column>.min",
    "fields.<column>.max",
    "fields.<column>.max-past",
    "fields.<column>.length",
    "fields.<column>.var-len",
    "fields.<column>.start",
    "fields.<column>.end",
    "fields.<column>.null-rate",
];
const FIELD_OPTIONS: &[&str] = &[
    "kind",
    "min",
    "max",
    "max-past",
    "length",
    "var-len",
    "start",
    "end",
    "null-rate",
];
const DEFAULT_ROWS_PER_SECOND: u64 = 10_000;
const DEFAULT_LENGTH: usize = 100;
const LONGEST: usize = 1 << 16;

/// What a table generates.
#[derive(Debug)]
pub(super) struct DatagenOptions {
    /// Number of rows; none for an unbounded table, or where a variable stands for the number.
    pub(super) rows: Option<u64>,
    pub(super) is_bounded: bool,
    pub(super) rows_per_second: u64,
    pub(super) columns: Vec<Generator>,
    pub(super) schema: Arc<ArrowSchema>,
}

impl DatagenOptions {
    pub(super) fn parse(options: Options<'_>) -> Result<Self, ConnectorError> {
        let table = options.table();
        if options.has("scan.parallelism") {
            return Err(options.wrong(
                "scan.parallelism",
                "is not supported: a source runs on every worker of the job; remove it",
            ));
        }
        refuse_unknown(options)?;
        let rows_per_second = options
            .parsed("rows-per-second", "a number of rows")?
            .unwrap_or(DEFAULT_ROWS_PER_SECOND);
        if rows_per_second == 0 {
            return Err(options.wrong("rows-per-second", "must be at least 1"));
        }
        let mut rows = options.parsed("number-of-rows", "a number of rows")?;
        let mut is_bounded = options.has("number-of-rows");
        let mut columns = Vec::new();
        for field in &table.schema.fields {
            let column = FieldOptions { options, field };
            let (kind, length) = column.kind()?;
            if let Some(length) = length {
                is_bounded = true;
                rows = Some(rows.unwrap_or(u64::MAX).min(length));
            }
            columns.push(Generator {
                kind,
                nulls: column.null_threshold()?,
                seed: hash_text(&[&table.name, &field.name]),
                data: field.ty.data.clone(),
            });
        }
        if columns.is_empty() {
            return Err(options.unfit("the table has no columns"));
        }
        Ok(Self {
            rows,
            is_bounded,
            rows_per_second,
            columns,
            schema: arrow_schema(&table.schema),
        })
    }
}

/// Splits `fields.<column>.<option>`; a column's name may hold points.
fn field_option(option: &str) -> Option<(&str, &str)> {
    option.strip_prefix("fields.")?.rsplit_once('.')
}

fn refuse_unknown(options: Options<'_>) -> Result<(), ConnectorError> {
    let fields = &options.table().schema.fields;
    for option in options.table().options.keys() {
        if let Some((column, name)) = field_option(option)
            && FIELD_OPTIONS.contains(&name)
            && !fields.iter().any(|field| field.name == column)
        {
            let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
            return Err(options.wrong(
                option,
                format_args!(
                    "there is no column '{column}'; columns: {}",
                    names.join(", ")
                ),
            ));
        }
    }
    options.refuse_unknown(OPTIONS, |option| {
        field_option(option).is_some_and(|(_, name)| FIELD_OPTIONS.contains(&name))
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Random,
    Sequence,
}

/// Options of one column.
struct FieldOptions<'a> {
    options: Options<'a>,
    field: &'a Field,
}

impl FieldOptions<'_> {
    fn name(&self, option: &str) -> String {
        format!("fields.{}.{option}", self.field.name)
    }

    fn wrong(&self, option: &str, detail: impl Display) -> ConnectorError {
        self.options.wrong(&self.name(option), detail)
    }

    fn refuse(&self, names: &[&str], why: &str) -> Result<(), ConnectorError> {
        match names.iter().find(|name| self.options.has(&self.name(name))) {
            None => Ok(()),
            Some(name) => Err(self.wrong(name, why)),
        }
    }

    fn parsed<T: FromStr>(&self, option: &str, what: &str) -> Result<Option<T>, ConnectorError> {
        self.options.parsed(&self.name(option), what)
    }

    /// The generator, and for a sequence its number of rows.
    fn kind(&self) -> Result<(Kind, Option<u64>), ConnectorError> {
        let method = self.options.choice(
            &self.name("kind"),
            &[("random", Method::Random), ("sequence", Method::Sequence)],
        )?;
        if method == Some(Method::Sequence) {
            return self.sequence();
        }
        self.refuse(&["start", "end"], "belongs to 'kind' = 'sequence'")?;
        let data = &self.field.ty.data;
        if !data.is_numeric() {
            self.refuse(&["min", "max"], "only works for numeric types")?;
        }
        if !data.is_timestamp() {
            self.refuse(&["max-past"], "only works for TIMESTAMP and TIMESTAMP_LTZ")?;
        }
        if !data.is_string() && *data != DataType::Bytes {
            self.refuse(
                &["length", "var-len"],
                "only works for CHAR, VARCHAR, STRING and BYTES",
            )?;
        }
        let kind = match data {
            DataType::Boolean => Kind::Boolean,
            DataType::TinyInt => self.integer(i64::from(i8::MIN), i64::from(i8::MAX))?,
            DataType::SmallInt => self.integer(i64::from(i16::MIN), i64::from(i16::MAX))?,
            DataType::Int => self.integer(i64::from(i32::MIN), i64::from(i32::MAX))?,
            DataType::BigInt => self.integer(i64::MIN, i64::MAX)?,
            DataType::Float => self.float(f64::from(f32::MAX))?,
            DataType::Double => self.float(f64::MAX)?,
            DataType::Decimal { precision, scale } => self.decimal(*precision, *scale)?,
            DataType::Char { .. } | DataType::Varchar { .. } | DataType::Bytes => self.text()?,
            DataType::Date | DataType::Time => Kind::Now { max_past_ms: 0 },
            DataType::Timestamp { .. } | DataType::TimestampLtz { .. } => {
                let past = self
                    .options
                    .duration_ms(&self.name("max-past"))?
                    .unwrap_or(0);
                Kind::Now { max_past_ms: past }
            }
            DataType::Null | DataType::IntervalDayTime | DataType::IntervalYearMonth => {
                return Err(self.options.unfit(format_args!(
                    "column '{}': datagen makes no values of type {data}",
                    self.field.name
                )));
            }
        };
        Ok((kind, None))
    }

    fn integer(&self, least: i64, most: i64) -> Result<Kind, ConnectorError> {
        let data = &self.field.ty.data;
        let what = format!("a value of {data}");
        let min = self.parsed("min", &what)?.unwrap_or(least);
        let max = self.parsed("max", &what)?.unwrap_or(most);
        for (option, value) in [("min", min), ("max", max)] {
            if !(least..=most).contains(&value) {
                return Err(self.wrong(option, format_args!("{value} is not {what}")));
            }
        }
        if min > max {
            return Err(self.wrong(
                "min",
                format_args!("{min} is larger than the maximum {max}"),
            ));
        }
        Ok(Kind::Integer { min, max })
    }

    fn float(&self, most: f64) -> Result<Kind, ConnectorError> {
        let bound = |option: &str, default: f64| -> Result<f64, ConnectorError> {
            match self.parsed::<String>(option, "text")? {
                None => Ok(default),
                Some(text) => parse_double(&text)
                    .filter(|value| value.is_finite() && value.abs() <= most)
                    .ok_or_else(|| {
                        let data = &self.field.ty.data;
                        self.wrong(option, format_args!("'{text}' is not a value of {data}"))
                    }),
            }
        };
        let (min, max) = (bound("min", 0.0)?, bound("max", most)?);
        if min > max {
            return Err(self.wrong(
                "min",
                format_args!("{min} is larger than the maximum {max}"),
            ));
        }
        Ok(Kind::Float { min, max })
    }

    fn decimal(&self, precision: u8, scale: u8) -> Result<Kind, ConnectorError> {
        let most = 10_i128.pow(u32::from(precision.min(38))) - 1;
        let bound = |option: &str, default: i128| -> Result<i128, ConnectorError> {
            match self.parsed::<String>(option, "text")? {
                None => Ok(default),
                Some(text) => parse_decimal(&text, precision, scale).map_err(|_| {
                    let data = &self.field.ty.data;
                    self.wrong(option, format_args!("'{text}' is not a value of {data}"))
                }),
            }
        };
        let (min, max) = (bound("min", 0)?, bound("max", most)?);
        if min > max {
            return Err(self.wrong("min", "is larger than the maximum"));
        }
        Ok(Kind::Decimal { min, max })
    }

    fn text(&self) -> Result<Kind, ConnectorError> {
        let (fixed, longest) = match self.field.ty.data {
            DataType::Char { length } => (Some(length as usize), LONGEST),
            DataType::Varchar {
                length: Some(length),
            } => (None, (length as usize).min(LONGEST)),
            _ => (None, LONGEST),
        };
        let default = fixed.unwrap_or(DEFAULT_LENGTH.min(longest));
        let length = self
            .parsed("length", "a number of characters")?
            .unwrap_or(default);
        if length > longest || fixed.is_some_and(|fixed| fixed != length) {
            let data = &self.field.ty.data;
            let detail = format!("{length} characters do not fit {data} (at most {LONGEST})");
            return Err(self.wrong("length", detail));
        }
        let variable = self.options.boolean(&self.name("var-len"), false)?;
        if variable && fixed.is_some() {
            return Err(self.wrong("var-len", "CHAR has a fixed length"));
        }
        Ok(Kind::Text { length, variable })
    }

    fn sequence(&self) -> Result<(Kind, Option<u64>), ConnectorError> {
        self.refuse(
            &["min", "max", "max-past", "length", "var-len", "null-rate"],
            "belongs to 'kind' = 'random'",
        )?;
        let data = &self.field.ty.data;
        if !data.is_numeric() && !data.is_string() {
            return Err(self.wrong("kind", format_args!("'sequence' does not work for {data}")));
        }
        for option in ["start", "end"] {
            self.options
                .required(&self.name(option), "a sequence needs its start and end")?;
        }
        let (Some(start), Some(end)) = (
            self.parsed::<i64>("start", "an integer")?,
            self.parsed::<i64>("end", "an integer")?,
        ) else {
            // A variable stands for one of them.
            return Ok((Kind::Sequence { start: 0 }, Some(u64::MAX)));
        };
        if start > end {
            return Err(self.wrong(
                "start",
                format_args!("{start} is larger than the end {end}"),
            ));
        }
        for (option, value) in [("start", start), ("end", end)] {
            if !holds(data, value) {
                return Err(self.wrong(option, format_args!("{value} does not fit {data}")));
            }
        }
        let length = end.abs_diff(start).saturating_add(1);
        Ok((Kind::Sequence { start }, Some(length)))
    }

    /// NULL where a hash is below this.
    fn null_threshold(&self) -> Result<u64, ConnectorError> {
        let rate: f64 = self
            .parsed("null-rate", "a rate between 0 and 1")?
            .unwrap_or(0.0);
        if !(0.0..=1.0).contains(&rate) {
            return Err(self.wrong("null-rate", format_args!("{rate} is not between 0 and 1")));
        }
        if rate > 0.0 && !self.field.ty.nullable {
            return Err(self.wrong("null-rate", "the column is NOT NULL"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "between 0 and 2⁶⁴, and the cast saturates"
        )]
        Ok((rate * u64::MAX as f64) as u64)
    }
}

fn holds(data: &DataType, value: i64) -> bool {
    match data {
        DataType::TinyInt => i8::try_from(value).is_ok(),
        DataType::SmallInt => i16::try_from(value).is_ok(),
        DataType::Int => i32::try_from(value).is_ok(),
        DataType::Decimal { precision, scale } => {
            parse_decimal(&value.to_string(), *precision, *scale).is_ok()
        }
        DataType::Char { length }
        | DataType::Varchar {
            length: Some(length),
        } => value.to_string().len() <= *length as usize,
        _ => true,
    }
}
