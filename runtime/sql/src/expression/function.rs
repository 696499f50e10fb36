//! Scalar functions by name.

use sqlparser::ast;
use streamkeeper_protocol::{
    expr::{Expr, Function, TimeUnit},
    types::DataType,
};

use super::{
    aggregate::is_aggregate, analyzer::Analyzer, arguments::plain_arguments, arithmetic::combine,
    build, temporal::whole,
};
use crate::{
    error::{Position, Result, SqlError},
    suggest::nearest,
};

/// Names that a misspelt one is compared with, and the number of arguments each takes.
const KNOWN: &[(&str, usize, usize)] = &[
    ("ABS", 1, 1),
    ("AVG", 1, 1),
    ("BTRIM", 1, 2),
    ("CEIL", 1, 1),
    ("CEILING", 1, 1),
    ("CHARACTER_LENGTH", 1, 1),
    ("CHAR_LENGTH", 1, 1),
    ("COALESCE", 1, usize::MAX),
    ("CONCAT", 1, usize::MAX),
    ("CONCAT_WS", 1, usize::MAX),
    ("COUNT", 1, 1),
    ("DATE_FORMAT", 2, 2),
    ("DAYOFMONTH", 1, 1),
    ("DAYOFWEEK", 1, 1),
    ("DAYOFYEAR", 1, 1),
    ("EXP", 1, 1),
    ("EXTRACT", 1, 1),
    ("FLOOR", 1, 1),
    ("GREATEST", 1, usize::MAX),
    ("HOUR", 1, 1),
    ("IF", 3, 3),
    ("IFNULL", 2, 2),
    ("LEAST", 1, usize::MAX),
    ("LN", 1, 1),
    ("LOCATE", 2, 2),
    ("LOWER", 1, 1),
    ("LTRIM", 1, 2),
    ("MAX", 1, 1),
    ("MIN", 1, 1),
    ("MINUTE", 1, 1),
    ("MOD", 2, 2),
    ("MONTH", 1, 1),
    ("NULLIF", 2, 2),
    ("POSITION", 2, 2),
    ("POWER", 2, 2),
    ("QUARTER", 1, 1),
    ("REPLACE", 3, 3),
    ("ROUND", 1, 2),
    ("RTRIM", 1, 2),
    ("SECOND", 1, 1),
    ("SIGN", 1, 1),
    ("SPLIT_INDEX", 3, 3),
    ("SQRT", 1, 1),
    ("SUBSTR", 2, 3),
    ("SUBSTRING", 2, 3),
    ("SUM", 1, 1),
    ("TO_DATE", 1, 2),
    ("TO_TIMESTAMP", 1, 2),
    ("TO_TIMESTAMP_LTZ", 1, 2),
    ("TRIM", 1, 2),
    ("UPPER", 1, 1),
    ("WEEK", 1, 1),
    ("YEAR", 1, 1),
];

/// Functions whose value does not depend on the row alone. A restored job would compute other
/// values than the first run.
const UNREPEATABLE: &[&str] = &[
    "CURRENT_DATE",
    "CURRENT_ROW_TIMESTAMP",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_WATERMARK",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "NOW",
    "PROCTIME",
    "RAND",
    "RAND_INTEGER",
    "UNIX_TIMESTAMP",
    "UUID",
];

/// Aggregates and window functions of Flink that do not exist here.
const OTHER_AGGREGATES: &[&str] = &[
    "APPROX_COUNT_DISTINCT",
    "ARRAY_AGG",
    "COLLECT",
    "CUME_DIST",
    "DENSE_RANK",
    "FIRST_VALUE",
    "JSON_ARRAYAGG",
    "JSON_OBJECTAGG",
    "LAG",
    "LAST_VALUE",
    "LEAD",
    "LISTAGG",
    "NTILE",
    "PERCENTILE",
    "PERCENT_RANK",
    "RANK",
    "ROW_NUMBER",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "VARIANCE",
    "VAR_POP",
    "VAR_SAMP",
];

