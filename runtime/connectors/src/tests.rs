//! Options that a table may have.

use streamkeeper_protocol::{
    plan::{ChangelogMode, TableRef},
    types::DataType,
};

use crate::{
    ConnectorError, TableTraits, TableUse, check,
    testing::{table, with},
};

fn files(format: &str) -> TableRef {
    let columns = [("id", DataType::BigInt), ("word", DataType::STRING)];
    table(
        "filesystem",
        &columns,
        &[("path", "s3://b/p"), ("format", format)],
    )
}

fn gen_table(options: &[(&str, &str)]) -> TableRef {
    let columns = [
        ("id", DataType::Int),
        ("word", DataType::STRING),
        ("ts", DataType::Timestamp { precision: 3 }),
    ];
    table("datagen", &columns, options)
}

#[test]
fn the_planner_learns_the_traits_of_a_table() {
    let traits = |table: &TableRef, table_use| check(table, table_use).unwrap();
    let source = TableUse::Source;
    assert!(traits(&files("json"), source).bounded);
    assert!(
        !traits(
            &with(files("json"), "source.monitor-interval", "10 s"),
            source
        )
        .bounded
    );
    assert!(!traits(&gen_table(&[]), source).bounded);
    assert!(traits(&gen_table(&[("number-of-rows", "5")]), source).bounded);
    assert!(traits(&gen_table(&[("number-of-rows", "${ROWS}")]), source).bounded);
    let sequence = [
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "1"),
        ("fields.id.end", "9"),
    ];
    assert!(traits(&gen_table(&sequence), source).bounded);
    for (format, accepts) in [
        ("json", ChangelogMode::InsertOnly),
        ("csv", ChangelogMode::InsertOnly),
        ("debezium-json", ChangelogMode::Retract),
    ] {
        assert_eq!(
            traits(&files(format), TableUse::Sink).accepts,
            accepts,
            "{format}"
        );
    }
    for connector in ["print", "blackhole"] {
        let table = table(connector, &[("id", DataType::Int)], &[]);
        let TableTraits { accepts, .. } = traits(&table, TableUse::Sink);
        assert_eq!(accepts, ChangelogMode::Retract);
    }
}

#[test]
fn what_cannot_work_is_refused_with_a_sentence() {
    let json = || files("json");
    let csv = || files("csv");
    let (source, sink) = (TableUse::Source, TableUse::Sink);
    let cases = [
        (
            table("kafka", &[("a", DataType::Int)], &[]),
            source,
            "unknown connector 'kafka'; sources are: filesystem, datagen",
        ),
        (
            table("kafka", &[("a", DataType::Int)], &[]),
            sink,
            "sinks are: filesystem, print, blackhole",
        ),
        (
            table("print", &[("a", DataType::Int)], &[]),
            source,
            "'print' can be written, not read",
        ),
        (gen_table(&[]), sink, "'datagen' can be read, not written"),
        (
            with(json(), "jsn.x", "1"),
            source,
            "unknown option 'jsn.x' for connector 'filesystem'; known options: path, format",
        ),
        (
            with(json(), "csv.null-literal", "x"),
            source,
            "unknown option 'csv.null-literal'",
        ),
        (
            with(json(), "format", "avro"),
            source,
            "unknown format 'avro'; known are 'json', 'csv'",
        ),
        (
            with(json(), "format", "debezium-json"),
            source,
            "can be written, not read",
        ),
        (
            with(json(), "path", " "),
            source,
            "option 'path': is required",
        ),
        (
            with(json(), "path", "hdfs://x/y"),
            source,
            "'hdfs://x/y' is neither like s3://bucket/prefix nor like file:///directory",
        ),
        (
            with(json(), "json.ignore-parse-errors", "yes"),
            source,
            "'yes' is neither true nor false",
        ),
        (
            with(
                with(json(), "json.ignore-parse-errors", "true"),
                "json.fail-on-missing-field",
                "true",
            ),
            source,
            "cannot be true together",
        ),
        (
            with(json(), "json.timestamp-format.standard", "RFC"),
            source,
            "'RFC' is not one of 'SQL', 'ISO-8601'",
        ),
        (
            with(json(), "json.encode.decimal-as-plain-number", "false"),
            sink,
            "always written plain",
        ),
        (
            with(json(), "source.monitor-interval", "soon"),
            source,
            "'soon' is not a duration like",
        ),
        (
            with(json(), "source.monitor-interval", "0"),
            source,
            "must be longer than 0",
        ),
        (
            with(json(), "source.path.regex-pattern", "a("),
            source,
            "not a regular expression",
        ),
        (
            with(json(), "sink.rolling-policy.file-size", "1MB"),
            sink,
            "the checkpoint interval decides",
        ),
        (
            with(json(), "sink.parallelism", "1"),
            sink,
            "runs on every worker",
        ),
        (
            with(json(), "partition.default-name", "x"),
            sink,
            "tables are not partitioned",
        ),
        (
            with(json(), "auto-compaction", "true"),
            sink,
            "never merged",
        ),
        (
            with(csv(), "csv.field-delimiter", "||"),
            source,
            "'||' is not a single ASCII character",
        ),
        (
            with(csv(), "csv.field-delimiter", "\""),
            source,
            "must differ",
        ),
        (
            with(
                with(csv(), "csv.disable-quote-character", "true"),
                "csv.quote-character",
                "'",
            ),
            source,
            "cannot be set together",
        ),
        (
            files("raw"),
            source,
            "exactly one column, of type STRING or BYTES",
        ),
        (
            table(
                "filesystem",
                &[("a", DataType::IntervalDayTime)],
                &[("path", "s3://b/p"), ("format", "json")],
            ),
            sink,
            "no format can hold",
        ),
        (
            gen_table(&[("rows-per-second", "0")]),
            source,
            "must be at least 1",
        ),
        (
            gen_table(&[("rows-per-second", "many")]),
            source,
            "'many' is not a number of rows",
        ),
        (
            gen_table(&[("fields.di.min", "0")]),
            source,
            "there is no column 'di'; columns: id, word, ts",
        ),
        (
            gen_table(&[("fields.id.mim", "0")]),
            source,
            "unknown option 'fields.id.mim'",
        ),
        (
            gen_table(&[("fields.id.min", "3000000000")]),
            source,
            "3000000000 is not a value of INT",
        ),
        (
            gen_table(&[("fields.id.min", "2"), ("fields.id.max", "1")]),
            source,
            "larger than the maximum",
        ),
        (
            gen_table(&[("fields.word.min", "2")]),
            source,
            "only works for numeric types",
        ),
        (
            gen_table(&[("fields.id.length", "2")]),
            source,
            "only works for CHAR, VARCHAR, STRING and BYTES",
        ),
        (
            gen_table(&[("fields.id.start", "2")]),
            source,
            "belongs to 'kind' = 'sequence'",
        ),
        (
            gen_table(&[("fields.id.kind", "sequence")]),
            source,
            "a sequence needs its start and end",
        ),
        (
            gen_table(&[("fields.ts.kind", "sequence")]),
            source,
            "'sequence' does not work for TIMESTAMP(3)",
        ),
        (
            gen_table(&[("fields.id.null-rate", "2")]),
            source,
            "2 is not between 0 and 1",
        ),
        (
            gen_table(&[("scan.parallelism", "2")]),
            source,
            "runs on every worker",
        ),
        (
            table(
                "print",
                &[("a", DataType::Int)],
                &[("print-identifer", "x")],
            ),
            sink,
            "known options: print-identifier, standard-error",
        ),
        (
            table("blackhole", &[("a", DataType::Int)], &[("x", "y")]),
            sink,
            "unknown option 'x'",
        ),
    ];
    for (table, table_use, expected) in cases {
        let error = check(&table, table_use).map(drop).unwrap_err();
        assert!(matches!(error, ConnectorError::Option { .. }));
        let error = error.to_string();
        assert!(
            error.starts_with("table 't': ") && error.contains(expected),
            "{error}"
        );
    }
}

