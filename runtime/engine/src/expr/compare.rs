//! Comparison, NULL tests, IN, GREATEST, LEAST. Floats compare as in Java (NaN equals nothing, 0.0
//! = -0.0), texts by their bytes, decimals by value.

use std::{cmp::Ordering, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BooleanArray, Datum,
    types::{Decimal128Type, Float32Type, Float64Type},
};
use arrow_buffer::BooleanBuffer;
use arrow_schema::ArrowError;
use streamkeeper_protocol::{expr::Function, types::DataType};

use super::{
    ExprError,
    call_context::CallContext,
    decimal::{self, Operand},
    int64,
    node::Kernel,
    value::{Value, any_null, compare2},
};

/// The kernel for a call.
pub(crate) fn kernel(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    match context.function {
        Function::Equal
        | Function::NotEqual
        | Function::Less
        | Function::LessOrEqual
        | Function::Greater
        | Function::GreaterOrEqual => {
            let compare = comparison(context.function, context.args[0], context.args[1])
                .ok_or_else(|| context.unsupported())?;
            Ok(Box::new(move |args, rows| {
                Ok(Arc::new(compare(&args[0], &args[1], rows)?))
            }))
        }
        Function::IsNotDistinctFrom => {
            let equal = comparison(Function::Equal, context.args[0], context.args[1])
                .ok_or_else(|| context.unsupported())?;
            Ok(Box::new(move |args, rows| {
                Ok(Arc::new(not_distinct(&equal, &args[0], &args[1], rows)?))
            }))
        }
        Function::Not => Ok(Box::new(|args, rows| {
            Ok(Arc::new(arrow_arith::boolean::not(
                &args[0].booleans(rows)?,
            )?))
        })),
        Function::IsNull => Ok(Box::new(|args, _| {
            Ok(Arc::new(arrow_arith::boolean::is_null(args[0].array())?))
        })),
        Function::IsNotNull => Ok(Box::new(|args, _| {
            Ok(Arc::new(arrow_arith::boolean::is_not_null(
                args[0].array(),
            )?))
        })),
        Function::IsTrue => Ok(Box::new(|args, rows| {
            Ok(Arc::new(is_exactly(true, &args[0], rows)?))
        })),
        Function::IsFalse => Ok(Box::new(|args, rows| {
            Ok(Arc::new(is_exactly(false, &args[0], rows)?))
        })),
        Function::InList => in_list(context),
        Function::Greatest | Function::Least => extreme(context),
        _ => Err(context.unsupported()),
    }
}

type Comparison =
    Box<dyn Fn(&Value, &Value, usize) -> Result<BooleanArray, ExprError> + Send + Sync>;

/// `left ? right`; none if these types do not compare.
fn comparison(function: Function, left: &DataType, right: &DataType) -> Option<Comparison> {
    let holds: fn(Option<Ordering>) -> bool = match function {
        Function::Equal => |order| order == Some(Ordering::Equal),
        Function::NotEqual => |order| order != Some(Ordering::Equal),
        Function::Less => |order| order == Some(Ordering::Less),
        Function::LessOrEqual => |order| matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Function::Greater => |order| order == Some(Ordering::Greater),
        _ => |order| matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    };
    match (left, right) {
        (DataType::Float, DataType::Float) => Some(Box::new(move |a, b, rows| {
            compare2::<Float32Type>(a, b, rows, |a, b| holds(a.partial_cmp(&b)))
        })),
        (DataType::Double, DataType::Double) => Some(Box::new(move |a, b, rows| {
            compare2::<Float64Type>(a, b, rows, |a, b| holds(a.partial_cmp(&b)))
        })),
        (DataType::Decimal { scale: left, .. }, DataType::Decimal { scale: right, .. }) => {
            let (left, right) = (*left, *right);
            Some(Box::new(move |a, b, rows| {
                compare2::<Decimal128Type>(a, b, rows, |a, b| {
                    holds(Some(decimal::compare(
                        Operand {
                            digits: a,
                            scale: left,
                        },
                        Operand {
                            digits: b,
                            scale: right,
                        },
                    )))
                })
            }))
        }
        (left, right) if left == right || left.is_string() && right.is_string() => {
            let operate: fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, ArrowError> =
                match function {
                    Function::Equal => arrow_ord::cmp::eq,
                    Function::NotEqual => arrow_ord::cmp::neq,
                    Function::Less => arrow_ord::cmp::lt,
                    Function::LessOrEqual => arrow_ord::cmp::lt_eq,
                    Function::Greater => arrow_ord::cmp::gt,
                    _ => arrow_ord::cmp::gt_eq,
                };
            Some(Box::new(move |a, b, _| Ok(operate(a, b)?)))
        }
        (left, right)
            if left.is_timestamp()
                && right.is_timestamp()
                && std::mem::discriminant(left) == std::mem::discriminant(right) =>
        {
            // Precisions may differ within one unit; where the units differ both are converted to
            // microseconds.
            let lift = |data: &DataType| 1000 / int64::units_per_ms(data);
            let (left, right) = (lift(left), lift(right));
            Some(Box::new(move |a, b, rows| {
                let (a, b) = (int64::as_i64(a)?, int64::as_i64(b)?);
                compare2::<arrow_array::types::Int64Type>(&a, &b, rows, |a, b| {
                    holds(Some(
                        (i128::from(a) * i128::from(left))
                            .cmp(&(i128::from(b) * i128::from(right))),
                    ))
                })
            }))
        }
        _ => None,
    }
}

