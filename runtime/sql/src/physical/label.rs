//! Short labels of nodes, for messages and EXPLAIN.

use streamkeeper_protocol::{
    aggregate::{AggregateCall, AggregateFunction},
    plan::Window,
};

use crate::{
    expression::milliseconds,
    graph::{Operation, Relation, RelationId},
};

/// Longest label, in characters.
const MAX: usize = 80;

/// A short text about what a relation does.
pub(super) fn label(relations: &[Relation], id: RelationId) -> String {
    let relation = &relations[id];
    let text = match &relation.operation {
        Operation::Source(table) => format!("Source({}, {})", table.name, table.connector),
        Operation::Sink { table, .. } => format!("Sink({}, {})", table.name, table.connector),
        Operation::Watermark { column, .. } => {
            format!("Watermark({})", relation.columns[*column].name)
        }
        Operation::Calc {
            filter: Some(_), ..
        } => "Filter".to_owned(),
        Operation::Calc { .. } => "Project".to_owned(),
        Operation::Union { inputs } => format!("Union({} inputs)", inputs.len()),
        Operation::WindowAggregate { window, keys, .. } => {
            let mut parts = key_names(relation, keys.len());
            parts.push(window_text(*window));
            format!("WindowAggregate({})", parts.join(", "))
        }
        Operation::GroupAggregate { keys, .. } => {
            format!(
                "GroupAggregate({})",
                key_names(relation, keys.len()).join(", ")
            )
        }
    };
    match text.char_indices().nth(MAX) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

fn key_names(relation: &Relation, keys: usize) -> Vec<String> {
    relation
        .columns
        .iter()
        .take(keys)
        .map(|column| column.name.clone())
        .collect()
}

/// A window as text.
pub(crate) fn window_text(window: Window) -> String {
    let shifted = |offset: i64| {
        if offset == 0 {
            String::new()
        } else {
            format!(" + {}", milliseconds(offset))
        }
    };
    match window {
        Window::Tumble { size, offset } => {
            format!("TUMBLE {}{}", milliseconds(size), shifted(offset))
        }
        Window::Hop {
            slide,
            size,
            offset,
        } => {
            format!(
                "HOP {} every {}{}",
                milliseconds(size),
                milliseconds(slide),
                shifted(offset)
            )
        }
    }
}

/// An aggregate as text; `name` gives the input's column names.
pub(crate) fn call_text(call: &AggregateCall, name: &impl Fn(usize) -> String) -> String {
    let function = match call.function {
        AggregateFunction::Count => "COUNT",
        AggregateFunction::Sum => "SUM",
        AggregateFunction::Avg => "AVG",
        AggregateFunction::Min => "MIN",
        AggregateFunction::Max => "MAX",
    };
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let arg = call.arg.map_or_else(|| "*".to_owned(), name);
    let filter = call
        .filter
        .map_or_else(String::new, |column| format!(" FILTER {}", name(column)));
    format!("{function}({distinct}{arg}){filter}")
}
