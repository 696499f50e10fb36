//! Comparisons, `IN`, `BETWEEN`, `LIKE`, `IS DISTINCT FROM`.

use sqlparser::ast;
use streamkeeper_protocol::{
    expr::{Expr, ExprKind, Function, Literal},
    types::{DataType, LogicalType},
};

use super::{analyzer::Analyzer, build, literal, pattern::escapes_well};
use crate::{
    coercion::{Rules, as_decimal, cast, common_type},
    error::{Position, Result, SqlError},
};

impl Analyzer<'_> {
    pub(super) fn compare(
        &mut self,
        function: Function,
        left: &ast::Expr,
        right: &ast::Expr,
    ) -> Result<Expr> {
        let (l, r) = (self.operand(left)?, self.operand(right)?);
        comparison(function, l, r)
    }

    /// A value and where it stands.
    pub(super) fn operand(&mut self, expr: &ast::Expr) -> Result<Operand> {
        Ok((self.analyze(expr)?, self.position(expr)))
    }

    pub(super) fn distinct(
        &mut self,
        left: &ast::Expr,
        right: &ast::Expr,
        same: bool,
    ) -> Result<Expr> {
        let operands = comparable(vec![self.operand(left)?, self.operand(right)?])?;
        let test = build::call(
            Function::IsNotDistinctFrom,
            operands,
            LogicalType::not_null(DataType::Boolean),
        );
        Ok(if same { test } else { build::not(test) })
    }

    pub(super) fn between(
        &mut self,
        value: &ast::Expr,
        low: &ast::Expr,
        high: &ast::Expr,
        negated: bool,
    ) -> Result<Expr> {
        let value = self.operand(value)?;
        let (low, high) = (self.operand(low)?, self.operand(high)?);
        let from = comparison(Function::GreaterOrEqual, value.clone(), low)?;
        let to = comparison(Function::LessOrEqual, value, high)?;
        let both = build::logical(Function::And, vec![from, to]);
        Ok(if negated { build::not(both) } else { both })
    }

    pub(super) fn is_in(
        &mut self,
        value: &ast::Expr,
        target: &ast::InTarget,
        negated: bool,
    ) -> Result<Expr> {
        let position = self.position(value);
        let ast::InTarget::List(list) = target else {
            return Err(
                SqlError::at(position, "IN with a subquery is not supported")
                    .hint("list the values, as in x IN ('a', 'b')"),
            );
        };
        let mut operands = vec![self.operand(value)?];
        for item in list {
            operands.push(self.operand(item)?);
        }
        if operands.len() == 1 {
            return Err(SqlError::at(position, "IN needs at least one value"));
        }
        let operands = comparable(operands)?;
        let test = build::strict(Function::InList, operands, DataType::Boolean);
        Ok(if negated { build::not(test) } else { test })
    }

    pub(super) fn like(
        &mut self,
        value: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::Expr>,
        negated: bool,
    ) -> Result<Expr> {
        let pattern_at = self.position(pattern);
        let mut args = vec![self.text(value, "LIKE")?, self.text(pattern, "LIKE")?];
        if let Some(escape) = escape {
            let position = self.position(escape);
            let escape = self.text(escape, "ESCAPE")?;
            let letter = match &escape.kind {
                ExprKind::Literal(Literal::String(text)) => single(text),
                _ => None,
            };
            let Some(letter) = letter else {
                let text = "ESCAPE takes one character, as in ESCAPE '!'";
                return Err(SqlError::at(position, text));
            };
            if let ExprKind::Literal(Literal::String(pattern)) = &args[1].kind
                && !escapes_well(pattern, letter)
            {
                return Err(SqlError::at(
                    pattern_at,
                    format!("'{letter}' must stand before %, _ or itself in the pattern"),
                ));
            }
            args.push(escape);
        }
        let test = build::strict(Function::Like, args, DataType::Boolean);
        Ok(if negated { build::not(test) } else { test })
    }
}

/// The letter of a text that has only one.
fn single(text: &str) -> Option<char> {
    let mut letters = text.chars();
    letters.next().filter(|_| letters.next().is_none())
}

/// A value and where it stands.
pub(super) type Operand = (Expr, Position);

/// A comparison of two values that have a type in common.
pub(super) fn comparison(function: Function, l: Operand, r: Operand) -> Result<Expr> {
    Ok(build::strict(
        function,
        comparable(vec![l, r])?,
        DataType::Boolean,
    ))
}

/// The operands with one type: the one they have in common, where a text meets a date, time,
/// timestamp or boolean that type. Decimals keep their precision.
fn comparable(operands: Vec<Operand>) -> Result<Vec<Expr>> {
    let position = operands[0].1;
    let types: Vec<&DataType> = operands.iter().map(|(expr, _)| &expr.ty.data).collect();
    let is_text_or_null = |ty: &&&DataType| ty.is_string() || ***ty == DataType::Null;
    let texts = types.iter().filter(|ty| ty.is_string()).count();
    let others: Vec<&DataType> = types
        .iter()
        .filter(|ty| !is_text_or_null(ty))
        .copied()
        .collect();
    let common = if texts == 0 || others.is_empty() {
        common_type(types.iter().copied(), Rules::Ordered)
    } else {
        common_type(others, Rules::Ordered).filter(takes_text)
    };
    let Some(common) = common else {
        return Err(incomparable(&types, position));
    };
    // Untyped NULLs among themselves.
    let common = if common == DataType::Null {
        DataType::Boolean
    } else {
        common
    };
    if common == DataType::Bytes && operands.len() > 2 {
        return Err(SqlError::at(position, "BYTES cannot be compared with IN"));
    }
    operands
        .into_iter()
        .map(|(operand, at)| convert(operand, &common, at))
        .collect()
}

fn takes_text(ty: &DataType) -> bool {
    ty.is_timestamp() || matches!(ty, DataType::Date | DataType::Time | DataType::Boolean)
}

fn convert(operand: Expr, common: &DataType, at: Position) -> Result<Expr> {
    if let DataType::Decimal { .. } = common {
        return Ok(match (&operand.ty.data, as_decimal(&operand.ty.data)) {
            (DataType::Decimal { .. }, _) => operand,
            (_, Some((precision, 0))) => {
                let precision = u8::try_from(precision).unwrap_or(crate::types::MAX_DECIMAL);
                cast(
                    operand,
                    &DataType::Decimal {
                        precision,
                        scale: 0,
                    },
                )
            }
            _ => cast(operand, common),
        });
    }
    if let ExprKind::Literal(Literal::String(text)) = &operand.kind {
        // A constant text is converted once, here.
        if let Some(literal) = literal::temporal_constant(text, common) {
            return Ok(Expr::literal(
                literal,
                LogicalType::not_null(common.clone()),
            ));
        }
        if let Some(form) = literal::misread(text, common) {
            return Err(
                SqlError::at(at, format!("'{text}' is not a value of {common}"))
                    .hint(format!("it is written {form}")),
            );
        }
    }
    Ok(cast(operand, common))
}

fn incomparable(types: &[&DataType], position: Position) -> SqlError {
    let first = types[0];
    let common = |ty: &&&DataType| common_type([first, **ty], Rules::Ordered).is_none();
    let other = types
        .iter()
        .find(common)
        .copied()
        .unwrap_or(types[types.len() - 1]);
    let error = SqlError::at(position, format!("{first} cannot be compared with {other}"));
    let text_and_number =
        (first.is_string() && other.is_numeric()) || (first.is_numeric() && other.is_string());
    error.hint(if text_and_number {
        "write the number without quotes, or CAST one side to the other's type"
    } else {
        "CAST one side to the other's type"
    })
}