fn not_distinct(
    equal: &Comparison,
    a: &Value,
    b: &Value,
    rows: usize,
) -> Result<BooleanArray, ExprError> {
    let equal = equal(a, b, rows)?;
    let is_null = |value: &Value| -> Result<BooleanArray, ExprError> {
        value
            .with_array(Arc::new(arrow_arith::boolean::is_null(value.array())?))
            .booleans(rows)
    };
    let both_null = arrow_arith::boolean::and(&is_null(a)?, &is_null(b)?)?;
    let equal = is_exactly(true, &Value::Array(Arc::new(equal)), rows)?;
    Ok(arrow_arith::boolean::or(&equal, &both_null)?)
}

fn is_exactly(wanted: bool, value: &Value, rows: usize) -> Result<BooleanArray, ExprError> {
    let array = value.booleans(rows)?;
    let values = if wanted {
        array.values().clone()
    } else {
        !array.values()
    };
    let valid = array.nulls().map_or_else(
        || BooleanBuffer::new_set(array.len()),
        |nulls| nulls.inner().clone(),
    );
    Ok(BooleanArray::new(&values & &valid, None))
}

fn in_list(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    let comparisons = context.args[1..]
        .iter()
        .map(|item| {
            comparison(Function::Equal, context.args[0], item).ok_or_else(|| context.unsupported())
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(move |args, rows| {
        let mut found = BooleanArray::from(vec![false; rows]);
        for (equal, item) in comparisons.iter().zip(&args[1..]) {
            let equal = Value::Array(Arc::new(equal(&args[0], item, rows)?)).booleans(rows)?;
            found = arrow_arith::boolean::or_kleene(&found, &broadcast(equal, rows))?;
        }
        Ok(Arc::new(found))
    }))
}

/// Repeats the one value of a comparison of two scalars for all rows.
fn broadcast(array: BooleanArray, rows: usize) -> BooleanArray {
    if array.len() == rows {
        return array;
    }
    let value = (array.len() == 1 && array.is_valid(0)).then(|| array.value(0));
    std::iter::repeat_n(value, rows).collect()
}

fn extreme(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    let replaces = if context.function == Function::Greatest {
        Function::Greater
    } else {
        Function::Less
    };
    let better =
        comparison(replaces, context.ty, context.ty).ok_or_else(|| context.unsupported())?;
    Ok(Box::new(move |args, rows| {
        let mut best = args[0].clone();
        for arg in &args[1..] {
            let replaced = broadcast(better(arg, &best, rows)?, rows);
            best = Value::Array(arrow_select::zip::zip(&replaced, arg, &best)?);
        }
        let best = best.into_array(rows)?;
        match any_null(args, rows) {
            Some(nulls) => {
                let is_null = BooleanArray::new(!nulls.inner(), None);
                Ok(arrow_select::nullif::nullif(&best, &is_null)?)
            }
            None => Ok(best),
        }
    }))
}

/// Whether two equally typed arrays hold different values, row by row; NULL equals NULL, NaN equals
/// NaN.
pub(crate) fn differ(a: &ArrayRef, b: &ArrayRef) -> Result<BooleanArray, ExprError> {
    Ok(arrow_ord::cmp::distinct(a, b)?)
}
