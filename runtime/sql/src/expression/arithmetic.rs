//! `+ - * / %` on numbers, and of dates and timestamps with intervals.

use sqlparser::ast;
use streamkeeper_protocol::{
    expr::{Expr, ExprKind, Function, Literal},
    types::{DataType, LogicalType},
};

use super::{analyzer::Analyzer, build, literal::number};
use crate::{
    coercion::{self, Rules, as_decimal, cast, common_type},
    error::{Result, SqlError},
};

const MILLIS_PER_DAY: i64 = 86_400_000;

fn sign(function: Function) -> &'static str {
    match function {
        Function::Add => "+",
        Function::Subtract => "-",
        Function::Multiply => "*",
        Function::Divide => "/",
        _ => "%",
    }
}

impl Analyzer<'_> {
    pub(super) fn arithmetic(
        &mut self,
        function: Function,
        left: &ast::Expr,
        right: &ast::Expr,
    ) -> Result<Expr> {
        let position = self.position(left);
        let (l, r) = (self.analyze(left)?, self.analyze(right)?);
        combine(function, l, r)
            .map_err(|(message, hint)| SqlError::at(position, message).hint(hint))
    }

    pub(super) fn negate(&mut self, inner: &ast::Expr) -> Result<Expr> {
        // A sign belongs to the number: -2147483648 is an INT although 2147483648 is not.
        if let ast::Expr::Value(value) = inner
            && let ast::Value::Number(digits, false) = &value.value
        {
            return number(&format!("-{digits}"), self.position(inner));
        }
        let value = self.analyze(inner)?;
        if let ExprKind::Literal(literal) = &value.kind {
            let negated = match literal {
                Literal::IntervalMillis(ms) => ms.checked_neg().map(Literal::IntervalMillis),
                Literal::IntervalMonths(months) => {
                    months.checked_neg().map(Literal::IntervalMonths)
                }
                _ => None,
            };
            if let Some(negated) = negated {
                return Ok(Expr::literal(negated, value.ty));
            }
        }
        self.require_numeric(&value, inner, "-")?;
        let data = value.ty.data.clone();
        Ok(build::strict(Function::Negate, vec![value], data))
    }

    pub(super) fn require_numeric(&self, value: &Expr, at: &ast::Expr, what: &str) -> Result<()> {
        if value.ty.data.is_numeric() {
            return Ok(());
        }
        let position = self.position(at);
        Err(SqlError::at(
            position,
            format!("{what} needs a number, it got {}", value.ty.data),
        ))
    }
}

/// `MOD(a, b)` and the operators, on typed operands. The error is a message and advice.
pub(super) fn combine(
    function: Function,
    left: Expr,
    right: Expr,
) -> std::result::Result<Expr, (String, &'static str)> {
    let (a, b) = (left.ty.data.clone(), right.ty.data.clone());
    let refuse = |hint| {
        Err((
            format!("{} cannot be applied to {a} and {b}", sign(function)),
            hint,
        ))
    };
    if is_interval(&a) || is_interval(&b) || is_temporal(&a) || is_temporal(&b) {
        return temporal(function, left, right).ok_or_else(|| {
            let hint = "supported are a date or timestamp plus or minus an interval, and a number times an interval";
            (format!("{} cannot be applied to {a} and {b}", sign(function)), hint)
        });
    }
    if a == DataType::Null || b == DataType::Null {
        return refuse("cast the NULL to the type you mean, as in CAST(NULL AS INT)");
    }
    if !a.is_numeric() || !b.is_numeric() {
        return refuse("cast to a number with CAST(… AS …)");
    }
    let exact = as_decimal(&a).is_some() && as_decimal(&b).is_some();
    if exact && matches!(function, Function::Divide | Function::Modulo) && is_zero(&right) {
        return Err((
            "division by zero".to_owned(),
            "use NULLIF(divisor, 0) for a divisor that may be 0",
        ));
    }
    let has_decimal =
        matches!(a, DataType::Decimal { .. }) || matches!(b, DataType::Decimal { .. });
    match (function, as_decimal(&a), as_decimal(&b)) {
        (_, Some(x), Some(y)) if has_decimal => Ok(decimals(function, (left, x), (right, y))),
        // The type is the divisor's, computed in the wider one.
        (Function::Modulo, Some(_), Some(_)) => {
            let wide = common_type([&a, &b], Rules::Ordered).unwrap_or(DataType::BigInt);
            let modulo = build::strict(function, vec![cast(left, &wide), cast(right, &wide)], wide);
            Ok(cast(modulo, &b))
        }
        (Function::Modulo, ..) => {
            refuse("it exists for integers and decimals: cast to one of them")
        }
        _ => {
            let common = common_type([&a, &b], Rules::Ordered).unwrap_or(DataType::Double);
            Ok(build::strict(
                function,
                vec![cast(left, &common), cast(right, &common)],
                common,
            ))
        }
    }
}