const GROUP_WINDOWS: &[&str] = &[
    "CUMULATE",
    "HOP",
    "HOP_END",
    "HOP_ROWTIME",
    "HOP_START",
    "SESSION",
    "SESSION_END",
    "SESSION_ROWTIME",
    "SESSION_START",
    "TUMBLE",
    "TUMBLE_END",
    "TUMBLE_ROWTIME",
    "TUMBLE_START",
];

impl Analyzer<'_> {
    pub(super) fn function(&mut self, call: &ast::Function, position: Position) -> Result<Expr> {
        let name = call.name.to_string().to_ascii_uppercase();
        if call.over.is_some() {
            let at = self.places.find("OVER", position);
            return Err(SqlError::at(at, "OVER is not supported").hint("aggregate with GROUP BY"));
        }
        if !matches!(call.parameters, ast::FunctionArguments::None)
            || !call.within_group.is_empty()
            || call.null_treatment.is_some()
            || call.uses_odbc_syntax
        {
            return Err(SqlError::at(
                position,
                format!("this form of calling {name} is not supported"),
            ));
        }
        if is_aggregate(&name) {
            return self.aggregate(&name, call, position);
        }
        if call.filter.is_some() {
            return Err(SqlError::at(
                position,
                format!("FILTER belongs to an aggregate function, {name} is none"),
            ));
        }
        if let ast::FunctionArguments::List(list) = &call.args
            && list.duplicate_treatment.is_some()
        {
            return Err(SqlError::at(
                position,
                format!("DISTINCT and ALL belong to aggregate functions, {name} is none"),
            ));
        }
        let Some((_, least, most)) = KNOWN.iter().find(|(known, ..)| *known == name) else {
            return Err(unknown(&name, position));
        };
        let args = plain_arguments(call, position)?;
        if !(*least..=*most).contains(&args.len()) {
            let takes = match (*least, *most) {
                (least, usize::MAX) => format!("at least {least}"),
                (least, most) if least == most => least.to_string(),
                (least, most) => format!("{least} to {most}"),
            };
            return Err(SqlError::at(
                position,
                format!("{name} takes {takes} arguments, it got {}", args.len()),
            ));
        }
        self.call_known(&name, position, &args)
    }

    fn call_known(&mut self, name: &str, position: Position, args: &[&ast::Expr]) -> Result<Expr> {
        match name {
            "ABS" => self.same_number(Function::Abs, name, args[0]),
            "SIGN" => self.same_number(Function::Sign, name, args[0]),
            "CEIL" | "CEILING" | "FLOOR" => {
                let value = self.analyze(args[0])?;
                self.require_numeric(&value, args[0], name)?;
                Ok(whole(value, name != "FLOOR"))
            }
            "ROUND" => self.round(args),
            "MOD" => {
                let (l, r) = (self.analyze(args[0])?, self.analyze(args[1])?);
                let modulo = combine(Function::Modulo, l, r);
                modulo.map_err(|(message, hint)| SqlError::at(position, message).hint(hint))
            }
            "POWER" => self.doubles(Function::Power, name, args),
            "SQRT" => self.doubles(Function::Sqrt, name, args),
            "EXP" => self.doubles(Function::Exp, name, args),
            "LN" => self.doubles(Function::Ln, name, args),
            "CHAR_LENGTH" | "CHARACTER_LENGTH" => {
                let text = self.text(args[0], name)?;
                Ok(build::strict(
                    Function::CharLength,
                    vec![text],
                    DataType::Int,
                ))
            }
            "UPPER" => self.same_text(Function::Upper, name, args[0]),
            "LOWER" => self.same_text(Function::Lower, name, args[0]),
            "TRIM" | "BTRIM" => self.trimmed(Function::Trim, name, args),
            "LTRIM" => self.trimmed(Function::TrimLeading, name, args),
            "RTRIM" => self.trimmed(Function::TrimTrailing, name, args),
            "SUBSTRING" | "SUBSTR" => self.substring(
                position,
                args[0],
                args.get(1).copied(),
                args.get(2).copied(),
            ),
            "CONCAT" => self.strings(Function::Concat, name, args),
            "CONCAT_WS" => self.strings(Function::ConcatWs, name, args),
            "REPLACE" => self.strings(Function::Replace, name, args),
            "POSITION" | "LOCATE" => self.position_in(args[0], args[1]),
            "SPLIT_INDEX" => self.split_index(args),
            "DATE_FORMAT" => self.date_format(args),
            "TO_TIMESTAMP" => self.parse(
                Function::ToTimestamp,
                name,
                args,
                DataType::Timestamp { precision: 3 },
            ),
            "TO_DATE" => self.parse(Function::ToDate, name, args, DataType::Date),
            "TO_TIMESTAMP_LTZ" => self.instant(args),
            "COALESCE" | "IFNULL" => self.coalesce(position, name, args),
            "NULLIF" => self.null_if(position, args),
            "IF" => self.if_else(position, args),
            "GREATEST" => self.extreme(position, Function::Greatest, args),
            "LEAST" => self.extreme(position, Function::Least, args),
            "YEAR" => self.extract_unit(TimeUnit::Year, args[0]),
            "QUARTER" => self.extract_unit(TimeUnit::Quarter, args[0]),
            "MONTH" => self.extract_unit(TimeUnit::Month, args[0]),
            "WEEK" => self.extract_unit(TimeUnit::Week, args[0]),
            "DAYOFYEAR" => self.extract_unit(TimeUnit::DayOfYear, args[0]),
            "DAYOFMONTH" => self.extract_unit(TimeUnit::Day, args[0]),
            "DAYOFWEEK" => self.extract_unit(TimeUnit::DayOfWeek, args[0]),
            "HOUR" => self.extract_unit(TimeUnit::Hour, args[0]),
            "MINUTE" => self.extract_unit(TimeUnit::Minute, args[0]),
            "SECOND" => self.extract_unit(TimeUnit::Second, args[0]),
            _ => Err(unknown(name, position)),
        }
    }
}

