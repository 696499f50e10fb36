//! `INSERT INTO`: the query's columns become the sink's.

use std::rc::Rc;

use sqlparser::ast::{self, SelectItem, Spanned};
use streamkeeper_protocol::{
    expr::{Expr, Literal},
    types::{Field, LogicalType},
};

use crate::{
    catalog::{Entry, Table},
    coercion::{cast, fits_sink},
    connectors::TableUse,
    error::{Position, SqlError},
    graph::RelationId,
    query::{Context, Planner, not_aggregated},
    script::{Insert, Name},
};

/// The queries that are written into one table.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) table: Rc<Table>,
    /// The queries' relations, with the table's physical columns.
    pub(crate) inputs: Vec<(RelationId, Position)>,
}

/// Plans one statement and adds it to what is written.
pub(crate) fn plan_insert(
    planner: &mut Planner<'_>,
    insert: &Insert,
    written: &mut Vec<Written>,
) -> Result<(), SqlError> {
    let name = &insert.table;
    let table = match planner.catalog.find(&name.text, name.position)? {
        Entry::Table(table) => table,
        Entry::View(_) => {
            return Err(SqlError::at(
                name.position,
                format!("'{}' is a view and cannot be written", name.text),
            ));
        }
        Entry::Broken => return Err(SqlError::at(name.position, "")),
    };
    planner.check(&table, TableUse::Sink);
    let context = Context {
        place: format!("sink {}", name.text),
        places: insert.places.clone(),
        ctes: std::collections::HashMap::new(),
    };
    let rows = planner.query(&insert.query, &context)?;
    if let Some(windowed) = &rows.windowed {
        return Err(not_aggregated(windowed.position));
    }
    let targets = targets(&table, &insert.columns)?;
    if targets.len() != rows.columns.len() {
        return Err(SqlError::at(
            name.position,
            format!(
                "the query has {} columns, the sink '{}' takes {}",
                rows.columns.len(),
                name.text,
                targets.len()
            ),
        )
        .hint(format!(
            "query: {}; sink: {}",
            listing(rows.columns.iter().map(|column| (&column.name, &column.ty))),
            listing(
                targets
                    .iter()
                    .map(|index| field(&table, *index))
                    .map(|field| (&field.name, &field.ty))
            )
        )));
    }
    let places = item_places(&insert.query, rows.columns.len());
    let mut project = Vec::new();
    for (index, target) in table.reference.schema.fields.iter().enumerate() {
        let source = targets.iter().position(|candidate| *candidate == index);
        let expr = match source {
            Some(source) => {
                let column = &rows.columns[source];
                if !fits_sink(&column.ty.data, &target.ty.data) {
                    let at = places
                        .as_ref()
                        .map_or(name.position, |places| places[source]);
                    return Err(SqlError::at(at, format!(
                        "the query's column {} '{}' of type {} does not fit the sink's column '{}' of type {}",
                        source + 1, column.name, column.ty.data, target.name, target.ty.data
                    ))
                    .hint(format!("CAST it to {}", target.ty.data)));
                }
                let mut expr = cast(Expr::column(source, column.ty.clone()), &target.ty.data);
                // A NULL in a NOT NULL column fails the job, as in Flink.
                expr.ty.nullable &= target.ty.nullable;
                expr
            }
            None if !target.ty.nullable => {
                return Err(SqlError::at(
                    name.position,
                    format!(
                        "the sink's column '{}' is NOT NULL and gets no value",
                        target.name
                    ),
                )
                .hint("add it to the list of columns and to the query"));
            }
            None => Expr::literal(Literal::Null, LogicalType::nullable(target.ty.data.clone())),
        };
        project.push((target.name.clone(), expr));
    }
    let relation = planner
        .graph
        .calc(rows.relation, None, project, name.position);
    match written
        .iter_mut()
        .find(|known| known.table.reference.name == name.text)
    {
        Some(known) => known.inputs.push((relation, name.position)),
        None => written.push(Written {
            table,
            inputs: vec![(relation, name.position)],
        }),
    }
    Ok(())
}

/// Adds the sinks to the graph, one per table for any number of statements.
pub(crate) fn add_sinks(planner: &mut Planner<'_>, written: Vec<Written>) {
    for Written { table, inputs } in written {
        let Some((first, position)) = inputs.first().copied() else {
            continue;
        };
        let input = match inputs.as_slice() {
            [_] => first,
            _ => planner.union_of(&inputs),
        };
        planner.graph.sink(input, table.reference.clone(), position);
    }
}

fn field(table: &Table, index: usize) -> &Field {
    &table.reference.schema.fields[index]
}

/// Physical columns of the sink that the query's columns go to, in the query's order.
fn targets(table: &Table, columns: &[Name]) -> Result<Vec<usize>, SqlError> {
    if columns.is_empty() {
        return Ok((0..table.reference.schema.fields.len()).collect());
    }
    let mut targets = Vec::new();
    for column in columns {
        match table.reference.schema.index_of(&column.text) {
            Some(index) if targets.contains(&index) => {
                return Err(SqlError::at(
                    column.position,
                    format!("the column '{}' is listed twice", column.text),
                ));
            }
            Some(index) => targets.push(index),
            None => {
                let text = format!(
                    "the sink '{}' has no physical column '{}'",
                    table.reference.name, column.text
                );
                return Err(SqlError::at(column.position, text));
            }
        }
    }
    Ok(targets)
}

fn listing<'t>(columns: impl Iterator<Item = (&'t String, &'t LogicalType)>) -> String {
    let columns: Vec<String> = columns
        .map(|(name, ty)| format!("{name} {}", ty.data))
        .collect();
    columns.join(", ")
}

/// Where each column of a plain select list stands.
fn item_places(query: &ast::Query, columns: usize) -> Option<Vec<Position>> {
    let ast::SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let places: Vec<Position> = select
        .projection
        .iter()
        .map_while(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                Some(expr.span().start.into())
            }
            _ => None,
        })
        .collect();
    (places.len() == columns).then_some(places)
}
