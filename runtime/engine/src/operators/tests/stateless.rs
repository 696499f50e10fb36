use std::sync::Arc;

use arrow_array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray, cast::AsArray,
};
use streamkeeper_connectors::batch::{Batch, DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE};
use streamkeeper_protocol::{
    expr::{Expr, ExprKind, Function, Literal},
    key_group::Assignment,
    plan::{ChangelogMode, Exchange, Input, Operator as Planned, PlanNode, StreamPlan},
    types::{DataType, Field, LogicalType, Schema},
};

use super::{
    plans::plan,
    run::{concat, emitted},
};
use crate::{
    EngineError,
    operator::{Operator, Place},
    operators::build,
};

const TIMESTAMP: DataType = DataType::Timestamp { precision: 3 };

fn long(index: usize) -> Expr {
    Expr::column(index, LogicalType::nullable(DataType::BigInt))
}

fn number(value: i64) -> Expr {
    Expr::literal(
        Literal::Integer(value),
        LogicalType::not_null(DataType::BigInt),
    )
}

fn call(function: Function, args: Vec<Expr>, data: DataType) -> Expr {
    Expr {
        kind: ExprKind::Call { function, args },
        ty: LogicalType::nullable(data),
    }
}

fn node(operator: Planned, schema: Schema) -> StreamPlan {
    let input = Schema::new(vec![
        Field::new("a", LogicalType::nullable(DataType::BigInt)),
        Field::new("t", LogicalType::nullable(TIMESTAMP)),
    ]);
    let make = |id, operator, inputs, schema| PlanNode {
        id,
        state_uid: format!("{id:016x}"),
        label: format!("node {id}"),
        operator,
        inputs,
        schema,
        changelog: ChangelogMode::Retract,
    };
    let inputs = vec![Input {
        node: 0,
        exchange: Exchange::Forward,
    }];
    plan(vec![
        make(0, Planned::Union, Vec::new(), input),
        make(1, operator, inputs, schema),
    ])
}

fn built(plan: &StreamPlan) -> Result<Box<dyn Operator>, EngineError> {
    build(
        &plan.nodes[1],
        plan,
        &Place {
            subtask: 0,
            assignment: Arc::new(Assignment::even(4, 1)),
        },
    )
}

fn batch(values: &[Option<i64>], times: &[Option<i64>], kinds: Option<Vec<i8>>) -> Batch {
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "a",
            Arc::new(values.iter().copied().collect::<Int64Array>()),
            true,
        ),
        (
            "t",
            Arc::new(times.iter().copied().collect::<TimestampMillisecondArray>()),
            true,
        ),
    ];
    Batch {
        rows: RecordBatch::try_from_iter_with_nullable(columns).unwrap(),
        kinds: kinds.map(Into::into),
    }
}

fn bigints(names: &[&str]) -> Schema {
    Schema::new(
        names
            .iter()
            .map(|name| Field::new(*name, LogicalType::nullable(DataType::BigInt)))
            .collect(),
    )
}

#[test]
fn calc_drops_rows_that_are_false_or_null_and_keeps_kinds() {
    let filter = call(
        Function::Greater,
        vec![long(0), number(1)],
        DataType::Boolean,
    );
    let project = vec![
        call(
            Function::Multiply,
            vec![long(0), number(10)],
            DataType::BigInt,
        ),
        long(0),
    ];
    let mut calc = built(&node(
        Planned::Calc {
            filter: Some(filter),
            project,
        },
        bigints(&["x", "y"]),
    ))
    .unwrap();
    let mut out = Vec::new();
    calc.process(
        0,
        &batch(
            &[Some(1), Some(2), None, Some(3)],
            &[None; 4],
            Some(vec![INSERT, UPDATE_BEFORE, UPDATE_AFTER, DELETE]),
        ),
        &mut out,
    )
    .unwrap();
    let rows: Vec<_> = emitted(&out)
        .into_iter()
        .map(|row| (row.kind, row.columns.join(" ")))
        .collect();
    assert_eq!(
        rows,
        [
            (UPDATE_BEFORE, "20 2".to_owned()),
            (DELETE, "30 3".to_owned())
        ]
    );
    out.clear();
    calc.process(0, &batch(&[Some(0)], &[None], None), &mut out)
        .unwrap();
    assert!(out.is_empty());
    calc.process(0, &batch(&[Some(5)], &[None], None), &mut out)
        .unwrap();
    assert!(out[0].kinds.is_none());
    assert_eq!(concat(&out).unwrap().num_rows(), 1);
}

