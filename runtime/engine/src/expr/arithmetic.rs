//! `+ - * / %`: integers wrap and refuse to divide by zero, floats follow IEEE 754, decimals see
//! [`super::decimal`], times see [`super::interval`].

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType,
    types::{Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type},
};
use arrow_schema::ArrowError;
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::{expr::Function, types::DataType};

use super::{
    ExprError,
    call_context::CallContext,
    decimal::{self, Operand, Target},
    interval,
    node::Kernel,
    value::{map1, map2},
};

type Fallible = (Kernel, bool);

/// The kernel for a call and whether it may fail.
pub(crate) fn kernel(context: &CallContext<'_>) -> Result<Fallible, ExprError> {
    if context.function == Function::Negate {
        return negate(context).map(|kernel| (kernel, false));
    }
    let [left, right] = context.args[..] else {
        return Err(context.unsupported());
    };
    if let (
        DataType::Decimal { scale: a, .. },
        DataType::Decimal { scale: b, .. },
        DataType::Decimal { precision, scale },
    ) = (left, right, context.ty)
    {
        return decimals(
            context.function,
            (*a, *b),
            Target {
                precision: *precision,
                scale: *scale,
            },
            context,
        );
    }
    if left == right && left == context.ty {
        match left {
            DataType::TinyInt => return Ok(integers::<Int8Type>(context.function)),
            DataType::SmallInt => return Ok(integers::<Int16Type>(context.function)),
            DataType::Int => return Ok(integers::<Int32Type>(context.function)),
            DataType::BigInt => return Ok(integers::<Int64Type>(context.function)),
            DataType::Float => return Ok((floats::<Float32Type>(context.function), false)),
            DataType::Double => return Ok((floats::<Float64Type>(context.function), false)),
            DataType::IntervalDayTime | DataType::IntervalYearMonth
                if matches!(context.function, Function::Add | Function::Subtract) =>
            {
                return Ok((wrapping(context.function), false));
            }
            _ => {}
        }
    }
    interval::kernel(context).map(|kernel| (kernel, false))
}

fn negate(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    let [arg] = context.args[..] else {
        return Err(context.unsupported());
    };
    if arg != context.ty {
        return Err(context.unsupported());
    }
    match arg {
        DataType::Decimal { .. } => {
            let out = arrow_type(context.ty);
            Ok(Box::new(move |args, rows| {
                let negated = map1::<Decimal128Type, Decimal128Type>(&args[0], rows, |digits| {
                    Ok(Some(-digits))
                })?;
                Ok(Arc::new(negated.with_data_type(out.clone())))
            }))
        }
        data if data.is_numeric()
            || matches!(
                data,
                DataType::IntervalDayTime | DataType::IntervalYearMonth
            ) =>
        {
            Ok(Box::new(|args, _| {
                Ok(arrow_arith::numeric::neg_wrapping(args[0].array())?)
            }))
        }
        _ => Err(context.unsupported()),
    }
}

/// Addition, subtraction or multiplication of two equal types with wrap-around; floats follow IEEE
/// 754.
fn wrapping(function: Function) -> Kernel {
    let operate: fn(
        &dyn arrow_array::Datum,
        &dyn arrow_array::Datum,
    ) -> Result<ArrayRef, ArrowError> = match function {
        Function::Subtract => arrow_arith::numeric::sub_wrapping,
        Function::Multiply => arrow_arith::numeric::mul_wrapping,
        _ => arrow_arith::numeric::add_wrapping,
    };
    Box::new(move |args, _| Ok(operate(&args[0], &args[1])?))
}

/// Division as in Java.
trait Divide: Copy + PartialEq + Default + std::fmt::Display {
    fn quotient(self, by: Self) -> Self;
    fn remainder(self, by: Self) -> Self;
}

macro_rules! divide {
    ($($ty:ty),*) => {$(
        impl Divide for $ty {
            fn quotient(self, by: Self) -> Self {
                self.wrapping_div(by)
            }
            fn remainder(self, by: Self) -> Self {
                self.wrapping_rem(by)
            }
        }
    )*};
}
divide!(i8, i16, i32, i64);

fn integers<T>(function: Function) -> Fallible
where
    T: ArrowPrimitiveType,
    T::Native: Divide,
{
    let divides = match function {
        Function::Divide => true,
        Function::Modulo => false,
        _ => return (wrapping(function), false),
    };
    let kernel: Kernel = Box::new(move |args, rows| {
        let out = map2::<T, T, T>(&args[0], &args[1], rows, |a, b| {
            if b == T::Native::default() {
                return Err(by_zero(if divides { "/" } else { "MOD" }, &a.to_string()));
            }
            Ok(Some(if divides {
                a.quotient(b)
            } else {
                a.remainder(b)
            }))
        })?;
        Ok(Arc::new(out))
    });
    (kernel, true)
}

fn by_zero(function: &str, dividend: &str) -> ExprError {
    ExprError::new(function, format!("division of {dividend} by zero"))
}

fn floats<T>(function: Function) -> Kernel
where
    T: ArrowPrimitiveType,
    T::Native: std::ops::Div<Output = T::Native> + std::ops::Rem<Output = T::Native>,
{
    match function {
        Function::Divide => Box::new(|args, rows| {
            Ok(Arc::new(map2::<T, T, T>(
                &args[0],
                &args[1],
                rows,
                |a, b| Ok(Some(a / b)),
            )?))
        }),
        Function::Modulo => Box::new(|args, rows| {
            Ok(Arc::new(map2::<T, T, T>(
                &args[0],
                &args[1],
                rows,
                |a, b| Ok(Some(a % b)),
            )?))
        }),
        other => wrapping(other),
    }
}

/// None overflows.
type Operate = fn(Operand, Operand, Target) -> Option<i128>;

fn decimals(
    function: Function,
    (left, right): (u8, u8),
    to: Target,
    context: &CallContext<'_>,
) -> Result<Fallible, ExprError> {
    let out = arrow_type(context.ty);
    let (operate, name): (Operate, &str) = match function {
        Function::Add => (decimal::add, "+"),
        Function::Subtract => (decimal::subtract, "-"),
        Function::Multiply => (decimal::multiply, "*"),
        Function::Divide => (decimal::divide, "/"),
        Function::Modulo => (decimal::modulo, "MOD"),
        _ => return Err(context.unsupported()),
    };
    let divides = matches!(function, Function::Divide | Function::Modulo);
    let kernel: Kernel = Box::new(move |args, rows| {
        let result = map2::<Decimal128Type, Decimal128Type, Decimal128Type>(
            &args[0],
            &args[1],
            rows,
            |a, b| {
                if divides && b == 0 {
                    return Err(by_zero(name, &decimal::to_text(a, left)));
                }
                Ok(operate(
                    Operand {
                        digits: a,
                        scale: left,
                    },
                    Operand {
                        digits: b,
                        scale: right,
                    },
                    to,
                ))
            },
        )?;
        Ok(Arc::new(result.with_data_type(out.clone())))
    });
    Ok((kernel, divides))
}
