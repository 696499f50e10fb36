//! `GROUP BY`, aggregates and `SELECT DISTINCT`.

use std::collections::HashMap;

use sqlparser::ast::{self, Spanned};
use streamkeeper_protocol::{
    aggregate::AggregateCall,
    expr::{Expr, ExprKind, Literal},
    types::{DataType, LogicalType},
};

use super::{
    planner::Planner,
    projection::Item,
    rows::{Context, Output, Rows, Windowed},
    windowed::below_window,
};
use crate::{
    coercion::cast,
    error::{Position, Result, SqlError},
    expression::{AggregateRequest, Aggregates, Analyzer},
    graph::RelationId,
    lineage::Lineage,
    scope::Scope,
    script::Places,
};

/// What is grouped by.
pub(super) struct Grouping {
    /// Key expressions over the scope, without the window's columns.
    keys: Vec<(Expr, Position)>,
    /// Which of `window_start`, `window_end`, `window_time` are among the keys.
    properties: [bool; 3],
    pub(super) position: Position,
}

impl Grouping {
    pub(super) fn of(
        keys: &[ast::Expr],
        scope: &Scope,
        places: &Places,
        windowed: Option<&Windowed>,
    ) -> Result<Self> {
        let mut flat = Vec::new();
        for key in keys {
            match key {
                ast::Expr::Tuple(inner) => flat.extend(inner),
                ast::Expr::Nested(inner) => flat.push(inner.as_ref()),
                other => flat.push(other),
            }
        }
        let position = keys
            .first()
            .map_or(Position::default(), |key| key.span().start.into());
        let mut grouping = Self {
            keys: Vec::new(),
            properties: [false; 3],
            position,
        };
        let mut analyzer = Analyzer::new(scope, places, Aggregates::Refused("GROUP BY"));
        for key in flat {
            let at = analyzer.position(key);
            let typed = analyzer.analyze(key)?;
            if let ExprKind::Literal(Literal::Integer(_)) = typed.kind {
                return Err(SqlError::at(at, "GROUP BY does not take positions")
                    .hint("name the column or repeat its expression"));
            }
            let property = match (&typed.kind, windowed) {
                (ExprKind::Column(index), Some(windowed)) => match windowed.outputs[*index] {
                    Output::Property(property) => Some(property),
                    Output::Column(_) => None,
                },
                _ => None,
            };
            match property {
                Some(property) => grouping.properties[property] = true,
                None => grouping.keys.push((typed, at)),
            }
        }
        Ok(grouping)
    }
}

/// An aggregating query, analysed.
pub(super) struct Grouped {
    pub(super) rows: Rows,
    pub(super) scope: Scope,
    pub(super) filter: Option<Expr>,
    pub(super) grouping: Grouping,
    pub(super) calls: Vec<AggregateRequest>,
    pub(super) list: Vec<Item>,
    pub(super) having: Option<Expr>,
    /// Where columns were named.
    pub(super) named: HashMap<usize, Position>,
    pub(super) position: Position,
}

/// Columns that an aggregation needs of its input, each once.
#[derive(Default)]
struct Needed(Vec<(String, Expr)>);

impl Needed {
    fn add(&mut self, name: &str, expr: Expr) -> usize {
        if let Some(index) = self.0.iter().position(|(_, known)| *known == expr) {
            return index;
        }
        let taken = |name: &str| self.0.iter().any(|(known, _)| known == name);
        let mut unique = name.to_owned();
        while taken(&unique) {
            unique = format!("{name}${}", self.0.len());
        }
        self.0.push((unique, expr));
        self.0.len() - 1
    }
}

