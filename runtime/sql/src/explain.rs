//! Prints a plan as a tree.

use std::fmt::Write as _;

use streamkeeper_protocol::{
    plan::{ChangelogMode, Exchange, NodeId, Operator, PlanNode, StreamPlan},
    types::Schema,
};

use crate::{
    expression::render,
    physical::{call_text, window_text},
};

/// The plan as text: one tree per sink, inputs below and indented, every node with its operation,
/// its columns and types, how rows reach it and which changes they carry. A node that several
/// others read is printed once. Nodes that keep state show its identity.
pub fn explain(plan: &StreamPlan) -> String {
    let mut printer = Printer {
        plan,
        printed: vec![false; plan.nodes.len()],
        out: String::new(),
    };
    for node in &plan.nodes {
        if matches!(node.operator, Operator::Sink(_)) {
            printer.node(node.id, 0, None);
        }
    }
    printer.out
}

struct Printer<'p> {
    plan: &'p StreamPlan,
    printed: Vec<bool>,
    out: String,
}

impl Printer<'_> {
    fn node(&mut self, id: NodeId, depth: usize, exchange: Option<String>) {
        let Some(node) = self.plan.nodes.get(id) else {
            return;
        };
        let indent = "  ".repeat(depth);
        let arrow = exchange.map_or_else(String::new, |exchange| format!("<- {exchange} "));
        if std::mem::replace(&mut self.printed[id], true) {
            let _ = writeln!(self.out, "{indent}{arrow}#{id} {}, as above", node.label);
            return;
        }
        let state = if keeps_state(node) {
            format!(" state {}", node.state_uid)
        } else {
            String::new()
        };
        let _ = writeln!(
            self.out,
            "{indent}{arrow}#{id} {} [{}]{state}",
            node.label,
            mode(node.changelog)
        );
        for line in self.details(node) {
            let _ = writeln!(self.out, "{indent}     {line}");
        }
        for input in node.inputs.clone() {
            let exchange = match &input.exchange {
                Exchange::Forward => "forward".to_owned(),
                Exchange::Hash { keys } if keys.is_empty() => "all to one".to_owned(),
                Exchange::Hash { keys } => {
                    format!(
                        "hash({})",
                        self.names(input.node, keys.iter().copied()).join(", ")
                    )
                }
            };
            self.node(input.node, depth + 1, Some(exchange));
        }
    }

    fn names(&self, node: NodeId, columns: impl Iterator<Item = usize>) -> Vec<String> {
        columns.map(|column| self.name(node, column)).collect()
    }

    fn name(&self, node: NodeId, column: usize) -> String {
        let field = self
            .plan
            .nodes
            .get(node)
            .and_then(|node| node.schema.fields.get(column));
        field.map_or_else(|| format!("column {column}"), |field| field.name.clone())
    }

    fn details(&self, node: &PlanNode) -> Vec<String> {
        let input = node.inputs.first().map_or(0, |input| input.node);
        let name = |column: usize| self.name(input, column);
        let mut lines = Vec::new();
        match &node.operator {
            Operator::Source(table) | Operator::Sink(table) => {
                let options: Vec<String> = table
                    .options
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                lines.push(format!("{}: {}", table.connector, options.join(", ")));
                if !table.primary_key.is_empty() {
                    let key = table
                        .primary_key
                        .iter()
                        .filter_map(|key| table.schema.fields.get(*key));
                    let key: Vec<&str> = key.map(|field| field.name.as_str()).collect();
                    lines.push(format!("primary key: {}", key.join(", ")));
                }
            }
            Operator::Calc { filter, project } => {
                if let Some(filter) = filter {
                    lines.push(format!("where {}", render(filter, &name)));
                }
                for (expr, field) in project.iter().zip(&node.schema.fields) {
                    let text = render(expr, &name);
                    if text != field.name {
                        lines.push(format!("{} = {text}", field.name));
                    }
                }
            }
            Operator::WatermarkAssigner { expr, .. } => {
                lines.push(format!("watermark = {}", render(expr, &name)));
            }
            Operator::Union => {}
            Operator::WindowAggregate(window) => {
                lines.push(format!(
                    "{} on {}",
                    window_text(window.window),
                    self.name(input, window.time)
                ));
                // The arguments of a merge are columns that only its other half sees.
                let local = self
                    .plan
                    .nodes
                    .get(input)
                    .and_then(|node| node.inputs.first())
                    .map(|input| input.node);
                let source = match window.phase {
                    streamkeeper_protocol::plan::Phase::Global => local.unwrap_or(input),
                    _ => input,
                };
                let name = |column: usize| self.name(source, column);
                lines.extend(window.aggregates.iter().map(|call| call_text(call, &name)));
            }
            Operator::GroupAggregate { aggregates, .. } => {
                lines.extend(aggregates.iter().map(|call| call_text(call, &name)));
            }
        }
        lines.push(format!("({})", columns(&node.schema)));
        lines
    }
}

fn columns(schema: &Schema) -> String {
    let fields: Vec<String> = schema
        .fields
        .iter()
        .map(|field| format!("{} {}", field.name, field.ty))
        .collect();
    fields.join(", ")
}

fn keeps_state(node: &PlanNode) -> bool {
    match &node.operator {
        Operator::WindowAggregate(window) => {
            window.phase != streamkeeper_protocol::plan::Phase::Local
        }
        Operator::Source(_) | Operator::GroupAggregate { .. } | Operator::Sink(_) => true,
        _ => false,
    }
}

fn mode(mode: ChangelogMode) -> &'static str {
    match mode {
        ChangelogMode::InsertOnly => "inserts",
        ChangelogMode::Retract => "updates as old and new row",
        ChangelogMode::Upsert => "updates by key",
    }
}
