//! Functions of texts.

use sqlparser::ast;
use streamkeeper_protocol::{
    expr::{Expr, Function},
    types::{DataType, LogicalType},
};

use super::{analyzer::Analyzer, build};
use crate::{
    coercion::cast,
    error::{Position, Result, SqlError},
};

impl Analyzer<'_> {
    /// An argument that must be a text.
    pub(super) fn text(&mut self, arg: &ast::Expr, name: &str) -> Result<Expr> {
        let value = self.analyze(arg)?;
        if value.ty.data.is_string() {
            return Ok(value);
        }
        let error = SqlError::at(
            self.position(arg),
            format!("{name} needs a text, it got {}", value.ty.data),
        );
        Err(error.hint("CAST it to STRING"))
    }

    pub(super) fn int(&mut self, arg: &ast::Expr, name: &str) -> Result<Expr> {
        let value = self.analyze(arg)?;
        if value.ty.data.is_integer() {
            return Ok(cast(value, &DataType::Int));
        }
        Err(SqlError::at(
            self.position(arg),
            format!("{name} needs a whole number, it got {}", value.ty.data),
        ))
    }

    pub(super) fn same_text(
        &mut self,
        function: Function,
        name: &str,
        arg: &ast::Expr,
    ) -> Result<Expr> {
        let value = self.text(arg, name)?;
        let data = value.ty.data.clone();
        Ok(build::strict(function, vec![value], data))
    }

    pub(super) fn strings(
        &mut self,
        function: Function,
        name: &str,
        args: &[&ast::Expr],
    ) -> Result<Expr> {
        let mut values = Vec::new();
        for arg in args {
            values.push(self.text(arg, name)?);
        }
        Ok(build::strict(function, values, DataType::STRING))
    }

    /// `a || b || …`, as one call.
    pub(super) fn concatenation(&mut self, whole: &ast::Expr) -> Result<Expr> {
        let mut values = Vec::new();
        for operand in super::arguments::operands(whole, &ast::BinaryOperator::StringConcat) {
            values.push(self.text(operand, "||")?);
        }
        let fixed = values
            .iter()
            .all(|value| matches!(value.ty.data, DataType::Char { .. }));
        let length = values
            .iter()
            .try_fold(0_u32, |sum, value| match value.ty.data {
                DataType::Char { length }
                | DataType::Varchar {
                    length: Some(length),
                } => sum.checked_add(length),
                _ => None,
            });
        let data = match length {
            Some(length) if fixed => DataType::Char { length },
            length => DataType::Varchar { length },
        };
        Ok(build::strict(Function::Concat, values, data))
    }

    pub(super) fn trim(
        &mut self,
        side: Option<ast::TrimWhereField>,
        what: Option<&ast::Expr>,
        value: &ast::Expr,
    ) -> Result<Expr> {
        let function = match side {
            None | Some(ast::TrimWhereField::Both) => Function::Trim,
            Some(ast::TrimWhereField::Leading) => Function::TrimLeading,
            Some(ast::TrimWhereField::Trailing) => Function::TrimTrailing,
        };
        let args: Vec<&ast::Expr> = std::iter::once(value).chain(what).collect();
        self.trimmed(function, "TRIM", &args)
    }

    pub(super) fn trimmed(
        &mut self,
        function: Function,
        name: &str,
        args: &[&ast::Expr],
    ) -> Result<Expr> {
        let value = self.text(args[0], name)?;
        let characters = match args.get(1) {
            Some(characters) => self.text(characters, name)?,
            None => build::string(" "),
        };
        let data = if name == "BTRIM" {
            DataType::STRING
        } else {
            varying(&value.ty.data)
        };
        Ok(build::strict(function, vec![value, characters], data))
    }

    pub(super) fn substring(
        &mut self,
        position: Position,
        value: &ast::Expr,
        from: Option<&ast::Expr>,
        length: Option<&ast::Expr>,
    ) -> Result<Expr> {
        let value = self.text(value, "SUBSTRING")?;
        let Some(from) = from else {
            return Err(SqlError::at(position, "SUBSTRING needs a start")
                .hint("write SUBSTRING(text FROM 1 FOR 3)"));
        };
        let ty = LogicalType::nullable(varying(&value.ty.data));
        let mut args = vec![value, self.int(from, "SUBSTRING")?];
        if let Some(length) = length {
            args.push(self.int(length, "SUBSTRING")?);
        }
        Ok(build::call(Function::Substring, args, ty))
    }

    pub(super) fn position_in(&mut self, part: &ast::Expr, whole: &ast::Expr) -> Result<Expr> {
        let args = vec![self.text(part, "POSITION")?, self.text(whole, "POSITION")?];
        Ok(build::strict(Function::Position, args, DataType::Int))
    }

    pub(super) fn split_index(&mut self, args: &[&ast::Expr]) -> Result<Expr> {
        let args = vec![
            self.text(args[0], "SPLIT_INDEX")?,
            self.text(args[1], "SPLIT_INDEX")?,
            self.int(args[2], "SPLIT_INDEX")?,
        ];
        Ok(build::call(
            Function::SplitIndex,
            args,
            LogicalType::nullable(DataType::STRING),
        ))
    }
}

fn varying(ty: &DataType) -> DataType {
    match ty {
        DataType::Char { length } => DataType::Varchar {
            length: Some(*length),
        },
        other => other.clone(),
    }
}
