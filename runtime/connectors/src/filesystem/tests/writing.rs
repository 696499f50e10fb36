//! Files: what they hold, and that they are committed once.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    Time32MillisecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use proptest::prelude::*;
use streamkeeper_protocol::{plan::TableRef, types::DataType};
use streamkeeper_storage::{Action, Condition, Fault, FaultStore, MemoryStore, ObjectStore, Rule};

use super::{store_of, words};
use crate::{
    batch::{Batch, DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE, arrow_schema},
    open_committer, open_sink,
    sink::Committable,
    testing::{read_all, runtime, sink_context, table, with},
};

const NAME: &str = "in/part-STVWXYZ0-01234567-2-000000000007.json";

fn word_batch(table: &TableRef, ids: &[i64]) -> Batch {
    let words = StringArray::from_iter_values(ids.iter().map(|id| format!("w{id}")));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(words)];
    Batch::inserts(RecordBatch::try_new(arrow_schema(&table.schema), columns).unwrap())
}

fn prepare(table: &TableRef, store: &Arc<dyn ObjectStore>, batch: &Batch) -> Committable {
    let mut sink = open_sink(sink_context(table, store)).unwrap();
    sink.write(batch).unwrap();
    sink.prepare(7).unwrap().unwrap()
}

#[test]
fn an_epoch_without_rows_prepares_nothing() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let table = words("json");
    let mut sink = open_sink(sink_context(&table, &store)).unwrap();
    assert!(sink.prepare(1).unwrap().is_none());
    sink.write(&word_batch(&table, &[1])).unwrap();
    assert!(sink.prepare(2).unwrap().is_some());
    assert!(sink.prepare(3).unwrap().is_none());
}

#[test]
fn a_file_is_committed_once_however_often_it_is_tried() {
    let runtime = runtime();
    let memory = MemoryStore::new();
    let faulty = Arc::new(FaultStore::new(memory.clone()));
    let store: Arc<dyn ObjectStore> = faulty.clone();
    let table = words("json");
    let prepared = prepare(&table, &store, &word_batch(&table, &[1, 2]));
    let committer = open_committer(sink_context(&table, &store)).unwrap();
    let commit = || runtime.block_on(committer.commit(&prepared.meta, prepared.staged.clone()));
    for fault in [Fault::Unavailable, Fault::LostRequest] {
        faulty.fail(Rule::once(Action::Put, "in/", fault));
        assert!(commit().is_err(), "{fault:?}");
    }
    for fault in [Fault::LostAnswer, Fault::RefusedAfterSuccess] {
        runtime.block_on(memory.delete(NAME)).unwrap();
        faulty.fail(Rule::once(Action::Put, "in/", fault));
        // It is there, and that is found out at once.
        commit().unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(memory.keys(), [NAME]);
    }
    commit().unwrap();
    assert_eq!(memory.keys(), [NAME]);
    let object = runtime.block_on(store.get(NAME)).unwrap();
    assert_eq!(
        &object.bytes[..],
        b"{\"id\":1,\"word\":\"w1\"}\n{\"id\":2,\"word\":\"w2\"}\n"
    );
}

#[test]
fn a_file_of_another_writer_is_not_taken_for_the_sinks_own() {
    let runtime = runtime();
    let store = store_of(&[(NAME, b"theirs")], runtime.handle());
    let table = words("json");
    let prepared = prepare(&table, &store, &word_batch(&table, &[1]));
    let committer = open_committer(sink_context(&table, &store)).unwrap();
    let error = runtime
        .block_on(committer.commit(&prepared.meta, prepared.staged))
        .unwrap_err();
    assert!(
        error.to_string().contains("two jobs write to this path"),
        "{error}"
    );
}

#[test]
fn a_prepared_file_without_its_rows_is_an_error() {
    let runtime = runtime();
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let table = words("json");
    let prepared = prepare(&table, &store, &word_batch(&table, &[1]));
    let committer = open_committer(sink_context(&table, &store)).unwrap();
    assert!(
        runtime
            .block_on(committer.commit(&prepared.meta, None))
            .is_err()
    );
}

#[test]
fn changes_are_written_as_debezium_json_and_refused_by_formats_for_inserts() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let table = words("debezium-json");
    let mut batch = word_batch(&table, &[1, 2, 3, 4]);
    batch.kinds = Some(vec![INSERT, UPDATE_BEFORE, UPDATE_AFTER, DELETE].into());
    let staged = prepare(&table, &store, &batch).staged.unwrap();
    let expected = "{\"before\":null,\"after\":{\"id\":1,\"word\":\"w1\"},\"op\":\"c\"}\n\
                    {\"before\":{\"id\":2,\"word\":\"w2\"},\"after\":null,\"op\":\"d\"}\n\
                    {\"before\":null,\"after\":{\"id\":3,\"word\":\"w3\"},\"op\":\"c\"}\n\
                    {\"before\":{\"id\":4,\"word\":\"w4\"},\"after\":null,\"op\":\"d\"}\n";
    assert_eq!(std::str::from_utf8(&staged).unwrap(), expected);
    for format in ["json", "csv"] {
        let table = words(format);
        let mut sink = open_sink(sink_context(&table, &store)).unwrap();
        let error = sink.write(&batch).unwrap_err().to_string();
        assert!(error.contains("debezium-json"), "{error}");
    }
}

#[test]
fn nulls_are_left_out_when_the_table_says_so() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let table = with(words("json"), "json.encode.ignore-null-fields", "true");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![None, Some(2)])),
        Arc::new(StringArray::from(vec![Some("\"q\"\u{1}\n"), None])),
    ];
    let rows = RecordBatch::try_new(arrow_schema(&table.schema), columns).unwrap();
    let staged = prepare(&table, &store, &Batch::inserts(rows))
        .staged
        .unwrap();
    assert_eq!(
        &staged[..],
        b"{\"word\":\"\\\"q\\\"\\u0001\\n\"}\n{\"id\":2}\n"
    );
}

