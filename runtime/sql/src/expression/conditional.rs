//! `CASE`, `IF`, `COALESCE`, `IFNULL`, `NULLIF`, `GREATEST`, `LEAST`.

use sqlparser::ast;
use streamkeeper_protocol::{
    expr::{Expr, ExprKind, Function},
    types::{DataType, LogicalType},
};

use super::{
    analyzer::Analyzer,
    build::{self, null},
    comparison::comparison,
};
use crate::{
    coercion::{Rules, cast, common_type},
    error::{Position, Result, SqlError},
};

impl Analyzer<'_> {
    pub(super) fn case(
        &mut self,
        position: Position,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Expr> {
        let operand = operand.map(|operand| self.operand(operand)).transpose()?;
        let mut branches = Vec::new();
        for branch in conditions {
            let condition = match &operand {
                None => self.condition(&branch.condition, "a WHEN condition")?,
                Some(operand) => {
                    let value = self.operand(&branch.condition)?;
                    comparison(Function::Equal, operand.clone(), value)?
                }
            };
            branches.push((condition, self.analyze(&branch.result)?));
        }
        let otherwise = otherwise
            .map(|otherwise| self.analyze(otherwise))
            .transpose()?;
        let values = branches.iter().map(|(_, value)| value).chain(&otherwise);
        let data = common(
            values.map(|value| &value.ty.data),
            Rules::Ordered,
            "the branches of CASE",
            position,
        )?;
        let nullable = otherwise.as_ref().is_none_or(|value| value.ty.nullable)
            || branches.iter().any(|(_, value)| value.ty.nullable);
        let branches = branches
            .into_iter()
            .map(|(when, value)| (when, cast(value, &data)))
            .collect();
        let otherwise = otherwise.map(|value| Box::new(cast(value, &data)));
        Ok(Expr {
            kind: ExprKind::Case {
                branches,
                otherwise,
            },
            ty: LogicalType { data, nullable },
        })
    }

    /// `IF(condition, a, b)`: numbers and texts take their common type, timestamps the type of `a`.
    /// NULL if any argument may be, as in Flink.
    pub(super) fn if_else(&mut self, position: Position, args: &[&ast::Expr]) -> Result<Expr> {
        let condition = self.condition(args[0], "the first argument of IF")?;
        let (yes, no) = (self.analyze(args[1])?, self.analyze(args[2])?);
        let (a, b) = (&yes.ty.data, &no.ty.data);
        let mut data = common([a, b], Rules::Ordered, "the branches of IF", position)?;
        if a.is_timestamp() {
            data = a.clone();
        }
        let nullable = [&condition, &yes, &no].iter().any(|arg| arg.ty.nullable);
        let otherwise = Some(Box::new(cast(no, &data)));
        Ok(Expr {
            kind: ExprKind::Case {
                branches: vec![(condition, cast(yes, &data))],
                otherwise,
            },
            ty: LogicalType { data, nullable },
        })
    }

    /// `COALESCE` and `IFNULL`: NULL only if every argument may be.
    pub(super) fn coalesce(
        &mut self,
        position: Position,
        name: &str,
        args: &[&ast::Expr],
    ) -> Result<Expr> {
        let values = self.analyze_all(args)?;
        let what = format!("the arguments of {name}");
        let data = common(
            values.iter().map(|value| &value.ty.data),
            Rules::Widest,
            &what,
            position,
        )?;
        let nullable = values.iter().all(|value| value.ty.nullable);
        let mut values: Vec<Expr> = values.into_iter().map(|value| cast(value, &data)).collect();
        if values.len() == 1 {
            return Ok(values.remove(0));
        }
        Ok(build::call(
            Function::Coalesce,
            values,
            LogicalType { data, nullable },
        ))
    }

    /// `NULLIF(a, b)`: `a`, or NULL where `a = b`.
    pub(super) fn null_if(&mut self, position: Position, args: &[&ast::Expr]) -> Result<Expr> {
        let ((value, at), other) = (self.operand(args[0])?, self.operand(args[1])?);
        if value.ty.data == DataType::Null {
            return Err(untyped_null("the first argument of NULLIF", position));
        }
        let ty = LogicalType::nullable(value.ty.data.clone());
        let equal = comparison(Function::Equal, (value.clone(), at), other)?;
        let branches = vec![(equal, cast(null(), &ty.data))];
        Ok(Expr {
            kind: ExprKind::Case {
                branches,
                otherwise: Some(Box::new(value)),
            },
            ty,
        })
    }

    /// `GREATEST` and `LEAST`.
    pub(super) fn extreme(
        &mut self,
        position: Position,
        function: Function,
        args: &[&ast::Expr],
    ) -> Result<Expr> {
        let values = self.analyze_all(args)?;
        let what = if function == Function::Greatest {
            "the arguments of GREATEST"
        } else {
            "the arguments of LEAST"
        };
        let data = common(
            values.iter().map(|value| &value.ty.data),
            Rules::Widest,
            what,
            position,
        )?;
        let values = values.into_iter().map(|value| cast(value, &data)).collect();
        Ok(build::strict(function, values, data))
    }

    pub(super) fn analyze_all(&mut self, args: &[&ast::Expr]) -> Result<Vec<Expr>> {
        args.iter().map(|arg| self.analyze(arg)).collect()
    }
}

fn untyped_null(what: &str, position: Position) -> SqlError {
    SqlError::at(position, format!("{what} cannot be an untyped NULL"))
        .hint("write CAST(NULL AS type)")
}

fn common<'a>(
    types: impl IntoIterator<Item = &'a DataType>,
    rules: Rules,
    what: &str,
    position: Position,
) -> Result<DataType> {
    let types: Vec<&DataType> = types.into_iter().collect();
    match common_type(types.iter().copied(), rules) {
        Some(DataType::Null) => Err(untyped_null(what, position)),
        Some(data) => Ok(data),
        None => {
            let listed: Vec<String> = types.iter().map(ToString::to_string).collect();
            Err(SqlError::at(
                position,
                format!("{what} have no common type: {}", listed.join(", ")),
            )
            .hint("CAST them to one type"))
        }
    }
}