#[test]
fn a_projection_runs_only_on_rows_that_pass_the_filter() {
    let filter = call(
        Function::NotEqual,
        vec![long(0), number(0)],
        DataType::Boolean,
    );
    let project = vec![call(
        Function::Divide,
        vec![number(10), long(0)],
        DataType::BigInt,
    )];
    let mut calc = built(&node(
        Planned::Calc {
            filter: Some(filter),
            project: project.clone(),
        },
        bigints(&["x"]),
    ))
    .unwrap();
    let mut out = Vec::new();
    calc.process(0, &batch(&[Some(0), Some(5)], &[None; 2], None), &mut out)
        .unwrap();
    assert_eq!(emitted(&out)[0].columns, ["2"]);
    let mut calc = built(&node(
        Planned::Calc {
            filter: None,
            project,
        },
        bigints(&["x"]),
    ))
    .unwrap();
    let error = calc
        .process(0, &batch(&[Some(0)], &[None], None), &mut out)
        .unwrap_err();
    assert_eq!(error.to_string(), "node 1: /: division of 10 by zero");
}

#[test]
fn a_projection_of_no_columns_keeps_the_number_of_rows() {
    let mut calc = built(&node(
        Planned::Calc {
            filter: None,
            project: Vec::new(),
        },
        Schema::default(),
    ))
    .unwrap();
    let mut out = Vec::new();
    calc.process(0, &batch(&[Some(0), Some(5)], &[None; 2], None), &mut out)
        .unwrap();
    assert_eq!(out[0].len(), 2);
}

#[test]
fn a_null_in_a_column_that_is_not_null_names_the_column() {
    let schema = Schema::new(vec![Field::new(
        "x",
        LogicalType::not_null(DataType::BigInt),
    )]);
    let mut calc = built(&node(
        Planned::Calc {
            filter: None,
            project: vec![long(0)],
        },
        schema,
    ))
    .unwrap();
    let error = calc
        .process(0, &batch(&[None], &[None], None), &mut Vec::new())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "node 1: column 'x' is NOT NULL but got a NULL"
    );
}

fn assigner() -> StreamPlan {
    let time = Expr::column(1, LogicalType::nullable(TIMESTAMP));
    let interval = Expr::literal(
        Literal::IntervalMillis(5),
        LogicalType::not_null(DataType::IntervalDayTime),
    );
    node(
        Planned::WatermarkAssigner {
            column: 1,
            expr: call(Function::Subtract, vec![time, interval], TIMESTAMP),
        },
        bigints(&["a"]),
    )
}

#[test]
fn watermarks_only_grow() {
    let mut operator = built(&assigner()).unwrap();
    assert_eq!(operator.own_watermark(), Some(None));
    let mut out = Vec::new();
    for (times, expected) in [
        ([Some(20), Some(30)], 25),
        ([Some(10), Some(12)], 25),
        ([Some(31), Some(1)], 26),
    ] {
        operator
            .process(0, &batch(&[None; 2], &times, None), &mut out)
            .unwrap();
        assert_eq!(operator.own_watermark(), Some(Some(expected)));
    }
    assert_eq!(out.len(), 3);
    let mut operator = built(&assigner()).unwrap();
    operator.restore_watermark(100);
    operator
        .process(0, &batch(&[None], &[Some(20)], None), &mut out)
        .unwrap();
    assert_eq!(operator.own_watermark(), Some(Some(100)));
}

#[test]
fn a_null_time_fails_with_the_row() {
    let mut operator = built(&assigner()).unwrap();
    let error = operator
        .process(
            0,
            &batch(&[Some(1), Some(7)], &[Some(3), None], None),
            &mut Vec::new(),
        )
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the time column 't' is NULL in row (a=7, t=NULL)"),
        "{error}"
    );
}

#[test]
fn a_union_passes_rows_under_its_own_names() {
    let schema = Schema::new(vec![
        Field::new("x", LogicalType::nullable(DataType::BigInt)),
        Field::new("y", LogicalType::nullable(TIMESTAMP)),
    ]);
    let mut union = built(&node(Planned::Union, schema)).unwrap();
    let mut out = Vec::new();
    union
        .process(1, &batch(&[Some(1)], &[None], Some(vec![DELETE])), &mut out)
        .unwrap();
    assert_eq!(out[0].rows.schema().field(0).name(), "x");
    assert_eq!(out[0].kind(0), DELETE);
}

#[test]
fn what_cannot_run_is_refused_before_any_row() {
    let pattern = Expr::literal(
        Literal::String("EEE".to_owned()),
        LogicalType::not_null(DataType::STRING),
    );
    let time = Expr::column(1, LogicalType::nullable(TIMESTAMP));
    let project = vec![call(
        Function::DateFormat,
        vec![time, pattern],
        DataType::STRING,
    )];
    let Err(error) = built(&node(
        Planned::Calc {
            filter: None,
            project,
        },
        Schema::default(),
    )) else {
        panic!("built")
    };
    assert!(
        error
            .to_string()
            .starts_with("node 1: DATE_FORMAT: pattern 'EEE'"),
        "{error}"
    );
    let mut plan = assigner();
    plan.settings.time_zone = Some("Europe/Berlin".to_owned());
    let Err(error) = built(&plan) else {
        panic!("built")
    };
    assert!(error.to_string().contains("Europe/Berlin"), "{error}");
}