/// Numbers with their precision and scale.
fn decimals(
    function: Function,
    (left, x): (Expr, (i32, i32)),
    (right, y): (Expr, (i32, i32)),
) -> Expr {
    let data = match function {
        Function::Multiply => coercion::times(x, y),
        Function::Divide => coercion::divide(x, y),
        Function::Modulo => coercion::modulo(x, y),
        _ => coercion::minus_or_plus(x, y),
    };
    // Operands are both decimals, each of its own precision.
    let decimal = |expr: Expr| match as_decimal(&expr.ty.data) {
        Some((precision, 0)) if expr.ty.data.is_integer() => {
            let precision = u8::try_from(precision).unwrap_or(crate::types::MAX_DECIMAL);
            cast(
                expr,
                &DataType::Decimal {
                    precision,
                    scale: 0,
                },
            )
        }
        _ => expr,
    };
    build::strict(function, vec![decimal(left), decimal(right)], data)
}

fn is_zero(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Literal(Literal::Integer(value)) => *value == 0,
        ExprKind::Literal(Literal::Decimal(digits)) => digits.bytes().all(|digit| digit == b'0'),
        _ => false,
    }
}

fn is_interval(ty: &DataType) -> bool {
    matches!(ty, DataType::IntervalDayTime | DataType::IntervalYearMonth)
}

fn is_temporal(ty: &DataType) -> bool {
    ty.is_timestamp() || matches!(ty, DataType::Date | DataType::Time)
}

fn temporal(function: Function, l: Expr, r: Expr) -> Option<Expr> {
    let (a, b) = (l.ty.data.clone(), r.ty.data.clone());
    match function {
        Function::Add if is_interval(&a) && is_temporal(&b) => temporal(function, r, l),
        Function::Add | Function::Subtract if is_temporal(&a) && is_interval(&b) => {
            let meets = match a {
                DataType::Time => b == DataType::IntervalDayTime,
                DataType::Date => whole_days(&r),
                _ => true,
            };
            meets.then(|| build::strict(function, vec![l, r], a))
        }
        Function::Add | Function::Subtract if is_interval(&a) && a == b => fold(function, &l, &r),
        Function::Multiply if is_interval(&a) && b.is_integer() => scaled(&l, &r),
        Function::Multiply if is_interval(&b) && a.is_integer() => scaled(&r, &l),
        _ => None,
    }
}

/// Flink drops the hours of an interval added to a date; Streamkeeper refuses such an interval.
fn whole_days(interval: &Expr) -> bool {
    match &interval.kind {
        ExprKind::Literal(Literal::IntervalMillis(ms)) => ms % MILLIS_PER_DAY == 0,
        ExprKind::Literal(Literal::IntervalMonths(_)) => true,
        _ => false,
    }
}

/// Sums of constant intervals are constants; others do not occur.
fn fold(function: Function, l: &Expr, r: &Expr) -> Option<Expr> {
    let minus = function == Function::Subtract;
    let literal = match (&l.kind, &r.kind) {
        (
            ExprKind::Literal(Literal::IntervalMillis(a)),
            ExprKind::Literal(Literal::IntervalMillis(b)),
        ) => Literal::IntervalMillis(if minus {
            a.checked_sub(*b)?
        } else {
            a.checked_add(*b)?
        }),
        (
            ExprKind::Literal(Literal::IntervalMonths(a)),
            ExprKind::Literal(Literal::IntervalMonths(b)),
        ) => Literal::IntervalMonths(if minus {
            a.checked_sub(*b)?
        } else {
            a.checked_add(*b)?
        }),
        _ => return None,
    };
    Some(Expr::literal(
        literal,
        LogicalType::not_null(l.ty.data.clone()),
    ))
}

fn scaled(interval: &Expr, factor: &Expr) -> Option<Expr> {
    let ExprKind::Literal(Literal::Integer(factor)) = factor.kind else {
        return None;
    };
    let literal = match &interval.kind {
        ExprKind::Literal(Literal::IntervalMillis(ms)) => {
            Literal::IntervalMillis(ms.checked_mul(factor)?)
        }
        ExprKind::Literal(Literal::IntervalMonths(months)) => {
            Literal::IntervalMonths(months.checked_mul(i32::try_from(factor).ok()?)?)
        }
        _ => return None,
    };
    Some(Expr::literal(literal, interval.ty.clone()))
}
