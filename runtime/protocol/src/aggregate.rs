//! Aggregate calls and the columns of their partial accumulators.

use serde::{Deserialize, Serialize};

use crate::types::{DataType, LogicalType};

/// One aggregate of a window or group aggregation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AggregateCall {
    /// Identity across plan changes: function, argument expression, DISTINCT, FILTER and type,
    /// hashed by the front end. A restore finds the state of an aggregate by this identity, not by
    /// its position.
    pub uid: String,
    /// Which function.
    pub function: AggregateFunction,
    /// Argument column of the input; none for `COUNT(*)`.
    pub arg: Option<usize>,
    /// Type of the argument column.
    pub arg_type: Option<LogicalType>,
    /// `DISTINCT`.
    pub distinct: bool,
    /// Boolean column of the input; rows where it is not TRUE do not count.
    pub filter: Option<usize>,
    /// Type of the result, Flink's: SUM keeps the integer type and is (38, s) for decimals, AVG
    /// keeps the integer type, COUNT is BIGINT NOT NULL.
    pub ty: LogicalType,
}

/// Aggregate functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateFunction {
    /// `COUNT(*)`, `COUNT(x)`.
    Count,
    /// `SUM(x)`; NULL over no values.
    Sum,
    /// `AVG(x)`; NULL over no values; integers truncate.
    Avg,
    /// `MIN(x)`.
    Min,
    /// `MAX(x)`.
    Max,
}

impl AggregateCall {
    /// Whether partial results of this call can be made before the shuffle and merged after it.
    pub fn is_splittable(&self) -> bool {
        !self.distinct
    }

    /// Types of the accumulator columns that a local aggregation emits for this call, in order.
    ///
    /// COUNT has a BIGINT. SUM has the widened sum: BIGINT for integers, DOUBLE for floats, and for
    /// decimals a DECIMAL(38, s) `low` and a BIGINT `high`, where the sum is `low + high * 10^38`.
    /// AVG has those of SUM and a BIGINT count. MIN and MAX have the value.
    pub fn partial_types(&self) -> Vec<LogicalType> {
        let arg = self
            .arg_type
            .as_ref()
            .map_or(DataType::BigInt, |ty| ty.data.clone());
        let count = LogicalType::not_null(DataType::BigInt);
        let mut sum = vec![LogicalType::nullable(widened(&arg))];
        if matches!(arg, DataType::Decimal { .. }) {
            sum.push(LogicalType::not_null(DataType::BigInt));
        }
        match self.function {
            AggregateFunction::Count => vec![count],
            AggregateFunction::Sum => sum,
            AggregateFunction::Avg => {
                sum.push(count);
                sum
            }
            AggregateFunction::Min | AggregateFunction::Max => vec![LogicalType::nullable(arg)],
        }
    }
}

/// Type in which values of `data` are summed.
pub fn widened(data: &DataType) -> DataType {
    match data {
        DataType::Float | DataType::Double => DataType::Double,
        DataType::Decimal { scale, .. } => DataType::Decimal {
            precision: 38,
            scale: *scale,
        },
        _ => DataType::BigInt,
    }
}
