//! Plans of whole jobs, as people read them. Each `tests/plans/*.sql` has its plan beside it.

use std::fs;

use streamkeeper_protocol::plan::{ChangelogMode, Exchange, Operator, StreamPlan};
use streamkeeper_sql::explain;

use crate::{connectors::compiled, golden};

#[test]
fn every_job_has_its_golden_plan() {
    let mut names: Vec<String> = fs::read_dir(golden::path("plans"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".sql").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let plan = compiled(&golden::read(&format!("plans/{name}.sql"))).plan;
        check(&plan);
        golden::same(&format!("plans/{name}.txt"), &explain(&plan));
    }
}

#[test]
fn the_example_has_its_golden_plan() {
    let job = compiled(&example());
    check(&job.plan);
    assert_eq!(job.tables, ["airports", "delays", "flights"]);
    assert_eq!(job.warnings, []);
    assert_eq!(job.plan.settings.source_rows_per_second, Some(60));
    golden::same("plans/example.txt", &explain(&job.plan));
}

#[test]
fn the_same_text_gives_the_same_plan_to_the_byte() {
    let json = |text: &str| serde_json::to_string(&compiled(text).plan).unwrap();
    let text = golden::read("plans/windows.sql");
    assert_eq!(json(&text), json(&text));
}

#[test]
fn plans_survive_being_stored() {
    for name in ["tables", "expressions", "windows", "groups", "unions"] {
        let plan = compiled(&golden::read(&format!("plans/{name}.sql"))).plan;
        let stored = serde_json::to_vec(&plan).unwrap();
        let read: StreamPlan = serde_json::from_slice(&stored).unwrap();
        assert_eq!(read, plan, "{name}");
        assert_eq!(read.hash(), plan.hash(), "{name}");
    }
}

/// The text of the job that the demo runs.
pub(crate) fn example() -> String {
    let yaml = golden::read("../../../examples/flights/streamjob.yaml");
    let (_, block) = yaml
        .split_once("    text: |\n")
        .expect("the manifest has a text");
    let lines: Vec<&str> = block
        .lines()
        .map(|line| line.strip_prefix("      ").unwrap_or(line))
        .collect();
    lines.join("\n")
}

/// Checks what the engine relies on in every plan.
pub(crate) fn check(plan: &StreamPlan) {
    let mut levels: Vec<usize> = Vec::new();
    let mut uids: Vec<&str> = plan
        .nodes
        .iter()
        .map(|node| node.state_uid.as_str())
        .collect();
    for (id, node) in plan.nodes.iter().enumerate() {
        assert_eq!(node.id, id);
        assert!(
            node.inputs.iter().all(|input| input.node < id),
            "{}: topological order",
            node.label
        );
        let meeting: Vec<usize> = node
            .inputs
            .iter()
            .map(|input| levels[input.node] + usize::from(input.exchange != Exchange::Forward))
            .collect();
        levels.push(meeting.iter().copied().max().unwrap_or(0));
        for (input, level) in node.inputs.iter().zip(&meeting) {
            let is_direct = input.exchange == Exchange::Forward;
            assert!(
                !is_direct || *level == levels[id],
                "{}: direct calls stay in a stage",
                node.label
            );
        }
        for input in &node.inputs {
            let upstream = &plan.nodes[input.node];
            if let Exchange::Hash { keys } = &input.exchange {
                assert!(
                    keys.iter().all(|key| *key < upstream.schema.fields.len()),
                    "{}",
                    node.label
                );
            }
            if matches!(node.operator, Operator::Union) {
                let types = |node: &streamkeeper_protocol::plan::PlanNode| {
                    node.schema
                        .fields
                        .iter()
                        .map(|field| field.ty.clone())
                        .collect::<Vec<_>>()
                };
                assert_eq!(
                    types(upstream),
                    types(node),
                    "{}: inputs have one type",
                    node.label
                );
            }
        }
        match &node.operator {
            Operator::Calc { project, .. } => {
                assert_eq!(project.len(), node.schema.fields.len(), "{}", node.label);
                for (expr, field) in project.iter().zip(&node.schema.fields) {
                    assert_eq!(
                        expr.ty.data, field.ty.data,
                        "{}: {}",
                        node.label, field.name
                    );
                }
            }
            Operator::Sink(table) => {
                let types: Vec<_> = node
                    .schema
                    .fields
                    .iter()
                    .map(|field| (&field.name, &field.ty.data))
                    .collect();
                let wanted: Vec<_> = table
                    .schema
                    .fields
                    .iter()
                    .map(|field| (&field.name, &field.ty.data))
                    .collect();
                assert_eq!(types, wanted, "{}", node.label);
            }
            Operator::WindowAggregate(_) => {
                let input = &plan.nodes[node.inputs[0].node];
                assert_eq!(input.changelog, ChangelogMode::InsertOnly, "{}", node.label);
            }
            _ => {}
        }
    }
    uids.sort_unstable();
    uids.dedup();
    assert_eq!(uids.len(), plan.nodes.len(), "identities are unique");
}
