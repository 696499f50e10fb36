//! Infers the kinds of change of every relation.

use std::collections::BTreeSet;

use streamkeeper_protocol::{
    expr::ExprKind,
    plan::{ChangelogMode, TableRef},
};

use super::{
    label,
    traversal::{consumers, reachable},
};
use crate::{
    catalog::Entry,
    connectors::TableUse,
    error::SqlError,
    graph::{Operation, Relation, RelationId},
    query::Planner,
};

/// The mode of every relation's output, or what is wrong at each consumer that cannot take it.
pub(super) fn infer(
    relations: &[Relation],
    planner: &mut Planner<'_>,
) -> Result<Vec<ChangelogMode>, Vec<SqlError>> {
    let alive = reachable(relations);
    let consumers = consumers(relations, &alive);
    let mut modes: Vec<ChangelogMode> = Vec::new();
    let mut errors = Vec::new();
    for (id, relation) in relations.iter().enumerate() {
        let inputs = relation.operation.inputs();
        let inserts_only = inputs
            .iter()
            .all(|input| modes[*input] == ChangelogMode::InsertOnly);
        let mode = match &relation.operation {
            Operation::GroupAggregate { .. } => ChangelogMode::Retract,
            _ if inserts_only => ChangelogMode::InsertOnly,
            _ => ChangelogMode::Retract,
        };
        modes.push(mode);
        if !alive[id] || inserts_only {
            continue;
        }
        match &relation.operation {
            Operation::WindowAggregate { .. } => {
                errors.push(
                    SqlError::at(relation.position, "a window can only aggregate rows that never change")
                        .hint(format!("its input is updated by {}", producer(relations, &modes, inputs[0]))),
                );
            }
            Operation::Sink { input, table } => match accepted(planner, table) {
                ChangelogMode::Retract => {}
                ChangelogMode::InsertOnly => errors.push(
                    SqlError::at(
                        relation.position,
                        format!("the sink '{}' takes new rows only, but its query updates rows", table.name),
                    )
                    .hint(format!(
                        "rows are updated by {}: aggregate in windows, or use a format with changes such as 'debezium-json'",
                        producer(relations, &modes, *input)
                    )),
                ),
                ChangelogMode::Upsert => match upsert_path(relations, &consumers, *input, table) {
                    Some(path) => {
                        for id in path {
                            modes[id] = ChangelogMode::Upsert;
                        }
                        modes[id] = ChangelogMode::Upsert;
                    }
                    None => errors.push(
                        SqlError::at(
                            relation.position,
                            format!("the sink '{}' is updated by its PRIMARY KEY, and the query is not", table.name),
                        )
                        .hint(format!(
                            "make the columns of GROUP BY its PRIMARY KEY (…) NOT ENFORCED, without HAVING or UNION ALL; rows are updated by {}",
                            producer(relations, &modes, *input)
                        )),
                    ),
                },
            },
            _ => {}
        }
    }
    if errors.is_empty() {
        Ok(modes)
    } else {
        Err(errors)
    }
}

fn accepted(planner: &mut Planner<'_>, table: &TableRef) -> ChangelogMode {
    let found = planner
        .catalog
        .find(&table.name, crate::error::Position::START);
    match found {
        Ok(Entry::Table(table)) => planner
            .traits(&table, TableUse::Sink)
            .map_or(ChangelogMode::InsertOnly, |traits| traits.accepts),
        _ => ChangelogMode::InsertOnly,
    }
}

/// The aggregation whose rows are updated, with its place.
fn producer(relations: &[Relation], modes: &[ChangelogMode], from: RelationId) -> String {
    let mut at = from;
    loop {
        let relation = &relations[at];
        if let Operation::GroupAggregate { .. } = relation.operation {
            let place = relation.position;
            return format!(
                "{} at line {}:{}",
                label::label(relations, at),
                place.line,
                place.column
            );
        }
        let updated = |input: &RelationId| modes[*input] != ChangelogMode::InsertOnly;
        match relation.operation.inputs().into_iter().find(updated) {
            Some(input) => at = input,
            None => return "its input".to_owned(),
        }
    }
}

/// The columns of `from` by which its rows are updated: those that an aggregation's keys became, if
/// all of them are left.
pub(super) fn key(relations: &[Relation], from: RelationId) -> Option<Vec<usize>> {
    match &relations[from].operation {
        Operation::GroupAggregate { keys, .. } => Some((0..keys.len()).collect()),
        Operation::Calc { input, project, .. } => {
            let column = |below: usize| {
                project
                    .iter()
                    .position(|expr| expr.kind == ExprKind::Column(below))
            };
            key(relations, *input)?.into_iter().map(column).collect()
        }
        _ => None,
    }
}

/// The relations from an aggregation to a sink whose primary key is the aggregation's key, where
/// nothing between filters, changes the key or is read elsewhere.
fn upsert_path(
    relations: &[Relation],
    consumers: &[usize],
    from: RelationId,
    table: &TableRef,
) -> Option<Vec<RelationId>> {
    let mut key: BTreeSet<usize> = table.primary_key.iter().copied().collect();
    let mut path = Vec::new();
    let mut at = from;
    loop {
        if consumers[at] != 1 || key.is_empty() {
            return None;
        }
        path.push(at);
        match &relations[at].operation {
            Operation::Calc {
                input,
                filter: None,
                project,
            } => {
                let columns = key.iter().map(|column| match project.get(*column)?.kind {
                    ExprKind::Column(below) => Some(below),
                    _ => None,
                });
                key = columns.collect::<Option<_>>()?;
                at = *input;
            }
            Operation::GroupAggregate { keys, .. } => {
                return (key == (0..keys.len()).collect()).then_some(path);
            }
            _ => return None,
        }
    }
}
