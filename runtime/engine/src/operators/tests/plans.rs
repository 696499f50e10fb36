//! Rows and plans made for checking.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int8Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMillisecondArray,
};
use proptest::prelude::*;
use streamkeeper_connectors::batch::{Batch, arrow_schema};
use streamkeeper_protocol::{
    aggregate::{AggregateCall, AggregateFunction},
    plan::{
        ChangelogMode, Exchange, Input, Operator, Phase, PlanNode, Settings, StreamPlan, Window,
        WindowAggregate,
    },
    types::{DataType, Field, LogicalType, Schema},
};

/// Positions of the columns.
pub(super) const TIME: usize = 0;
pub(super) const NAME: usize = 1;
pub(super) const NUMBER: usize = 2;
pub(super) const VALUE: usize = 3;
pub(super) const TEXT: usize = 4;
pub(super) const MONEY: usize = 5;
pub(super) const REAL: usize = 6;
pub(super) const FLAG: usize = 7;

/// A row of the input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) time: i64,
    pub(super) name: Option<String>,
    pub(super) number: Option<i32>,
    pub(super) value: Option<i64>,
    pub(super) text: Option<String>,
    /// Hundredths.
    pub(super) money: Option<i64>,
    /// Whole, so that sums are exact in any order.
    pub(super) real: Option<i32>,
    pub(super) flag: Option<bool>,
}

pub(super) fn row() -> impl Strategy<Value = Row> {
    let name = prop::option::weighted(
        0.9,
        prop::sample::select(vec!["", "a", "b", "ab", "\u{0}", "ä"]).prop_map(str::to_owned),
    );
    let text = prop::option::weighted(0.8, "[a-c]{0,2}");
    let few = || prop::option::weighted(0.8, -3_i64..4);
    (
        0_i64..100,
        name,
        prop::option::weighted(0.9, -1_i32..2),
        few(),
        text,
        few(),
        prop::option::weighted(0.8, -3_i32..4),
        prop::option::weighted(0.8, any::<bool>()),
    )
        .prop_map(|(time, name, number, value, text, money, real, flag)| Row {
            time,
            name,
            number,
            value,
            text,
            money: money.map(|money| money * 37),
            real,
            flag,
        })
}

pub(super) fn schema() -> Schema {
    let nullable = |name: &str, data| Field::new(name, LogicalType::nullable(data));
    Schema::new(vec![
        Field::new(
            "time",
            LogicalType::not_null(DataType::Timestamp { precision: 3 }),
        ),
        nullable("name", DataType::STRING),
        nullable("number", DataType::Int),
        nullable("value", DataType::BigInt),
        nullable("text", DataType::STRING),
        nullable(
            "money",
            DataType::Decimal {
                precision: 10,
                scale: 2,
            },
        ),
        nullable("real", DataType::Double),
        nullable("flag", DataType::Boolean),
    ])
}

pub(super) fn batch(rows: &[Row], kinds: Option<Vec<i8>>) -> Batch {
    let money: Decimal128Array = rows.iter().map(|row| row.money.map(i128::from)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from_iter_values(
            rows.iter().map(|row| row.time),
        )),
        Arc::new(
            rows.iter()
                .map(|row| row.name.clone())
                .collect::<StringArray>(),
        ),
        Arc::new(rows.iter().map(|row| row.number).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.value).collect::<Int64Array>()),
        Arc::new(
            rows.iter()
                .map(|row| row.text.clone())
                .collect::<StringArray>(),
        ),
        Arc::new(money.with_precision_and_scale(10, 2).unwrap()),
        Arc::new(
            rows.iter()
                .map(|row| row.real.map(f64::from))
                .collect::<Float64Array>(),
        ),
        Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
    ];
    Batch {
        rows: RecordBatch::try_new(arrow_schema(&schema()), columns).unwrap(),
        kinds: kinds.map(Int8Array::from),
    }
}

/// `function(column)`.
pub(super) fn call(function: AggregateFunction, arg: Option<usize>) -> AggregateCall {
    let arg_type = arg.map(|arg| schema().fields[arg].ty.clone());
    let ty = match (function, arg_type.as_ref().map(|ty| ty.data.clone())) {
        (AggregateFunction::Count, _) | (_, None) => LogicalType::not_null(DataType::BigInt),
        (AggregateFunction::Sum, Some(DataType::Decimal { scale, .. })) => {
            LogicalType::nullable(DataType::Decimal {
                precision: 38,
                scale,
            })
        }
        (AggregateFunction::Avg, Some(DataType::Decimal { scale, .. })) => {
            LogicalType::nullable(DataType::Decimal {
                precision: 38,
                scale: scale.max(6),
            })
        }
        (_, Some(data)) => LogicalType::nullable(data),
    };
    AggregateCall {
        uid: format!("{function:?} {arg:?}"),
        function,
        arg,
        arg_type,
        distinct: false,
        filter: None,
        ty,
    }
}

pub(super) fn distinct(call: AggregateCall) -> AggregateCall {
    AggregateCall {
        uid: format!("{} distinct", call.uid),
        distinct: true,
        ..call
    }
}

pub(super) fn filtered(call: AggregateCall) -> AggregateCall {
    AggregateCall {
        uid: format!("{} filtered", call.uid),
        filter: Some(FLAG),
        ..call
    }
}

