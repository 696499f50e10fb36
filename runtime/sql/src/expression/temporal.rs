//! Parts of dates and timestamps.

use sqlparser::ast::{self, DateTimeField};
use streamkeeper_protocol::{
    expr::{Expr, ExprKind, Function, Literal, TimeUnit},
    types::{DataType, LogicalType},
};

use super::{analyzer::Analyzer, build, pattern::check_date_pattern};
use crate::{
    coercion::{as_decimal, cast},
    error::{Result, SqlError},
};

fn unit(field: &DateTimeField) -> Option<TimeUnit> {
    use DateTimeField as F;
    Some(match field {
        F::Year => TimeUnit::Year,
        F::Quarter => TimeUnit::Quarter,
        F::Month => TimeUnit::Month,
        F::Week(None) => TimeUnit::Week,
        F::Day => TimeUnit::Day,
        F::DayOfWeek | F::Dow => TimeUnit::DayOfWeek,
        F::DayOfYear | F::Doy => TimeUnit::DayOfYear,
        F::Hour => TimeUnit::Hour,
        F::Minute => TimeUnit::Minute,
        F::Second => TimeUnit::Second,
        F::Millisecond => TimeUnit::Millisecond,
        F::Epoch => TimeUnit::Epoch,
        _ => return None,
    })
}

fn is_of_the_day(unit: TimeUnit) -> bool {
    matches!(
        unit,
        TimeUnit::Hour | TimeUnit::Minute | TimeUnit::Second | TimeUnit::Millisecond
    )
}