#[test]
fn paths_are_written_as_in_flink() {
    for path in [
        "s3://b",
        "s3a://b/p/",
        "s3p://b/p",
        "file:///d",
        "file:/d",
        "/d",
        "s3://${BUCKET}/p",
    ] {
        let table = with(files("json"), "path", path);
        assert!(check(&table, TableUse::Source).is_ok(), "{path}");
    }
    for path in [
        "s3://",
        "s3:///p",
        "d",
        "file://d",
        "file:///",
        "http://b/p",
    ] {
        let table = with(files("json"), "path", path);
        assert!(check(&table, TableUse::Source).is_err(), "{path}");
    }
}

#[test]
fn a_value_with_a_variable_is_not_judged_before_it_is_expanded() {
    let table = with(files("json"), "json.ignore-parse-errors", "${LENIENT}");
    let table = with(table, "source.monitor-interval", "${INTERVAL}");
    let traits = check(&with(table, "path", "${INPUT}"), TableUse::Source).unwrap();
    assert!(!traits.bounded);
    let table = with(gen_table(&[]), "rows-per-second", "${RATE}");
    assert!(check(&table, TableUse::Source).is_ok());
}

#[test]
fn the_reference_names_every_option() {
    let reference = include_str!("../../../docs/connectors.md");
    let sink = |connector| table(connector, &[("a", DataType::STRING)], &[]);
    let tables = [
        (files("json"), TableUse::Source),
        (files("csv"), TableUse::Source),
        (
            with(with(sink("filesystem"), "path", "/d"), "format", "raw"),
            TableUse::Source,
        ),
        (files("debezium-json"), TableUse::Sink),
        (gen_table(&[]), TableUse::Source),
        (sink("print"), TableUse::Sink),
    ];
    for (table, table_use) in tables {
        let error = check(&with(table, "no-such", "x"), table_use)
            .unwrap_err()
            .to_string();
        let (_, known) = error.split_once("known options: ").unwrap();
        for option in known.split(", ") {
            // Options of one column may share a line: `fields.<column>.min`, `.max`.
            let short = option.rsplit_once('.').map_or("", |(_, last)| last);
            let shared =
                option.starts_with("fields.") && reference.contains(&format!("`.{short}`"));
            assert!(
                shared || reference.contains(&format!("`{option}`")),
                "{option}"
            );
        }
    }
}