#[test]
fn texts_too_large_for_one_batch_come_out_in_several() {
    let text = LogicalType::nullable(DataType::STRING);
    let mut plan = node(
        Planned::Calc {
            filter: None,
            project: vec![Expr {
                kind: ExprKind::Call {
                    function: Function::Concat,
                    args: vec![Expr::column(0, text.clone()), Expr::column(0, text.clone())],
                },
                ty: text.clone(),
            }],
        },
        Schema::new(vec![Field::new("x", text.clone())]),
    );
    plan.nodes[0].schema = Schema::new(vec![Field::new("s", text)]);
    let texts: Vec<String> = (0..50)
        .map(|row| format!("{row:02}{}", "x".repeat(1 << 20)))
        .collect();
    let rows = RecordBatch::try_from_iter_with_nullable([(
        "s",
        Arc::new(StringArray::from(texts)) as ArrayRef,
        true,
    )])
    .unwrap();
    let mut calc = built(&plan).unwrap();
    let mut out = Vec::new();
    calc.process(0, &Batch::inserts(rows), &mut out).unwrap();
    assert_eq!(out.len(), 1, "one part at a time lies in memory");
    while calc.go_on(&mut out).unwrap() {}
    assert!(out.len() > 1, "100 MiB are too much for one batch");
    let heads: Vec<usize> = out
        .iter()
        .flat_map(|batch| {
            let texts = batch.rows.column(0).as_string::<i32>();
            texts.iter().map(|text| text.unwrap()[..2].parse().unwrap())
        })
        .collect();
    assert_eq!(heads, (0..50).collect::<Vec<_>>(), "all rows, in order");
}

/// Runs `SELECT TO_TIMESTAMP(s), x || x` and a watermark over its first column, as a subtask does.
fn assigned(rows: &[(Option<&str>, usize)]) -> Result<usize, EngineError> {
    let text = LogicalType::nullable(DataType::STRING);
    let timed = Schema::new(vec![
        Field::new("ts", LogicalType::nullable(TIMESTAMP)),
        Field::new("pad", text.clone()),
    ]);
    let column = |index| Expr::column(index, text.clone());
    let mut calc = node(
        Planned::Calc {
            filter: None,
            project: vec![
                call(Function::ToTimestamp, vec![column(0)], TIMESTAMP),
                call(
                    Function::Concat,
                    vec![column(1), column(1)],
                    DataType::STRING,
                ),
            ],
        },
        timed.clone(),
    );
    calc.nodes[0].schema = Schema::new(vec![
        Field::new("s", text.clone()),
        Field::new("x", text.clone()),
    ]);
    let mut assigner = node(
        Planned::WatermarkAssigner {
            column: 0,
            expr: Expr::column(0, LogicalType::nullable(TIMESTAMP)),
        },
        timed.clone(),
    );
    assigner.nodes[0].schema = timed;
    let (mut calc, mut assigner) = (built(&calc).unwrap(), built(&assigner).unwrap());
    let texts: StringArray = rows.iter().map(|(text, _)| *text).collect();
    let pads: StringArray = rows.iter().map(|(_, pad)| Some("x".repeat(*pad))).collect();
    let columns: [(&str, ArrayRef, bool); 2] =
        [("s", Arc::new(texts), true), ("x", Arc::new(pads), true)];
    let batch = Batch::inserts(RecordBatch::try_from_iter_with_nullable(columns).unwrap());
    let mut parts = Vec::new();
    calc.process(0, &batch, &mut parts)?;
    let mut count = 0;
    loop {
        for part in parts.drain(..) {
            assigner.process(0, &part, &mut Vec::new())?;
            count += 1;
        }
        if !calc.go_on(&mut parts)? {
            return Ok(count);
        }
    }
}

#[test]
fn a_null_time_in_a_later_part_of_a_batch_shows_its_own_text() {
    const LARGE: usize = 8 << 20;
    let good = (Some("2024-05-01 10:00:00"), LARGE);
    assert!(assigned(&[good; 8]).unwrap() > 1, "the batch is cut");
    let mut rows = [good; 8];
    rows[7].0 = Some("nonsense");
    let error = assigned(&rows).unwrap_err().to_string();
    assert!(
        error.contains("TO_TIMESTAMP cannot read 'nonsense'"),
        "{error}"
    );
    rows[6].0 = Some("rubbish");
    let error = assigned(&rows).unwrap_err().to_string();
    assert!(
        error.contains("TO_TIMESTAMP cannot read 'rubbish'"),
        "{error}"
    );
}

#[test]
fn a_null_time_does_not_show_the_text_of_another_row() {
    let error = assigned(&[(None, 1), (Some("nonsense"), 1)]).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("is NULL in row (ts=NULL, pad=xx)"),
        "{error}"
    );
    assert!(!error.contains("nonsense"), "{error}");
}
