//! `UNION ALL`.

use sqlparser::ast::{SetExpr, SetOperator, SetQuantifier};
use streamkeeper_protocol::{
    expr::Expr,
    types::{DataType, LogicalType},
};

use super::{
    planner::Planner,
    rows::{Context, Rows},
};
use crate::{
    coercion::{Rules, cast, common_type},
    error::{Position, Result, SqlError},
    graph::RelationId,
};

impl Planner<'_> {
    pub(super) fn set_expr(&mut self, expr: &SetExpr, context: &Context) -> Result<Rows> {
        let mut operands = Vec::new();
        let mut rest = expr;
        while let SetExpr::SetOperation {
            left,
            op,
            set_quantifier,
            right,
        } = rest
        {
            check(*op, *set_quantifier, left, context)?;
            operands.push(right.as_ref());
            rest = left;
        }
        if operands.is_empty() {
            return self.operand(rest, context);
        }
        operands.push(rest);
        operands.reverse();
        let mut inputs = Vec::new();
        for operand in operands {
            let rows = self.operand(operand, context)?;
            inputs.push((start_of(operand).or(context.places.start), rows));
        }
        self.union(inputs)
    }

    fn operand(&mut self, expr: &SetExpr, context: &Context) -> Result<Rows> {
        let start = context.places.start;
        match expr {
            SetExpr::Select(select) => self.select(select, context),
            SetExpr::Query(query) => self.query(query, context),
            SetExpr::SetOperation { .. } => self.set_expr(expr, context),
            SetExpr::Values(_) => Err(SqlError::at(
                context.places.find("VALUES", start),
                "VALUES is not supported",
            )
            .hint("select from a table")),
            SetExpr::Table(_) => Err(SqlError::at(
                context.places.find("TABLE", start),
                "TABLE is not supported here",
            )
            .hint("write SELECT * FROM …")),
            _ => Err(SqlError::at(start, "a query is expected")),
        }
    }

    /// Rows of all inputs, converted to their common types.
    pub(super) fn union(&mut self, inputs: Vec<(Position, Rows)>) -> Result<Rows> {
        let (position, first) = &inputs[0];
        let position = *position;
        for (at, rows) in &inputs {
            if let Some(windowed) = &rows.windowed {
                return Err(super::window::not_aggregated(windowed.position));
            }
            if rows.columns.len() != first.columns.len() {
                let text = format!(
                    "the queries of UNION ALL have different numbers of columns: {} and {}",
                    first.columns.len(),
                    rows.columns.len()
                );
                return Err(SqlError::at(*at, text));
            }
        }
        let mut types = Vec::new();
        for index in 0..first.columns.len() {
            let columns: Vec<_> = inputs
                .iter()
                .map(|(_, rows)| &rows.columns[index])
                .collect();
            let nullable = columns.iter().any(|column| column.ty.nullable);
            let common = common_type(columns.iter().map(|column| &column.ty.data), Rules::Ordered);
            let Some(data) = common.filter(|data| *data != DataType::Null) else {
                let listed: Vec<String> = columns
                    .iter()
                    .map(|column| column.ty.data.to_string())
                    .collect();
                let text = format!(
                    "column {} of UNION ALL has no common type: {}",
                    index + 1,
                    listed.join(", ")
                );
                return Err(SqlError::at(position, text).hint("CAST the columns to one type"));
            };
            types.push((
                first.columns[index].name.clone(),
                LogicalType { data, nullable },
            ));
        }
        let union = self.union_as(&types, inputs);
        Ok(self.rows(union))
    }

    /// Rows of relations whose columns have equal types except for nullability.
    pub(crate) fn union_of(&mut self, inputs: &[(RelationId, Position)]) -> RelationId {
        let inputs: Vec<_> = inputs
            .iter()
            .map(|(relation, at)| (*at, self.rows(*relation)))
            .collect();
        let mut types: Vec<(String, LogicalType)> = Vec::new();
        for (_, rows) in &inputs {
            for (index, column) in rows.columns.iter().enumerate() {
                match types.get_mut(index) {
                    // A column that may be NULL in one input may be NULL in all.
                    Some((_, ty)) => ty.nullable |= column.ty.nullable,
                    None => types.push((column.name.clone(), column.ty.clone())),
                }
            }
        }
        self.union_as(&types, inputs)
    }

    fn union_as(
        &mut self,
        types: &[(String, LogicalType)],
        inputs: Vec<(Position, Rows)>,
    ) -> RelationId {
        let position = inputs.first().map_or_else(Position::default, |(at, _)| *at);
        let mut relations = Vec::new();
        for (at, rows) in inputs {
            let project = types.iter().enumerate().map(|(index, (name, ty))| {
                let mut expr = cast(
                    Expr::column(index, rows.columns[index].ty.clone()),
                    &ty.data,
                );
                expr.ty.nullable = ty.nullable;
                (name.clone(), expr)
            });
            let project = project.collect();
            relations.push(self.graph.calc(rows.relation, None, project, at));
        }
        self.graph.union(relations, position)
    }
}

fn check(
    op: SetOperator,
    quantifier: SetQuantifier,
    left: &SetExpr,
    context: &Context,
) -> Result<()> {
    let word = match op {
        SetOperator::Union => "UNION",
        SetOperator::Except => "EXCEPT",
        SetOperator::Intersect => "INTERSECT",
        SetOperator::Minus => "MINUS",
    };
    let at = || {
        context
            .places
            .find(word, start_of(left).or(context.places.start))
    };
    match (op, quantifier) {
        (SetOperator::Union, SetQuantifier::All) => Ok(()),
        (SetOperator::Union, SetQuantifier::None | SetQuantifier::Distinct) => {
            Err(SqlError::at(at(), "UNION without ALL is not supported")
                .hint("write SELECT DISTINCT … FROM (… UNION ALL …)"))
        }
        _ => {
            Err(SqlError::at(at(), format!("{word} is not supported"))
                .hint("supported is UNION ALL"))
        }
    }
}

/// Where a query begins, without recursion.
pub(super) fn start_of(expr: &SetExpr) -> Position {
    let mut expr = expr;
    loop {
        match expr {
            SetExpr::Select(select) => return select.select_token.0.span.start.into(),
            SetExpr::SetOperation { left, .. } => expr = left,
            SetExpr::Query(query) => expr = query.body.as_ref(),
            _ => return Position::default(),
        }
    }
}