impl Analyzer<'_> {
    pub(super) fn extract(&mut self, field: &DateTimeField, value: &ast::Expr) -> Result<Expr> {
        let Some(unit) = unit(field) else {
            return Err(SqlError::at(self.position(value), format!("EXTRACT of {field} is not supported")).hint(
                "supported are YEAR, QUARTER, MONTH, WEEK, DAY, DOW, DOY, HOUR, MINUTE, SECOND, MILLISECOND and EPOCH",
            ));
        };
        self.extract_unit(unit, value)
    }

    /// `EXTRACT` and its short forms like `YEAR(t)`.
    pub(super) fn extract_unit(&mut self, unit: TimeUnit, value: &ast::Expr) -> Result<Expr> {
        let typed = self.analyze(value)?;
        let typed = match typed.ty.data {
            // A date's time of the day is midnight.
            DataType::Date if is_of_the_day(unit) || unit == TimeUnit::Epoch => {
                cast(typed, &DataType::Timestamp { precision: 3 })
            }
            DataType::Date | DataType::Timestamp { .. } | DataType::TimestampLtz { .. } => typed,
            DataType::Time if is_of_the_day(unit) => typed,
            ref other => {
                return Err(SqlError::at(
                    self.position(value),
                    format!("{unit:?} cannot be taken from {other}"),
                )
                .hint("cast it to DATE or TIMESTAMP(3), or use TO_TIMESTAMP"));
            }
        };
        Ok(build::strict(
            Function::Extract(unit),
            vec![typed],
            DataType::BigInt,
        ))
    }

    pub(super) fn date_format(&mut self, args: &[&ast::Expr]) -> Result<Expr> {
        let value = self.analyze(args[0])?;
        let value = match &value.ty.data {
            ty if ty.is_timestamp() => value,
            ty if ty.is_string() => cast(value, &DataType::Timestamp { precision: 3 }),
            other => {
                let error = SqlError::at(
                    self.position(args[0]),
                    format!("DATE_FORMAT cannot be applied to {other}"),
                );
                return Err(error.hint("CAST it to TIMESTAMP(3)"));
            }
        };
        let pattern = self.date_pattern(args[1], "DATE_FORMAT")?;
        Ok(build::call(
            Function::DateFormat,
            vec![value, pattern],
            LogicalType::nullable(DataType::STRING),
        ))
    }

    pub(super) fn parse(
        &mut self,
        function: Function,
        name: &str,
        args: &[&ast::Expr],
        data: DataType,
    ) -> Result<Expr> {
        let mut texts = vec![self.text(args[0], name)?];
        if let Some(pattern) = args.get(1) {
            texts.push(self.date_pattern(pattern, name)?);
        }
        Ok(build::call(function, texts, LogicalType::nullable(data)))
    }

    /// A constant pattern.
    fn date_pattern(&mut self, arg: &ast::Expr, name: &str) -> Result<Expr> {
        let pattern = self.text(arg, name)?;
        let at = self.position(arg);
        let ExprKind::Literal(Literal::String(text)) = &pattern.kind else {
            return Err(SqlError::at(
                at,
                format!("the pattern of {name} must be a constant"),
            ));
        };
        if let Err(message) = check_date_pattern(text) {
            return Err(SqlError::at(at, message)
                .hint("write yyyy, MM, dd, HH, mm, ss, SSS, and text in quotes"));
        }
        Ok(pattern)
    }

    pub(super) fn instant(&mut self, args: &[&ast::Expr]) -> Result<Expr> {
        let value = self.analyze(args[0])?;
        if !value.ty.data.is_integer() {
            let what = format!("TO_TIMESTAMP_LTZ of {} is not supported", value.ty.data);
            return Err(SqlError::at(self.position(args[0]), what).hint(
                "give it a whole number: milliseconds since 1970 with precision 3, seconds with 0",
            ));
        }
        let precision = match args.get(1) {
            Some(precision) => self.analyze(precision)?,
            None => build::integer(3),
        };
        if !matches!(precision.kind, ExprKind::Literal(Literal::Integer(0 | 3))) {
            let at = args
                .get(1)
                .map_or(self.places.start, |arg| self.position(arg));
            return Err(SqlError::at(
                at,
                "the precision must be the constant 0 (seconds) or 3 (milliseconds)",
            ));
        }
        let ty = LogicalType::nullable(DataType::TimestampLtz { precision: 3 });
        Ok(build::call(
            Function::ToTimestampLtz,
            vec![cast(value, &DataType::BigInt), precision],
            ty,
        ))
    }

    /// `FLOOR(x)` and `CEIL(x)` of numbers, `FLOOR(t TO unit)` and `CEIL(t TO unit)` of times.
    pub(super) fn ceil_or_floor(
        &mut self,
        value: &ast::Expr,
        kind: &ast::CeilFloorKind,
        up: bool,
    ) -> Result<Expr> {
        let name = if up { "CEIL" } else { "FLOOR" };
        let position = self.position(value);
        let ast::CeilFloorKind::DateTimeField(field) = kind else {
            return Err(SqlError::at(position, format!("{name} takes one number"))
                .hint("use ROUND(x, digits)"));
        };
        let typed = self.analyze(value)?;
        if *field == DateTimeField::NoDateTime {
            self.require_numeric(&typed, value, name)?;
            return Ok(whole(typed, up));
        }
        let unit = unit(field).filter(|unit| {
            !matches!(
                unit,
                TimeUnit::DayOfWeek | TimeUnit::DayOfYear | TimeUnit::Epoch
            )
        });
        let fits = match (&typed.ty.data, unit) {
            (DataType::Date, Some(unit)) => !is_of_the_day(unit),
            (ty, Some(_)) => ty.is_timestamp(),
            _ => false,
        };
        match unit {
            Some(unit) if fits => {
                let data = typed.ty.data.clone();
                let function = if up { Function::CeilTo(unit) } else { Function::FloorTo(unit) };
                Ok(build::strict(function, vec![typed], data))
            }
            _ => {
                Err(SqlError::at(position, format!("{name}({} TO {field}) is not supported", typed.ty.data))
                    .hint("supported are timestamps to YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, SECOND or MILLISECOND, and dates to DAY or longer"))
            }
        }
    }
}

/// `CEIL` or `FLOOR` of a number; decimals lose their scale.
pub(super) fn whole(value: Expr, up: bool) -> Expr {
    let data = match &value.ty.data {
        ty if ty.is_integer() => return value,
        ty @ DataType::Decimal { .. } => {
            let precision = as_decimal(ty).and_then(|(precision, _)| u8::try_from(precision).ok());
            DataType::Decimal {
                precision: precision.unwrap_or(crate::types::MAX_DECIMAL),
                scale: 0,
            }
        }
        ty => ty.clone(),
    };
    build::strict(
        if up { Function::Ceil } else { Function::Floor },
        vec![value],
        data,
    )
}