fn unknown(name: &str, position: Position) -> SqlError {
    if UNREPEATABLE.contains(&name) {
        return SqlError::at(
            position,
            format!("{name} is not supported: after a failure it would give other values"),
        )
        .hint("use a time column of the record");
    }
    if OTHER_AGGREGATES.contains(&name) {
        return SqlError::at(
            position,
            format!("the aggregate function {name} is not supported yet"),
        )
        .hint("supported are COUNT, SUM, AVG, MIN and MAX");
    }
    if GROUP_WINDOWS.contains(&name) {
        return SqlError::at(position, format!("{name} cannot stand here")).hint(
            "window a table in FROM: TABLE(TUMBLE(TABLE t, DESCRIPTOR(time), INTERVAL '1' HOUR))",
        );
    }
    let error = SqlError::at(position, format!("the function {name} is not known"));
    match nearest(name, KNOWN.iter().map(|(known, ..)| *known)).as_slice() {
        [] => error.hint("docs/sql.md lists the functions"),
        near => error.hint(format!("did you mean {}?", near.join(" or "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_in_the_reference() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sql.md");
        let reference = std::fs::read_to_string(path).unwrap();
        for (name, ..) in KNOWN {
            assert!(
                reference.contains(&format!("`{name}(")),
                "docs/sql.md does not describe {name}"
            );
        }
    }

    #[test]
    fn every_known_name_has_a_meaning_and_no_name_has_two() {
        for (index, (name, ..)) in KNOWN.iter().enumerate() {
            assert!(
                KNOWN[..index].iter().all(|(other, ..)| other < name),
                "{name}: in order, once"
            );
            let elsewhere = [UNREPEATABLE, OTHER_AGGREGATES, GROUP_WINDOWS];
            assert!(
                !elsewhere.iter().any(|names| names.contains(name)),
                "{name} is also refused"
            );
        }
    }
}
