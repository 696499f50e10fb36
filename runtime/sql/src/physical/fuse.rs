//! Neighbouring calculations become one.

use streamkeeper_protocol::expr::{Expr, ExprKind, Function};

use super::{consumers, reachable};
use crate::{
    expression::{MAX_WEIGHT, logical, map_columns, size, weight},
    graph::{Operation, Relation, RelationId},
};

/// Expressions may grow to this size by fusing. Views over views that use a column twice would double it each time.
const MAX_SIZE: usize = 500;

/// The same relations, at the same ids; those that are skipped over lead nowhere any more.
pub(super) fn fuse(mut relations: Vec<Relation>) -> Vec<Relation> {
    for id in 0..relations.len() {
        // Consumers change as relations are skipped.
        let alive = reachable(&relations);
        if !alive[id] {
            continue;
        }
        let consumers = consumers(&relations, &alive);
        while let Some(fused) = fused(&relations, id, &consumers) {
            relations[id].operation = fused;
        }
        skip_identities(&mut relations, id);
    }
    relations
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

/// Reads past calculations that do nothing. Before a sink they name the columns.
fn skip_identities(relations: &mut [Relation], id: RelationId) {
    let is_sink = matches!(relations[id].operation, Operation::Sink { .. });
    let past = |input: RelationId| past_identities(relations, input, is_sink);
    let mut operation = relations[id].operation.clone();
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
    relations[id].operation = operation;
}

fn past_identities(relations: &[Relation], from: RelationId, keep_names: bool) -> RelationId {
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