#[test]
fn a_batch_of_another_shape_is_refused() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let batch = word_batch(&words("json"), &[1]);
    let other = table(
        "filesystem",
        &[("id", DataType::Int), ("word", DataType::STRING)],
        &[("path", "s3://b/x"), ("format", "json")],
    );
    let mut sink = open_sink(sink_context(&other, &store)).unwrap();
    let error = sink.write(&batch).unwrap_err().to_string();
    assert!(
        error.contains("column 'id' is INT, but the batch brings Int64"),
        "{error}"
    );
}

/// A row of every type that a table column can have.
#[derive(Debug, Clone)]
struct Row {
    boolean: Option<bool>,
    tiny: Option<i8>,
    small: Option<i16>,
    int: Option<i32>,
    big: Option<i64>,
    float: Option<f32>,
    double: Option<f64>,
    decimal: Option<i128>,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    date: Option<i32>,
    time: Option<i32>,
    millis: Option<i64>,
    micros: Option<i64>,
}

fn row() -> impl Strategy<Value = Row> {
    let numbers = (
        any::<Option<bool>>(),
        any::<Option<i8>>(),
        any::<Option<i16>>(),
        any::<Option<i32>>(),
        any::<Option<i64>>(),
        any::<Option<f32>>(),
        any::<Option<f64>>(),
        prop::option::of(-(10_i128.pow(30) - 1)..10_i128.pow(30)),
    );
    // CSV reads the null literal as NULL in any field.
    let text = prop::option::of(".*").prop_filter("not the null literal", |text| {
        text.as_deref() != Some("\\N")
    });
    let others = (
        text,
        any::<Option<Vec<u8>>>(),
        prop::option::of(-719_162_i32..2_932_896),
        prop::option::of(0_i32..86_400_000),
        prop::option::of(-62_135_596_800_000_i64..253_402_300_799_999),
        prop::option::of(-62_135_596_800_000_000_i64..253_402_300_799_999_999),
    );
    (numbers, others).prop_map(
        |(
            (boolean, tiny, small, int, big, float, double, decimal),
            (text, bytes, date, time, millis, micros),
        )| Row {
            boolean,
            tiny,
            small,
            int,
            big,
            float,
            double,
            decimal,
            text,
            bytes,
            date,
            time,
            millis,
            micros,
        },
    )
}

fn every_type(format: &str) -> TableRef {
    table(
        "filesystem",
        &[
            ("boolean", DataType::Boolean),
            ("tiny", DataType::TinyInt),
            ("small", DataType::SmallInt),
            ("int", DataType::Int),
            ("big", DataType::BigInt),
            ("float", DataType::Float),
            ("double", DataType::Double),
            (
                "decimal",
                DataType::Decimal {
                    precision: 30,
                    scale: 7,
                },
            ),
            ("text", DataType::STRING),
            ("bytes", DataType::Bytes),
            ("date", DataType::Date),
            ("time", DataType::Time),
            ("millis", DataType::Timestamp { precision: 3 }),
            ("micros", DataType::TimestampLtz { precision: 6 }),
        ],
        &[("path", "s3://bucket/in"), ("format", format)],
    )
}

fn batch_of(table: &TableRef, rows: &[Row]) -> RecordBatch {
    let decimals = rows
        .iter()
        .map(|row| row.decimal)
        .collect::<Decimal128Array>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.boolean).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| row.tiny).collect::<Int8Array>()),
        Arc::new(rows.iter().map(|row| row.small).collect::<Int16Array>()),
        Arc::new(rows.iter().map(|row| row.int).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.big).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.float).collect::<Float32Array>()),
        Arc::new(rows.iter().map(|row| row.double).collect::<Float64Array>()),
        Arc::new(decimals.with_precision_and_scale(30, 7).unwrap()),
        Arc::new(
            rows.iter()
                .map(|row| row.text.as_deref())
                .collect::<StringArray>(),
        ),
        Arc::new(
            rows.iter()
                .map(|row| row.bytes.as_deref())
                .collect::<BinaryArray>(),
        ),
        Arc::new(rows.iter().map(|row| row.date).collect::<Date32Array>()),
        Arc::new(
            rows.iter()
                .map(|row| row.time)
                .collect::<Time32MillisecondArray>(),
        ),
        Arc::new(
            rows.iter()
                .map(|row| row.millis)
                .collect::<TimestampMillisecondArray>(),
        ),
        Arc::new(
            rows.iter()
                .map(|row| row.micros)
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("+00:00"),
        ),
    ];
    RecordBatch::try_new(arrow_schema(&table.schema), columns).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_value_reads_back_as_written(rows in prop::collection::vec(row(), 1..20), format in 0..3) {
        let table = match format {
            0 => every_type("json"),
            1 => with(every_type("json"), "json.timestamp-format.standard", "ISO-8601"),
            _ => with(every_type("csv"), "csv.null-literal", "\\N"),
        };
        let runtime = runtime();
        let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
        let batch = batch_of(&table, &rows);
        let staged = prepare(&table, &store, &Batch::inserts(batch.clone())).staged.unwrap();
        runtime.block_on(store.put("in/a", staged.clone(), Condition::Always)).unwrap();
        let read = read_all(&table, &store, runtime.handle()).unwrap();
        let read = arrow_select::concat::concat_batches(&batch.schema(), &read).unwrap();
        prop_assert_eq!(format!("{batch:?}"), format!("{read:?}"), "{}", String::from_utf8_lossy(&staged));
    }
}
