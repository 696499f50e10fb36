//! Functions of numbers.

use sqlparser::ast;
use streamkeeper_protocol::{
    expr::{Expr, ExprKind, Function, Literal},
    types::DataType,
};

use super::{analyzer::Analyzer, build};
use crate::{
    coercion::{self, as_decimal, cast},
    error::{Result, SqlError},
};

impl Analyzer<'_> {
    pub(super) fn same_number(
        &mut self,
        function: Function,
        name: &str,
        arg: &ast::Expr,
    ) -> Result<Expr> {
        let value = self.analyze(arg)?;
        self.require_numeric(&value, arg, name)?;
        let data = value.ty.data.clone();
        Ok(build::strict(function, vec![value], data))
    }

    pub(super) fn doubles(
        &mut self,
        function: Function,
        name: &str,
        args: &[&ast::Expr],
    ) -> Result<Expr> {
        let mut values = Vec::new();
        for arg in args {
            let value = self.analyze(arg)?;
            self.require_numeric(&value, arg, name)?;
            values.push(cast(value, &DataType::Double));
        }
        Ok(build::strict(function, values, DataType::Double))
    }

    pub(super) fn round(&mut self, args: &[&ast::Expr]) -> Result<Expr> {
        let value = self.analyze(args[0])?;
        self.require_numeric(&value, args[0], "ROUND")?;
        let digits = match args.get(1) {
            Some(digits) => {
                let typed = self.analyze(digits)?;
                if !matches!(
                    typed.ty.data,
                    DataType::TinyInt | DataType::SmallInt | DataType::Int
                ) {
                    return Err(SqlError::at(
                        self.position(digits),
                        "ROUND takes its number of digits as an INT",
                    ));
                }
                Some(cast(typed, &DataType::Int))
            }
            None => None,
        };
        let constant = match digits.as_ref().map(|digits| &digits.kind) {
            None => Some(0),
            Some(ExprKind::Literal(Literal::Integer(digits))) => i32::try_from(*digits).ok(),
            Some(_) => None,
        };
        let data = match (&value.ty.data, as_decimal(&value.ty.data), constant) {
            (DataType::Decimal { .. }, Some(decimal), Some(digits)) => {
                coercion::round(decimal, digits)
            }
            (other, ..) => other.clone(),
        };
        Ok(build::strict(
            Function::Round,
            [Some(value), digits].into_iter().flatten().collect(),
            data,
        ))
    }
}