/// One of each kind that can be split around a shuffle.
pub(super) fn splittable() -> Vec<AggregateCall> {
    use AggregateFunction::{Avg, Count, Max, Min, Sum};
    vec![
        call(Count, None),
        call(Count, Some(TEXT)),
        call(Sum, Some(VALUE)),
        call(Sum, Some(NUMBER)),
        call(Avg, Some(VALUE)),
        call(Sum, Some(MONEY)),
        call(Avg, Some(MONEY)),
        call(Sum, Some(REAL)),
        call(Avg, Some(REAL)),
        call(Min, Some(VALUE)),
        call(Max, Some(TEXT)),
        call(Min, Some(MONEY)),
        call(Max, Some(REAL)),
        call(Min, Some(TIME)),
        call(Max, Some(FLAG)),
        filtered(call(Count, None)),
        filtered(call(Sum, Some(VALUE))),
        filtered(call(Max, Some(TEXT))),
    ]
}

/// These calls and their DISTINCT variants.
pub(super) fn all() -> Vec<AggregateCall> {
    use AggregateFunction::{Avg, Count, Min, Sum};
    let mut calls = splittable();
    calls.extend([
        distinct(call(Count, Some(VALUE))),
        distinct(call(Count, Some(TEXT))),
        distinct(call(Sum, Some(VALUE))),
        distinct(call(Avg, Some(MONEY))),
        distinct(call(Sum, Some(REAL))),
        distinct(call(Min, Some(TEXT))),
        filtered(distinct(call(Count, Some(TEXT)))),
    ]);
    calls
}

fn node(
    id: usize,
    operator: Operator,
    inputs: Vec<Input>,
    schema: Schema,
    changelog: ChangelogMode,
) -> PlanNode {
    PlanNode {
        id,
        state_uid: format!("{id:016x}"),
        label: format!("node {id}"),
        operator,
        inputs,
        schema,
        changelog,
    }
}

/// What stands for a source: its schema and changelog count.
fn source(changelog: ChangelogMode) -> PlanNode {
    node(0, Operator::Union, Vec::new(), schema(), changelog)
}

pub(super) fn plan(nodes: Vec<PlanNode>) -> StreamPlan {
    StreamPlan {
        format: streamkeeper_protocol::plan::PLAN_FORMAT,
        nodes,
        settings: Settings::default(),
    }
}

fn over(node: usize, exchange: Exchange) -> Vec<Input> {
    vec![Input { node, exchange }]
}

fn key_fields(keys: &[usize]) -> Vec<Field> {
    keys.iter()
        .map(|&key| schema().fields[key].clone())
        .collect()
}

fn window_schema(keys: &[usize], calls: &[AggregateCall]) -> Schema {
    let mut fields = key_fields(keys);
    fields.extend(
        calls
            .iter()
            .enumerate()
            .map(|(index, call)| Field::new(format!("a{index}"), call.ty.clone())),
    );
    fields.extend(["window_start", "window_end", "window_time"].map(|name| {
        Field::new(
            name,
            LogicalType::not_null(DataType::Timestamp { precision: 3 }),
        )
    }));
    Schema::new(fields)
}

/// Node 1 is the window aggregation in one phase.
pub(super) fn single(window: Window, keys: &[usize], calls: &[AggregateCall]) -> StreamPlan {
    let aggregate = WindowAggregate {
        phase: Phase::Single,
        window,
        time: TIME,
        keys: keys.to_vec(),
        aggregates: calls.to_vec(),
    };
    let exchange = Exchange::Hash {
        keys: keys.to_vec(),
    };
    plan(vec![
        source(ChangelogMode::InsertOnly),
        node(
            1,
            Operator::WindowAggregate(aggregate),
            over(0, exchange),
            window_schema(keys, calls),
            ChangelogMode::InsertOnly,
        ),
    ])
}

/// Node 1 is the local part, node 2 the global one.
pub(super) fn split(window: Window, keys: &[usize], calls: &[AggregateCall]) -> StreamPlan {
    let local = WindowAggregate {
        phase: Phase::Local,
        window,
        time: TIME,
        keys: keys.to_vec(),
        aggregates: calls.to_vec(),
    };
    let mut fields = key_fields(keys);
    for call in calls {
        fields.extend(
            call.partial_types()
                .into_iter()
                .map(|ty| Field::new(format!("p{}", call.uid), ty)),
        );
    }
    for name in ["records", "slice_end"] {
        fields.push(Field::new(name, LogicalType::not_null(DataType::BigInt)));
    }
    let keys_there: Vec<usize> = (0..keys.len()).collect();
    let global = WindowAggregate {
        phase: Phase::Global,
        window,
        time: fields.len() - 1,
        keys: keys_there.clone(),
        aggregates: calls.to_vec(),
    };
    plan(vec![
        source(ChangelogMode::InsertOnly),
        node(
            1,
            Operator::WindowAggregate(local),
            over(0, Exchange::Forward),
            Schema::new(fields),
            ChangelogMode::InsertOnly,
        ),
        node(
            2,
            Operator::WindowAggregate(global),
            over(1, Exchange::Hash { keys: keys_there }),
            window_schema(keys, calls),
            ChangelogMode::InsertOnly,
        ),
    ])
}

/// Node 1 is the group aggregation.
pub(super) fn grouped(
    keys: &[usize],
    calls: &[AggregateCall],
    input: ChangelogMode,
    output: ChangelogMode,
) -> StreamPlan {
    let mut fields = key_fields(keys);
    fields.extend(
        calls
            .iter()
            .enumerate()
            .map(|(index, call)| Field::new(format!("a{index}"), call.ty.clone())),
    );
    let aggregate = Operator::GroupAggregate {
        keys: keys.to_vec(),
        aggregates: calls.to_vec(),
    };
    plan(vec![
        source(input),
        node(
            1,
            aggregate,
            over(
                0,
                Exchange::Hash {
                    keys: keys.to_vec(),
                },
            ),
            Schema::new(fields),
            output,
        ),
    ])
}
