//! A plan, its input, and what must come out.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use streamkeeper_connectors::{ConnectorError, source::Stores};
use streamkeeper_protocol::{
    aggregate::{AggregateCall, AggregateFunction},
    plan::{
        ChangelogMode, Exchange, Input, Operator, PLAN_FORMAT, PlanNode, Settings, StreamPlan,
        TableRef,
    },
    types::{DataType, Field, LogicalType, Schema},
};
use streamkeeper_storage::{Condition, ObjectStore};

/// Opens `s3://any/key` as `key` of one store.
#[derive(Debug)]
pub(super) struct OneStore(pub(super) Arc<dyn ObjectStore>);

impl Stores for OneStore {
    fn open(&self, uri: &str) -> Result<(Arc<dyn ObjectStore>, String), ConnectorError> {
        let key = uri.strip_prefix("s3://any/").unwrap_or_default();
        Ok((self.0.clone(), key.to_owned()))
    }
}

fn text() -> LogicalType {
    LogicalType::nullable(DataType::Varchar { length: None })
}

fn number() -> LogicalType {
    LogicalType::nullable(DataType::BigInt)
}

fn table(name: &str, format: &str, schema: &Schema) -> TableRef {
    let options = BTreeMap::from([
        ("path".to_owned(), format!("s3://any/{name}")),
        ("format".to_owned(), format.to_owned()),
    ]);
    TableRef {
        name: name.to_owned(),
        connector: "filesystem".to_owned(),
        options,
        schema: schema.clone(),
        primary_key: Vec::new(),
    }
}

/// `input` into `rows` as it is, and `SELECT k, COUNT(*), SUM(v) FROM input GROUP BY k` into
/// `groups`.
pub(super) fn plan(rows_per_second: Option<u64>) -> StreamPlan {
    let input = Schema::new(vec![
        Field::new("id", number()),
        Field::new("k", text()),
        Field::new("v", number()),
    ]);
    let counted = LogicalType::not_null(DataType::BigInt);
    let groups = Schema::new(vec![
        Field::new("k", text()),
        Field::new("n", counted.clone()),
        Field::new("total", number()),
    ]);
    let aggregate = |uid: &str, function, arg: Option<usize>, ty: LogicalType| AggregateCall {
        uid: uid.to_owned(),
        function,
        arg,
        arg_type: arg.map(|_| number()),
        distinct: false,
        filter: None,
        ty,
    };
    let node =
        |id: usize, operator, input: Option<(usize, Exchange)>, schema: &Schema, changelog| {
            PlanNode {
                id,
                state_uid: format!("{id:016x}"),
                label: format!("node {id}"),
                operator,
                inputs: input
                    .map(|(node, exchange)| Input { node, exchange })
                    .into_iter()
                    .collect(),
                schema: schema.clone(),
                changelog,
            }
        };
    let aggregates = vec![
        aggregate("count", AggregateFunction::Count, None, counted),
        aggregate("sum", AggregateFunction::Sum, Some(2), number()),
    ];
    StreamPlan {
        format: PLAN_FORMAT,
        nodes: vec![
            node(
                0,
                Operator::Source(table("input", "json", &input)),
                None,
                &input,
                ChangelogMode::InsertOnly,
            ),
            node(
                1,
                Operator::Sink(table("rows", "json", &input)),
                Some((0, Exchange::Forward)),
                &input,
                ChangelogMode::InsertOnly,
            ),
            node(
                2,
                Operator::GroupAggregate {
                    keys: vec![1],
                    aggregates,
                },
                Some((0, Exchange::Hash { keys: vec![1] })),
                &groups,
                ChangelogMode::Retract,
            ),
            node(
                3,
                Operator::Sink(table("groups", "debezium-json", &groups)),
                Some((2, Exchange::Forward)),
                &groups,
                ChangelogMode::Retract,
            ),
        ],
        settings: Settings {
            source_rows_per_second: rows_per_second,
            ..Settings::default()
        },
    }
}

const KEYS: i64 = 23;

/// Writes `files` input objects with `rows` rows each.
pub(super) async fn write_input(store: &dyn ObjectStore, files: i64, rows: i64) {
    for file in 0..files {
        let lines = (0..rows)
            .map(|row| file * rows + row)
            .map(|id| format!("{{\"id\":{id},\"k\":\"key-{}\",\"v\":{id}}}\n", id % KEYS));
        store
            .put(
                &format!("input/{file}.json"),
                Bytes::from(lines.collect::<String>()),
                Condition::Always,
            )
            .await
            .unwrap();
    }
}

async fn lines(store: &dyn ObjectStore, prefix: &str) -> Vec<serde_json::Value> {
    let mut lines = Vec::new();
    for object in store.list(prefix).await.unwrap() {
        let bytes = store.get(&object.key).await.unwrap().bytes;
        let text = std::str::from_utf8(&bytes).unwrap();
        lines.extend(
            text.lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()),
        );
    }
    lines
}

/// Asserts that the committed output is that of `ids` input rows: each once in `rows`, and the
/// groups that follow from them.
pub(super) async fn assert_output(store: &dyn ObjectStore, ids: i64) {
    let mut rows: Vec<i64> = lines(store, "rows/")
        .await
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, (0..ids).collect::<Vec<_>>());
    // The changelog as a bag: what was added and not taken back.
    let mut groups: BTreeMap<String, i64> = BTreeMap::new();
    for change in lines(store, "groups/").await {
        for (image, sign) in [("after", 1), ("before", -1)] {
            if !change[image].is_null() {
                *groups.entry(change[image].to_string()).or_default() += sign;
            }
        }
    }
    groups.retain(|_, count| *count != 0);
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for key in 0..KEYS.min(ids) {
        let of_key: Vec<i64> = (0..ids).filter(|id| id % KEYS == key).collect();
        let row = serde_json::json!({"k": format!("key-{key}"), "n": of_key.len(), "total": of_key.iter().sum::<i64>()});
        expected.insert(row.to_string(), 1);
    }
    assert_eq!(groups, expected);
}
