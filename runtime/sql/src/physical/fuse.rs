//! Fuses neighbouring calculations.

use streamkeeper_protocol::expr::{Expr, ExprKind, Function};

use super::traversal::{consumers, reachable};
use crate::{
    expression::{MAX_WEIGHT, logical, map_columns, size, weight},
    graph::{Operation, Relation, RelationId},
};

/// Expressions may grow to this size by fusing. Views over views that use a column twice would
/// double it each time.
const MAX_SIZE: usize = 500;

/// Returns the relations at their ids; those that were fused into others are no longer reachable.
pub(super) fn fuse(mut relations: Vec<Relation>) -> Vec<Relation> {
    let alive = reachable(&relations);
    let mut consumers = consumers(&relations, &alive);
    for id in 0..relations.len() {
        if consumers[id] == 0 && !matches!(relations[id].operation, Operation::Sink { .. }) {
            continue;
        }
        while let Some(fused) = fused(&relations, id, &consumers) {
            replace(&mut relations, id, fused, &mut consumers);
        }
        let past = past_identities(&relations, id);
        replace(&mut relations, id, past, &mut consumers);
    }
    relations
}

/// Replaces the operation of `id`. A relation that is no longer read releases its own inputs.
fn replace(
    relations: &mut [Relation],
    id: RelationId,
    operation: Operation,
    consumers: &mut [usize],
) {
    for input in operation.inputs() {
        consumers[input] += 1;
    }
    let mut released = std::mem::replace(&mut relations[id].operation, operation).inputs();
    while let Some(input) = released.pop() {
        consumers[input] -= 1;
        if consumers[input] == 0 {
            released.extend(relations[input].operation.inputs());
        }
    }
}

/// The calculation `id` with its input calculation taken in.
fn fused(relations: &[Relation], id: RelationId, consumers: &[usize]) -> Option<Operation> {
    let Operation::Calc {
        input: middle,
        filter,
        project,
    } = &relations[id].operation
    else {
        return None;
    };
    let Operation::Calc {
        input,
        filter: lower,
        project: below,
    } = &relations[*middle].operation
    else {
        return None;
    };
    let only_picks = lower.is_none()
        && below
            .iter()
            .all(|expr| matches!(expr.kind, ExprKind::Column(_)));
    if consumers[*middle] > 1 && !only_picks {
        return None;
    }
    let composed = |expr: &Expr| {
        let mut composed = map_columns(expr, &|index, _| below[index].clone());
        composed.ty.nullable |= expr.ty.nullable;
        composed
    };
    let filter = match (lower.clone(), filter.as_ref().map(composed)) {
        (Some(lower), Some(upper)) => Some(logical(Function::And, vec![lower, upper])),
        (lower, upper) => lower.or(upper),
    };
    let project: Vec<Expr> = project.iter().map(composed).collect();
    let all = || filter.iter().chain(&project);
    if all().any(|expr| weight(expr) > MAX_WEIGHT)
        || all().map(size).sum::<usize>() > MAX_SIZE.max(before(relations, id, *middle))
    {
        return None;
    }
    Some(Operation::Calc {
        input: *input,
        filter,
        project,
    })
}

/// Size of both calculations as they are.
fn before(relations: &[Relation], id: RelationId, middle: RelationId) -> usize {
    let of = |id: RelationId| match &relations[id].operation {
        Operation::Calc {
            filter, project, ..
        } => filter.iter().chain(project).map(size).sum(),
        _ => 0,
    };
    of(id) + of(middle)
}

/// The operation of `id`, reading past calculations that do nothing. Before a sink they name the
/// columns.
fn past_identities(relations: &[Relation], id: RelationId) -> Operation {
    let mut operation = relations[id].operation.clone();
    let is_sink = matches!(operation, Operation::Sink { .. });
    let past = |input: RelationId| past_identity(relations, input, is_sink);
    match &mut operation {
        Operation::Source(_) => {}
        Operation::Union { inputs } => {
            for input in inputs {
                *input = past(*input);
            }
        }
        Operation::Watermark { input, .. }
        | Operation::Calc { input, .. }
        | Operation::WindowAggregate { input, .. }
        | Operation::GroupAggregate { input, .. }
        | Operation::Sink { input, .. } => *input = past(*input),
    }
    operation
}

fn past_identity(relations: &[Relation], from: RelationId, keep_names: bool) -> RelationId {
    let mut at = from;
    loop {
        let Operation::Calc {
            input,
            filter: None,
            project,
        } = &relations[at].operation
        else {
            return at;
        };
        let (above, below) = (&relations[at].columns, &relations[*input].columns);
        let picks_all = project.len() == below.len()
            && project
                .iter()
                .enumerate()
                .all(|(index, expr)| expr.kind == ExprKind::Column(index));
        let same = |(a, b): (&crate::graph::Column, &crate::graph::Column)| {
            a.ty == b.ty && (!keep_names || a.name == b.name)
        };
        if !picks_all || !above.iter().zip(below).all(same) {
            return at;
        }
        at = *input;
    }
}
