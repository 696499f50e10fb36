//! `SELECT … FROM … WHERE … GROUP BY … HAVING …`.

use sqlparser::ast::{self, GroupByExpr};
use streamkeeper_protocol::expr::{Expr, ExprKind};

use super::{
    grouping::{Grouped, Grouping},
    planner::Planner,
    projection::{Item, items},
    rows::{Context, Output, Rows, Windowed},
    windowed::{below_window, no_properties},
};
use crate::{
    error::{Position, Result, SqlError},
    expression::{Aggregates, Analyzer},
    graph::Column,
    scope::Scope,
};

impl Planner<'_> {
    pub(super) fn select(&mut self, select: &ast::Select, context: &Context) -> Result<Rows> {
        let start = Position::from(select.select_token.0.span.start).or(context.places.start);
        let parts = Parts::of(select, start, context)?;
        let (rows, qualifier) = self.from(parts.from, context)?;
        let scope = Scope {
            qualifier,
            columns: rows.columns.clone(),
        };
        let places = &context.places;
        let filter = match parts.selection {
            Some(selection) => {
                let mut analyzer = Analyzer::new(&scope, places, Aggregates::Refused("WHERE"));
                let filter = analyzer.condition(selection, "WHERE")?;
                if let Some(windowed) = &rows.windowed {
                    let at = |index| analyzer.named.get(&index).copied().unwrap_or(start);
                    no_properties(&filter, windowed, &scope.columns, at)?;
                }
                Some(filter)
            }
            None => None,
        };
        let grouping = Grouping::of(parts.keys, &scope, places, rows.windowed.as_ref())?;
        let mut calls = Vec::new();
        let keyed = !parts.keys.is_empty();
        let collected = Aggregates::Collected {
            calls: &mut calls,
            keyed,
        };
        let mut analyzer = Analyzer::new(&scope, places, collected);
        let list = items(parts.projection, &mut analyzer)?;
        let having = parts
            .having
            .map(|having| analyzer.condition(having, "HAVING"))
            .transpose()?;
        let named = std::mem::take(&mut analyzer.named);
        let result = if keyed || having.is_some() || !calls.is_empty() {
            let position = grouping
                .position
                .or(calls.first().map_or(start, |call| call.position));
            self.aggregate(
                Grouped {
                    rows,
                    scope,
                    filter,
                    grouping,
                    calls,
                    list,
                    having,
                    named,
                    position,
                },
                context,
            )?
        } else {
            self.project(rows, filter, list, start)?
        };
        if parts.distinct {
            self.distinct(&result, start, context)
        } else {
            Ok(result)
        }
    }

    /// Filters and projects without aggregating.
    fn project(
        &mut self,
        rows: Rows,
        filter: Option<Expr>,
        list: Vec<Item>,
        position: Position,
    ) -> Result<Rows> {
        let Rows {
            relation,
            columns,
            windowed,
        } = rows;
        let Some(windowed) = windowed else {
            let project = list
                .into_iter()
                .map(|item| (item.name, item.expr))
                .collect();
            let relation = self.graph.calc(relation, filter, project, position);
            return Ok(self.rows(relation));
        };
        self.project_windowed(relation, &columns, &windowed, filter, list, position)
    }

    /// Projects below the windows: their own columns pass through and cannot be computed with
    /// before the aggregation.
    fn project_windowed(
        &mut self,
        relation: usize,
        columns: &[Column],
        windowed: &Windowed,
        filter: Option<Expr>,
        list: Vec<Item>,
        position: Position,
    ) -> Result<Rows> {
        let filter = filter
            .map(|filter| below_window(&filter, windowed, columns, position))
            .transpose()?;
        let mut project: Vec<(String, Expr)> = Vec::new();
        let (mut outputs, mut result) = (Vec::new(), Vec::new());
        for item in list {
            let property = match item.expr.kind {
                ExprKind::Column(index) => match windowed.outputs[index] {
                    Output::Property(property) => Some((index, property)),
                    Output::Column(_) => None,
                },
                _ => None,
            };
            if let Some((index, property)) = property {
                outputs.push(Output::Property(property));
                result.push(Column {
                    name: item.name,
                    ..columns[index].clone()
                });
                continue;
            }
            let expr = below_window(&item.expr, windowed, columns, item.position)?;
            outputs.push(Output::Column(project.len()));
            result.push(Column {
                name: item.name.clone(),
                ty: expr.ty.clone(),
                rowtime: false,
                lineage: crate::lineage::Lineage::new(String::new()),
            });
            project.push((item.name, expr));
        }
        let time = project.len();
        let time_column = self.graph.get(relation).columns[windowed.time].clone();
        project.push((
            time_column.name,
            Expr::column(windowed.time, time_column.ty),
        ));
        let relation = self.graph.calc(relation, filter, project, position);
        for (column, output) in result.iter_mut().zip(&outputs) {
            if let Output::Column(index) = output {
                column.lineage = self.graph.get(relation).columns[*index].lineage.clone();
            }
        }
        let windowed = Windowed {
            time,
            outputs,
            ..windowed.clone()
        };
        Ok(Rows {
            relation,
            columns: result,
            windowed: Some(windowed),
        })
    }
}

/// The clauses that are supported, after the others were refused.
struct Parts<'q> {
    distinct: bool,
    projection: &'q [ast::SelectItem],
    from: &'q [ast::TableWithJoins],
    selection: Option<&'q ast::Expr>,
    keys: &'q [ast::Expr],
    having: Option<&'q ast::Expr>,
}

impl<'q> Parts<'q> {
    fn of(select: &'q ast::Select, start: Position, context: &Context) -> Result<Self> {
        let ast::Select {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let refused = [
            (qualify.is_some(), "QUALIFY"),
            (!named_window.is_empty(), "WINDOW"),
            (into.is_some(), "INTO"),
            (top.is_some(), "TOP"),
            (!lateral_views.is_empty(), "LATERAL"),
            (prewhere.is_some(), "PREWHERE"),
            (!connect_by.is_empty(), "CONNECT"),
            (!cluster_by.is_empty(), "CLUSTER"),
            (!distribute_by.is_empty(), "DISTRIBUTE"),
            (!sort_by.is_empty(), "SORT"),
            (exclude.is_some(), "EXCLUDE"),
            (value_table_mode.is_some(), "AS"),
            (
                select_modifiers.is_some() || !optimizer_hints.is_empty(),
                "SELECT",
            ),
            (!matches!(flavor, ast::SelectFlavor::Standard), "FROM"),
        ];
        if let Some((_, word)) = refused.iter().find(|(present, _)| *present) {
            let at = context.places.find(word, start);
            return Err(SqlError::at(at, format!("{word} is not supported here")));
        }
        let distinct = match distinct {
            None | Some(ast::Distinct::All) => false,
            Some(ast::Distinct::Distinct) => true,
            Some(ast::Distinct::On(_)) => {
                let at = context.places.find("DISTINCT", start);
                return Err(SqlError::at(at, "DISTINCT ON is not supported"));
            }
        };
        let keys = match group_by {
            GroupByExpr::Expressions(keys, modifiers) if modifiers.is_empty() => keys.as_slice(),
            _ => {
                let at = context.places.find("GROUP", start);
                return Err(SqlError::at(at, "this form of GROUP BY is not supported")
                    .hint("list the columns, as in GROUP BY a, b"));
            }
        };
        Ok(Self {
            distinct,
            projection,
            from,
            selection: selection.as_ref(),
            keys,
            having: having.as_ref(),
        })
    }
}
