//! Analyzes an expression by its kind.

use sqlparser::ast::{self, BinaryOperator, UnaryOperator};
use streamkeeper_protocol::{
    expr::{Expr, Function},
    types::{DataType, LogicalType},
};

use super::{
    analyzer::Analyzer,
    arguments::operands,
    build::{self, MAX_WEIGHT, logical, weight},
    interval::interval_literal,
    literal,
};
use crate::error::{Position, Result, SqlError};

/// Levels of an expression. Each costs stack.
const MAX_DEPTH: usize = 200;

impl Analyzer<'_> {
    /// A typed expression.
    pub(crate) fn analyze(&mut self, expr: &ast::Expr) -> Result<Expr> {
        if self.depth >= MAX_DEPTH {
            return Err(self.too_deep(expr));
        }
        self.depth += 1;
        let result = self.dispatch(expr);
        self.depth -= 1;
        let result = result?;
        if weight(&result) > MAX_WEIGHT {
            return Err(self.too_deep(expr));
        }
        Ok(result)
    }

    fn too_deep(&self, expr: &ast::Expr) -> SqlError {
        // The span of a very deep tree is itself expensive to find.
        let position = if self.depth >= MAX_DEPTH {
            self.places.start
        } else {
            self.position(expr)
        };
        SqlError::at(position, "the expression nests too deeply")
            .hint("compute a part of it in a view")
    }

    /// An expression of a type, where NULL fits every type.
    pub(crate) fn condition(&mut self, expr: &ast::Expr, what: &str) -> Result<Expr> {
        let typed = self.analyze(expr)?;
        match typed.ty.data {
            DataType::Boolean => Ok(typed),
            DataType::Null => Ok(crate::coercion::cast(typed, &DataType::Boolean)),
            other => Err(SqlError::at(
                self.position(expr),
                format!("{what} must be a condition, it is of type {other}"),
            )),
        }
    }

    fn dispatch(&mut self, expr: &ast::Expr) -> Result<Expr> {
        use ast::Expr as E;
        match expr {
            E::Identifier(name) => {
                let position = Position::from(name.span.start);
                let column = self.scope.resolve(&name.value, position);
                self.remember(column, position)
            }
            E::CompoundIdentifier(parts) => self.qualified(parts),
            E::Nested(inner) => self.analyze(inner),
            E::Value(value) => self.value(value),
            E::TypedString(typed) => literal::typed_string(typed, self.position(expr)),
            E::Interval(interval) => interval_literal(interval, self.position(expr)),
            E::UnaryOp { op, expr: inner } => self.unary(*op, inner),
            E::BinaryOp { left, op, right } => self.binary(expr, left, op, right),
            E::IsNull(inner) => self.test(Function::IsNull, inner, false),
            E::IsNotNull(inner) => self.test(Function::IsNotNull, inner, false),
            E::IsTrue(inner) => self.truth(Function::IsTrue, inner, false),
            E::IsNotTrue(inner) => self.truth(Function::IsTrue, inner, true),
            E::IsFalse(inner) => self.truth(Function::IsFalse, inner, false),
            E::IsNotFalse(inner) => self.truth(Function::IsFalse, inner, true),
            E::IsUnknown(inner) => self.truth(Function::IsNull, inner, false),
            E::IsNotUnknown(inner) => self.truth(Function::IsNull, inner, true),
            E::IsNotDistinctFrom(left, right) => self.distinct(left, right, true),
            E::IsDistinctFrom(left, right) => self.distinct(left, right, false),
            E::In {
                expr: value,
                target,
                negated,
                global: false,
            } => self.is_in(value, target, *negated),
            E::Between {
                expr: value,
                negated,
                low,
                high,
            } => self.between(value, low, high, *negated),
            E::Like {
                negated,
                any: false,
                expr: value,
                pattern,
                escape_char,
            } => self.like(value, pattern, escape_char.as_deref(), *negated),
            E::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(
                self.position(expr),
                operand.as_deref(),
                conditions,
                else_result.as_deref(),
            ),
            E::Cast {
                kind,
                expr: value,
                data_type,
                format: None,
            } => self.cast(kind, value, data_type),
            E::Extract {
                field,
                syntax: ast::ExtractSyntax::From,
                expr: value,
            } => self.extract(field, value),
            E::Ceil { expr: value, field } => self.ceil_or_floor(value, field, true),
            E::Floor { expr: value, field } => self.ceil_or_floor(value, field, false),
            E::Position { expr: part, r#in } => self.position_in(part, r#in),
            E::Substring {
                expr: value,
                substring_from,
                substring_for,
                ..
            } => self.substring(
                self.position(expr),
                value,
                substring_from.as_deref(),
                substring_for.as_deref(),
            ),
            E::Trim {
                expr: value,
                trim_where,
                trim_what,
                trim_characters: None,
            } => self.trim(*trim_where, trim_what.as_deref(), value),
            E::Function(function) => self.function(function, self.position(expr)),
            other => Err(self.refuse(other)),
        }
    }

    fn remember(&mut self, column: Result<Expr>, position: Position) -> Result<Expr> {
        let column = column?;
        if let streamkeeper_protocol::expr::ExprKind::Column(index) = column.kind {
            self.named.insert(index, position);
        }
        Ok(column)
    }

    fn qualified(&mut self, parts: &[ast::Ident]) -> Result<Expr> {
        let position = parts
            .first()
            .map_or(self.places.start, |part| part.span.start.into());
        match parts {
            [qualifier, name] => {
                let column = self
                    .scope
                    .resolve_qualified(&qualifier.value, &name.value, position);
                self.remember(column, position)
            }
            _ => Err(
                SqlError::at(position, "a column is named by itself or as table.column")
                    .hint("nested columns, catalogs and databases are not supported"),
            ),
        }
    }

    fn unary(&mut self, op: UnaryOperator, inner: &ast::Expr) -> Result<Expr> {
        match op {
            UnaryOperator::Not => {
                let value = self.condition(inner, "the operand of NOT")?;
                Ok(build::not(value))
            }
            UnaryOperator::Minus => self.negate(inner),
            UnaryOperator::Plus => {
                let value = self.analyze(inner)?;
                self.require_numeric(&value, inner, "+")?;
                Ok(value)
            }
            other => Err(SqlError::at(
                self.position(inner),
                format!("the operator {other} is not supported"),
            )),
        }
    }

    fn binary(
        &mut self,
        whole: &ast::Expr,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
    ) -> Result<Expr> {
        match op {
            BinaryOperator::And => self.chain(whole, &BinaryOperator::And, Function::And),
            BinaryOperator::Or => self.chain(whole, &BinaryOperator::Or, Function::Or),
            BinaryOperator::StringConcat => self.concatenation(whole),
            BinaryOperator::Plus => self.arithmetic(Function::Add, left, right),
            BinaryOperator::Minus => self.arithmetic(Function::Subtract, left, right),
            BinaryOperator::Multiply => self.arithmetic(Function::Multiply, left, right),
            BinaryOperator::Divide => self.arithmetic(Function::Divide, left, right),
            BinaryOperator::Modulo => self.arithmetic(Function::Modulo, left, right),
            BinaryOperator::Eq => self.compare(Function::Equal, left, right),
            BinaryOperator::NotEq => self.compare(Function::NotEqual, left, right),
            BinaryOperator::Lt => self.compare(Function::Less, left, right),
            BinaryOperator::LtEq => self.compare(Function::LessOrEqual, left, right),
            BinaryOperator::Gt => self.compare(Function::Greater, left, right),
            BinaryOperator::GtEq => self.compare(Function::GreaterOrEqual, left, right),
            other => Err(SqlError::at(
                self.position(left),
                format!("the operator {other} is not supported"),
            )),
        }
    }

    /// `a AND b AND …`, as one call of many arguments.
    fn chain(
        &mut self,
        whole: &ast::Expr,
        op: &BinaryOperator,
        function: Function,
    ) -> Result<Expr> {
        let word = if function == Function::And {
            "an operand of AND"
        } else {
            "an operand of OR"
        };
        let mut args = Vec::new();
        for operand in operands(whole, op) {
            args.push(self.condition(operand, word)?);
        }
        Ok(logical(function, args))
    }

    fn test(&mut self, function: Function, inner: &ast::Expr, negated: bool) -> Result<Expr> {
        let value = self.analyze(inner)?;
        let test = build::call(
            function,
            vec![value],
            LogicalType::not_null(DataType::Boolean),
        );
        Ok(if negated { build::not(test) } else { test })
    }

    fn truth(&mut self, function: Function, inner: &ast::Expr, negated: bool) -> Result<Expr> {
        let value = self.condition(inner, "the operand of IS")?;
        let test = build::call(
            function,
            vec![value],
            LogicalType::not_null(DataType::Boolean),
        );
        Ok(if negated { build::not(test) } else { test })
    }

    fn cast(
        &mut self,
        kind: &ast::CastKind,
        value: &ast::Expr,
        ty: &ast::DataType,
    ) -> Result<Expr> {
        let position = self.position(value);
        let tolerant = match kind {
            ast::CastKind::Cast => false,
            ast::CastKind::TryCast => true,
            _ => {
                return Err(SqlError::at(position, "this kind of cast is not supported")
                    .hint("write CAST(value AS type) or TRY_CAST(value AS type)"));
            }
        };
        let data =
            crate::types::resolve_type(ty).map_err(|message| SqlError::at(position, message))?;
        let input = self.analyze(value)?;
        if let Err(advice) = crate::coercion::explicit_cast(&input.ty.data, &data) {
            return Err(SqlError::at(
                position,
                format!("{} cannot be cast to {data}", input.ty.data),
            )
            .hint(advice));
        }
        if !tolerant {
            return Ok(crate::coercion::cast(input, &data));
        }
        Ok(build::try_cast(input, data))
    }

    fn refuse(&self, expr: &ast::Expr) -> SqlError {
        use ast::Expr as E;
        let (what, advice) = match expr {
            E::Subquery(_) | E::Exists { .. } => {
                ("a subquery in an expression", "put the subquery into FROM")
            }
            E::Tuple(_) => ("a row value", "write one expression per column"),
            E::Array(_) | E::Map(_) | E::Struct { .. } => {
                ("a nested value", "nested types are not supported yet")
            }
            E::CompoundFieldAccess { .. } | E::JsonAccess { .. } => (
                "access to a nested value",
                "nested types are not supported yet",
            ),
            E::SimilarTo { .. } => ("SIMILAR TO", "use LIKE"),
            E::ILike { .. } => ("ILIKE", "use LOWER(…) LIKE …"),
            E::RLike { .. } => ("a regular expression", "use LIKE"),
            E::AtTimeZone { .. } => ("AT TIME ZONE", "set 'table.local-time-zone'"),
            E::Overlay { .. } => ("OVERLAY", "use SUBSTRING and CONCAT"),
            E::GroupingSets(_) | E::Cube(_) | E::Rollup(_) => (
                "GROUPING SETS, CUBE or ROLLUP",
                "write one INSERT INTO per grouping",
            ),
            _ => {
                return SqlError::at(
                    self.position(expr),
                    format!("the expression '{}' is not supported", shorten(expr)),
                );
            }
        };
        // For some of these the parser knows only the position of their content.
        let word = match expr {
            E::Exists { .. } => "EXISTS",
            E::Array(_) => "ARRAY",
            E::GroupingSets(_) => "GROUPING",
            E::Cube(_) => "CUBE",
            E::Rollup(_) => "ROLLUP",
            _ => "",
        };
        let at = self.places.before(word, self.position(expr));
        SqlError::at(at, format!("{what} is not supported")).hint(advice)
    }
}

fn shorten(expr: &ast::Expr) -> String {
    let text = expr.to_string();
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
