//! Flink's results, one table per family. Every case runs twice: folded from constants, and over
//! columns.

mod casts;
mod extremes;
mod logic;
mod numbers;
mod texts;
mod times;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow_cast::display::array_value_to_string;
use streamkeeper_protocol::{
    expr::{Expr, ExprKind, Function, Literal},
    types::{DataType, LogicalType},
};

use super::{CompiledExpr, ExprError, Zone, datetime_text};

pub(super) const NULL: &str = "NULL";

pub(super) fn literal(value: Literal, data: DataType) -> Expr {
    Expr::literal(value, LogicalType::nullable(data))
}

pub(super) fn int(value: i32) -> Expr {
    literal(Literal::Integer(value.into()), DataType::Int)
}

pub(super) fn long(value: i64) -> Expr {
    literal(Literal::Integer(value), DataType::BigInt)
}

pub(super) fn double(value: f64) -> Expr {
    literal(Literal::Double(value), DataType::Double)
}

pub(super) fn float(value: f64) -> Expr {
    literal(Literal::Double(value), DataType::Float)
}

pub(super) fn boolean(value: bool) -> Expr {
    literal(Literal::Boolean(value), DataType::Boolean)
}

pub(super) fn text(value: &str) -> Expr {
    literal(Literal::String(value.to_owned()), DataType::STRING)
}

pub(super) fn null(data: DataType) -> Expr {
    literal(Literal::Null, data)
}

pub(super) fn dec_type(precision: u8, scale: u8) -> DataType {
    DataType::Decimal { precision, scale }
}

/// A decimal from its text, in DECIMAL(precision, scale).
pub(super) fn dec(value: &str, precision: u8, scale: u8) -> Expr {
    let digits = super::decimal::parse(value, super::decimal::Target { precision, scale }).unwrap();
    literal(
        Literal::Decimal(digits.to_string()),
        dec_type(precision, scale),
    )
}

pub(super) const TIMESTAMP3: DataType = DataType::Timestamp { precision: 3 };
pub(super) const LTZ3: DataType = DataType::TimestampLtz { precision: 3 };

/// A TIMESTAMP(3).
pub(super) fn stamp(value: &str) -> Expr {
    literal(
        Literal::TimestampMicros(datetime_text::parse_timestamp(value).unwrap().to_micros()),
        TIMESTAMP3,
    )
}

pub(super) fn date(value: &str) -> Expr {
    literal(
        Literal::Date(i32::try_from(datetime_text::parse_date(value).unwrap()).unwrap()),
        DataType::Date,
    )
}

pub(super) fn call(function: Function, args: &[Expr], ty: DataType) -> Expr {
    Expr {
        kind: ExprKind::Call {
            function,
            args: args.to_vec(),
        },
        ty: LogicalType::nullable(ty),
    }
}

pub(super) fn cast(input: Expr, ty: DataType) -> Expr {
    Expr {
        kind: ExprKind::Cast {
            input: Box::new(input),
            tolerant: false,
        },
        ty: LogicalType::nullable(ty),
    }
}

pub(super) fn try_cast(input: Expr, ty: DataType) -> Expr {
    Expr {
        kind: ExprKind::Cast {
            input: Box::new(input),
            tolerant: true,
        },
        ty: LogicalType::nullable(ty),
    }
}

/// A batch without columns.
pub(super) fn nothing(rows: usize) -> RecordBatch {
    let schema = Arc::new(arrow_schema::Schema::empty());
    RecordBatch::try_new_with_options(
        schema,
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(rows)),
    )
    .unwrap()
}

pub(super) fn show(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        NULL.to_owned()
    } else {
        array_value_to_string(array, row).unwrap()
    }
}

/// Puts every constant that need not be one into a column.
fn lift(expr: &Expr, columns: &mut Vec<ArrayRef>) -> Expr {
    let kind = match &expr.kind {
        ExprKind::Literal(_) if expr.ty.data != DataType::Null => {
            let column = CompiledExpr::new(expr)
                .unwrap()
                .evaluate(&nothing(3))
                .unwrap();
            columns.push(column);
            ExprKind::Column(columns.len() - 1)
        }
        ExprKind::Column(_) | ExprKind::Literal(_) => expr.kind.clone(),
        ExprKind::Call { function, args } => {
            let lifted = match function {
                Function::DateFormat
                | Function::ToTimestamp
                | Function::ToDate
                | Function::ToTimestampLtz => 1,
                _ => args.len(),
            };
            let args = args
                .iter()
                .enumerate()
                .map(|(index, arg)| {
                    if index < lifted {
                        lift(arg, columns)
                    } else {
                        arg.clone()
                    }
                })
                .collect();
            ExprKind::Call {
                function: *function,
                args,
            }
        }
        ExprKind::Cast { input, tolerant } => ExprKind::Cast {
            input: Box::new(lift(input, columns)),
            tolerant: *tolerant,
        },
        ExprKind::Case {
            branches,
            otherwise,
        } => ExprKind::Case {
            branches: branches
                .iter()
                .map(|(when, then)| (lift(when, columns), lift(then, columns)))
                .collect(),
            otherwise: otherwise
                .as_ref()
                .map(|otherwise| Box::new(lift(otherwise, columns))),
        },
    };
    Expr {
        kind,
        ty: expr.ty.clone(),
    }
}

pub(super) fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    if columns.is_empty() {
        return nothing(3);
    }
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .enumerate()
            .map(|(index, column)| (format!("c{index}"), column, true)),
    )
    .unwrap()
}

/// Results of an expression, from constants and from columns, in a zone.
pub(super) fn answers_in(expr: &Expr, zone: Zone) -> [Result<String, ExprError>; 2] {
    let run = |expr: &Expr, batch: &RecordBatch| {
        let array = CompiledExpr::in_zone(expr, zone)?.evaluate(batch)?;
        assert_eq!(array.len(), 3);
        assert_eq!(
            array.data_type(),
            &streamkeeper_connectors::batch::arrow_type(&expr.ty.data),
            "{expr:?}"
        );
        let shown: Vec<String> = (0..3).map(|row| show(&array, row)).collect();
        assert!(shown.iter().all(|text| *text == shown[0]), "{shown:?}");
        Ok(shown[0].clone())
    };
    let mut columns = Vec::new();
    let lifted = lift(expr, &mut columns);
    [run(expr, &nothing(3)), run(&lifted, &batch(columns))]
}

pub(super) fn check(cases: Vec<(Expr, &str)>) {
    for (expr, expected) in cases {
        for answer in answers_in(&expr, Zone::UTC) {
            assert_eq!(answer.as_deref(), Ok(expected), "{expr:?}");
        }
    }
}

/// Both ways fail with a message that has `part` in it.
pub(super) fn check_fails(cases: Vec<(Expr, &str)>) {
    for (expr, part) in cases {
        for answer in answers_in(&expr, Zone::UTC) {
            let error = answer.expect_err(&format!("{expr:?}")).to_string();
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
}

/// `when` is a BOOLEAN column, `values` BIGINT columns.
pub(super) fn longs(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<Int64Array>())
}
