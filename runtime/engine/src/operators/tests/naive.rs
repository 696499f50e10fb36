//! What the results should be, recomputed from rows one by one, as texts.

use std::collections::{BTreeMap, BTreeSet};

use streamkeeper_protocol::aggregate::{AggregateCall, AggregateFunction};

use super::plans::{FLAG, MONEY, NAME, NUMBER, REAL, Row, TEXT, TIME, VALUE};
use crate::expr::conversion::{Operand, Target, divide};

/// A value in the order of its type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Whole(i64),
    Text(String),
}

fn value(row: &Row, column: usize) -> Option<Value> {
    match column {
        TIME => Some(Value::Whole(row.time)),
        NAME => row.name.clone().map(Value::Text),
        NUMBER => row.number.map(|number| Value::Whole(number.into())),
        VALUE => row.value.map(Value::Whole),
        TEXT => row.text.clone().map(Value::Text),
        MONEY => row.money.map(Value::Whole),
        REAL => row.real.map(|real| Value::Whole(real.into())),
        FLAG => row.flag.map(|flag| Value::Whole(flag.into())),
        _ => None,
    }
}

fn hundredths(value: i128, scale: usize) -> String {
    let power = 10_u128.pow(u32::try_from(scale).unwrap());
    format!(
        "{}{}.{:0scale$}",
        if value < 0 { "-" } else { "" },
        value.unsigned_abs() / power,
        value.unsigned_abs() % power
    )
}

fn show(value: &Value, column: usize) -> String {
    match (value, column) {
        (Value::Text(text), _) => text.clone(),
        (Value::Whole(number), MONEY) => hundredths((*number).into(), 2),
        (Value::Whole(number), REAL) => format!("{number}.0"),
        (Value::Whole(number), FLAG) => (*number == 1).to_string(),
        (Value::Whole(number), TIME) => super::run::show_time(*number),
        (Value::Whole(number), _) => number.to_string(),
    }
}

/// Key columns of a row.
pub(super) fn key(row: &Row, keys: &[usize]) -> Vec<String> {
    keys.iter()
        .map(|&column| value(row, column).map_or("NULL".to_owned(), |value| show(&value, column)))
        .collect()
}

/// The result of a call over rows.
fn result(call: &AggregateCall, rows: &[&Row]) -> String {
    let rows = rows
        .iter()
        .filter(|row| call.filter.is_none_or(|_| row.flag == Some(true)));
    let Some(column) = call.arg else {
        return rows.count().to_string();
    };
    let mut values: Vec<Value> = rows.filter_map(|row| value(row, column)).collect();
    if call.distinct {
        values = values
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
    }
    let sum = || {
        values
            .iter()
            .map(|value| {
                if let Value::Whole(number) = value {
                    *number
                } else {
                    0
                }
            })
            .sum::<i64>()
    };
    let count = i64::try_from(values.len()).unwrap();
    match call.function {
        AggregateFunction::Count => count.to_string(),
        _ if values.is_empty() => "NULL".to_owned(),
        AggregateFunction::Min => show(values.iter().min().unwrap(), column),
        AggregateFunction::Max => show(values.iter().max().unwrap(), column),
        AggregateFunction::Sum => show(&Value::Whole(sum()), column),
        AggregateFunction::Avg if column == MONEY => {
            let quotient = divide(
                Operand {
                    digits: sum().into(),
                    scale: 2,
                },
                Operand {
                    digits: count.into(),
                    scale: 0,
                },
                Target {
                    precision: 38,
                    scale: 6,
                },
            );
            hundredths(quotient.unwrap(), 6)
        }
        #[expect(clippy::cast_precision_loss, reason = "small")]
        AggregateFunction::Avg if column == REAL => format!("{:?}", sum() as f64 / count as f64),
        AggregateFunction::Avg => (sum() / count).to_string(),
    }
}

/// Keys and results by key.
pub(super) fn results(
    rows: &[&Row],
    keys: &[usize],
    calls: &[AggregateCall],
) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut groups: BTreeMap<Vec<String>, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        groups.entry(key(row, keys)).or_default().push(row);
    }
    let row = |(key, rows): (Vec<String>, Vec<&Row>)| {
        let mut row = key.clone();
        row.extend(calls.iter().map(|call| result(call, &rows)));
        (key, row)
    };
    groups.into_iter().map(row).collect()
}