impl Planner<'_> {
    pub(super) fn aggregate(&mut self, query: Grouped, context: &Context) -> Result<Rows> {
        let Grouped {
            rows,
            scope,
            filter,
            grouping,
            calls,
            list,
            having,
            named,
            position,
        } = query;
        if let Some(windowed) = &rows.windowed
            && !(grouping.properties[0] && grouping.properties[1])
        {
            return Err(SqlError::at(
                grouping.position.or(windowed.position),
                "windows must be grouped by window_start and window_end",
            )
            .hint("write GROUP BY window_start, window_end and then other columns"));
        }
        let below = |expr: &Expr, at: Position| match &rows.windowed {
            Some(windowed) => below_window(expr, windowed, &scope.columns, at),
            None => Ok(expr.clone()),
        };
        let input = self.graph.get(rows.relation).columns.clone();
        let lineages: Vec<Lineage> = input.iter().map(|column| column.lineage.clone()).collect();
        let filter = filter.map(|filter| below(&filter, position)).transpose()?;

        // Keys in the order of their lineage: state does not depend on the order in which they are
        // written.
        let mut keys = Vec::new();
        for (key, at) in &grouping.keys {
            let expr = below(key, *at)?;
            let lineage = Lineage::of_expr(&expr, &lineages);
            if !keys.iter().any(|(_, known, _)| known == key) {
                keys.push((lineage, key.clone(), expr));
            }
        }
        keys.sort_by(|a, b| a.0.cmp(&b.0));

        let mut needed = Needed::default();
        let mut key_columns = Vec::new();
        for (index, (_, _, expr)) in keys.iter().enumerate() {
            let name = match expr.kind {
                ExprKind::Column(column) => input[column].name.clone(),
                _ => format!("key${index}"),
            };
            key_columns.push(needed.add(&name, expr.clone()));
        }
        let time = rows.windowed.as_ref().map(|windowed| {
            let column = &input[windowed.time];
            needed.add(&column.name, Expr::column(windowed.time, column.ty.clone()))
        });
        let mut aggregates = Vec::new();
        for (index, request) in calls.iter().enumerate() {
            let arg = request
                .arg
                .as_ref()
                .map(|arg| below(arg, request.position))
                .transpose()?;
            let only = request
                .filter
                .as_ref()
                .map(|filter| below(filter, request.position))
                .transpose()?;
            let request = AggregateRequest {
                arg,
                filter: only,
                ..request.clone()
            };
            aggregates.push((format!("agg${index}"), call(request, &input, &mut needed)));
        }
        if needed.0.is_empty() {
            // COUNT(*) without keys counts rows, and rows need a column.
            needed.add(
                "row",
                Expr::literal(
                    Literal::Boolean(true),
                    LogicalType::not_null(DataType::Boolean),
                ),
            );
        }
        let relation = self.graph.calc(rows.relation, filter, needed.0, position);
        let window = rows
            .windowed
            .as_ref()
            .map(|windowed| windowed.window)
            .zip(time);
        let count = aggregates.len();
        let relation = self.graph.aggregate(
            relation,
            window,
            key_columns,
            aggregates,
            &context.place,
            position,
        );

        let output = Outputs {
            planner: self,
            relation,
            keys: &keys,
            calls: count,
            scope: &scope,
            windowed: rows.windowed.as_ref(),
            properties: grouping.properties,
            named: &named,
        };
        let mut project = Vec::new();
        for item in list {
            project.push((item.name, output.over(&item.expr, item.position)?));
        }
        let having = having
            .map(|having| output.over(&having, position))
            .transpose()?;
        let relation = self.graph.calc(relation, having, project, position);
        Ok(self.rows(relation))
    }

    /// Each row once.
    pub(super) fn distinct(
        &mut self,
        rows: &Rows,
        position: Position,
        context: &Context,
    ) -> Result<Rows> {
        if let Some(windowed) = &rows.windowed {
            return Err(super::window::not_aggregated(windowed.position));
        }
        let mut order: Vec<usize> = (0..rows.columns.len()).collect();
        order.sort_by(|a, b| rows.columns[*a].lineage.cmp(&rows.columns[*b].lineage));
        let relation = self.graph.aggregate(
            rows.relation,
            None,
            order.clone(),
            Vec::new(),
            &context.place,
            position,
        );
        let project = rows.columns.iter().enumerate().map(|(index, column)| {
            let at = order.iter().position(|key| *key == index).unwrap_or(index);
            (column.name.clone(), Expr::column(at, column.ty.clone()))
        });
        let project = project.collect();
        let relation = self.graph.calc(relation, None, project, position);
        Ok(self.rows(relation))
    }
}

fn call(
    request: AggregateRequest,
    input: &[crate::graph::Column],
    needed: &mut Needed,
) -> AggregateCall {
    let uid = request.uid(input);
    let name = |expr: &Expr, fallback: &str| match expr.kind {
        ExprKind::Column(column) => input[column].name.clone(),
        _ => fallback.to_owned(),
    };
    let arg_type = request.arg.as_ref().map(|arg| arg.ty.clone());
    AggregateCall {
        uid,
        function: request.function,
        arg: request.arg.map(|arg| needed.add(&name(&arg, "arg"), arg)),
        arg_type,
        distinct: request.distinct,
        filter: request
            .filter
            .map(|filter| needed.add(&name(&filter, "filter"), filter)),
        ty: request.ty,
    }
}

/// The aggregation's output: keys, aggregates, the window's columns.
struct Outputs<'p, 'a> {
    planner: &'p Planner<'a>,
    relation: RelationId,
    keys: &'p [(Lineage, Expr, Expr)],
    calls: usize,
    scope: &'p Scope,
    windowed: Option<&'p Windowed>,
    properties: [bool; 3],
    named: &'p HashMap<usize, Position>,
}

impl Outputs<'_, '_> {
    /// An expression over the scope and the collected aggregates as one over the aggregation's
    /// output.
    fn over(&self, expr: &Expr, position: Position) -> Result<Expr> {
        if let Some(key) = self.keys.iter().position(|(_, key, _)| key == expr) {
            return Ok(Expr::column(key, expr.ty.clone()));
        }
        if let ExprKind::Column(index) = expr.kind {
            return self.column(index, expr, position);
        }
        let replace = |expr: &Expr| self.over(expr, position);
        let kind = match &expr.kind {
            ExprKind::Call { function, args } => ExprKind::Call {
                function: *function,
                args: args.iter().map(replace).collect::<Result<_>>()?,
            },
            ExprKind::Cast { input, tolerant } => ExprKind::Cast {
                input: Box::new(self.over(input, position)?),
                tolerant: *tolerant,
            },
            ExprKind::Case {
                branches,
                otherwise,
            } => {
                let mut replaced = Vec::new();
                for (when, then) in branches {
                    replaced.push((self.over(when, position)?, self.over(then, position)?));
                }
                let otherwise = match otherwise {
                    Some(otherwise) => Some(Box::new(self.over(otherwise, position)?)),
                    None => None,
                };
                ExprKind::Case {
                    branches: replaced,
                    otherwise,
                }
            }
            other => other.clone(),
        };
        Ok(Expr {
            kind,
            ty: expr.ty.clone(),
        })
    }

    fn column(&self, index: usize, expr: &Expr, position: Position) -> Result<Expr> {
        let width = self.scope.columns.len();
        if let Some(call) = index.checked_sub(width) {
            return Ok(Expr::column(self.keys.len() + call, expr.ty.clone()));
        }
        let property = self
            .windowed
            .and_then(|windowed| match windowed.outputs[index] {
                Output::Property(property) if self.properties[property] => Some(property),
                _ => None,
            });
        let Some(property) = property else {
            let name = &self.scope.columns[index].name;
            let at = self.named.get(&index).copied().unwrap_or(position);
            return Err(SqlError::at(
                at,
                format!("the column '{name}' is neither grouped by nor aggregated"),
            )
            .hint("add it to GROUP BY, or aggregate it"));
        };
        let at = self.keys.len() + self.calls + property;
        let column = &self.planner.graph.get(self.relation).columns[at];
        // Start and end are in local time, also where the time column is an instant.
        Ok(cast(Expr::column(at, column.ty.clone()), &expr.ty.data))
    }
}
