//! Good and bad records in every format.

use arrow_array::{Array as _, cast::AsArray as _, types};
use streamkeeper_protocol::{
    key_group::Assignment,
    plan::TableRef,
    types::{DataType, LogicalType},
};

use super::{ids, store_of, strings, words};
use crate::{
    ConnectorError,
    testing::{GROUPS, Job, State, runtime, table, with},
};

/// Rows read from one object, the error after them, and the records skipped.
fn read(
    table: &TableRef,
    content: &str,
) -> (Vec<arrow_array::RecordBatch>, Option<ConnectorError>, u64) {
    let runtime = runtime();
    let store = store_of(&[("in/a", content.as_bytes())], runtime.handle());
    let assignment = Assignment::even(GROUPS, 1);
    let mut job = Job::start(table, &store, runtime.handle(), &assignment, &State::new());
    let mut rows = Vec::new();
    let error = loop {
        match job.round(1_000) {
            Ok(crate::testing::Round::Rows(batches)) => rows.extend(batches),
            Ok(_) => break None,
            Err(error) => break Some(error),
        }
    };
    (rows, error, job.sources[0].skipped_records())
}

/// The text of one value of a column of this type, read from JSON and printed by Arrow.
fn json_value(data: &DataType, json: &str) -> Result<String, String> {
    value_of("json", data, &format!("{{\"x\":{json}}}\n"))
}

fn value_of(format: &str, data: &DataType, content: &str) -> Result<String, String> {
    let path = [("path", "s3://b/in"), ("format", format)];
    let (rows, error, _) = read(&table("filesystem", &[("x", data.clone())], &path), content);
    if let Some(error) = error {
        return Err(error.to_string());
    }
    let column = rows[0].column(0);
    if column.is_null(0) {
        return Ok("null".to_owned());
    }
    Ok(match data {
        DataType::Boolean => column.as_boolean().value(0).to_string(),
        DataType::TinyInt => column
            .as_primitive::<types::Int8Type>()
            .value(0)
            .to_string(),
        DataType::Int => column
            .as_primitive::<types::Int32Type>()
            .value(0)
            .to_string(),
        DataType::BigInt => column
            .as_primitive::<types::Int64Type>()
            .value(0)
            .to_string(),
        DataType::Double => column
            .as_primitive::<types::Float64Type>()
            .value(0)
            .to_string(),
        DataType::Float => column
            .as_primitive::<types::Float32Type>()
            .value(0)
            .to_string(),
        DataType::Decimal { .. } => column
            .as_primitive::<types::Decimal128Type>()
            .value_as_string(0),
        DataType::Date => column
            .as_primitive::<types::Date32Type>()
            .value(0)
            .to_string(),
        DataType::Time => column
            .as_primitive::<types::Time32MillisecondType>()
            .value(0)
            .to_string(),
        DataType::Timestamp { precision: 0..=3 } | DataType::TimestampLtz { precision: 0..=3 } => {
            column
                .as_primitive::<types::TimestampMillisecondType>()
                .value(0)
                .to_string()
        }
        DataType::Timestamp { .. } | DataType::TimestampLtz { .. } => column
            .as_primitive::<types::TimestampMicrosecondType>()
            .value(0)
            .to_string(),
        DataType::Bytes => format!("{:?}", column.as_binary::<i32>().value(0)),
        _ => column.as_string::<i32>().value(0).to_owned(),
    })
}

#[test]
fn json_values_convert_as_in_flink() {
    let decimal = DataType::Decimal {
        precision: 6,
        scale: 2,
    };
    let ltz = DataType::TimestampLtz { precision: 3 };
    for (data, json, value) in [
        (DataType::Int, "7", "7"),
        (DataType::Int, "\" 7 \"", "7"),
        (DataType::Int, "1.9", "1"),
        (DataType::Int, "3e2", "300"),
        (
            DataType::BigInt,
            "-9223372036854775808",
            "-9223372036854775808",
        ),
        (DataType::BigInt, "null", "null"),
        (DataType::TinyInt, "\"-128\"", "-128"),
        (DataType::Boolean, "true", "true"),
        (DataType::Boolean, "\"TRUE\"", "true"),
        (DataType::Boolean, "1", "false"),
        (DataType::Double, "\"1.5\"", "1.5"),
        (DataType::Double, "\"NaN\"", "NaN"),
        (DataType::Float, "0.1", "0.1"),
        (decimal.clone(), "1234.567", "1234.57"),
        (decimal.clone(), "\"1234.567\"", "1234.57"),
        (decimal, "12345.67", "null"),
        (
            DataType::STRING,
            "\"a\\u00e9\\ud83d\\ude00\\n\"",
            "a\u{e9}\u{1f600}\n",
        ),
        (DataType::STRING, "1.50", "1.50"),
        (DataType::STRING, "{\"a\": [1, 2]}", "{\"a\":[1,2]}"),
        (DataType::STRING, "false", "false"),
        (DataType::Bytes, "\"aGk=\"", "[104, 105]"),
        (DataType::Date, "\"1970-01-02\"", "1"),
        (DataType::Time, "\"00:00:01.5\"", "1500"),
        (
            DataType::Timestamp { precision: 3 },
            "\"1970-01-01 00:00:01.2345\"",
            "1234",
        ),
        (
            DataType::Timestamp { precision: 0 },
            "\"1970-01-01 00:00:01.9\"",
            "1000",
        ),
        (
            DataType::Timestamp { precision: 6 },
            "\"1970-01-01 00:00:01.2345\"",
            "1234500",
        ),
        (ltz, "\"1970-01-01 00:00:01Z\"", "1000"),
    ] {
        assert_eq!(
            json_value(&data, json).as_deref(),
            Ok(value),
            "{data} {json}"
        );
    }
}

#[test]
fn json_values_that_do_not_convert_are_errors_with_their_place() {
    for (data, json, what) in [
        (DataType::Int, "\"seven\"", "'seven' is not a value of INT"),
        (DataType::Int, "2147483648", "is not a value of INT"),
        (DataType::TinyInt, "128", "is not a value of TINYINT"),
        (DataType::TinyInt, "1.5", "is not a value of TINYINT"),
        (
            DataType::BigInt,
            "9223372036854775808",
            "is not a value of BIGINT",
        ),
        (DataType::Double, "\"\"", "'' is not a value of DOUBLE"),
        (
            DataType::Int,
            "{}",
            "an object or array where a single value should be",
        ),
        (DataType::Date, "\"2013-02-30\"", "like 2013-01-01"),
        (
            DataType::Timestamp { precision: 3 },
            "\"2013-01-01T00:00:00\"",
            "is not a value of TIMESTAMP(3)",
        ),
        (
            DataType::Timestamp { precision: 3 },
            "1357016400000",
            "is not a value of TIMESTAMP(3)",
        ),
        (DataType::Bytes, "\"a\"", "is not base64"),
        (DataType::STRING, "\"\\ud83d\"", "half of a surrogate pair"),
    ] {
        let error = json_value(&data, json).unwrap_err();
        assert!(
            error.contains("in/a line 1: ") && error.contains(what),
            "{data} {json}: {error}"
        );
    }
}

#[test]
fn iso_timestamps_are_read_when_the_table_says_so() {
    let path = [("path", "s3://b/in"), ("format", "json")];
    let data = DataType::Timestamp { precision: 3 };
    let table = with(
        table("filesystem", &[("x", data)], &path),
        "json.timestamp-format.standard",
        "ISO-8601",
    );
    let (rows, error, _) = read(
        &table,
        "{\"x\":\"1970-01-01T00:00:02\"}\n{\"x\":\"1970-01-01T00:01\"}",
    );
    assert!(error.is_none(), "{error:?}");
    let column = rows[0]
        .column(0)
        .as_primitive::<types::TimestampMillisecondType>();
    assert_eq!(column.values(), &[2_000, 60_000]);
}

#[test]
fn rows_before_a_bad_line_arrive_and_the_error_names_object_and_line() {
    let content = "{\"id\":1}\n\n{\"id\":2}\n{\"id\":3\n{\"id\":4}\n";
    let (rows, error, _) = read(&words("json"), content);
    assert_eq!(ids(&rows), [1, 2]);
    let Some(ConnectorError::Record { object, line, .. }) = error else {
        panic!("{error:?}");
    };
    assert!(object.ends_with("/in/a"), "{object}");
    assert_eq!(line, 4);
}

#[test]
fn bad_lines_are_skipped_and_counted_when_the_table_says_so() {
    let content = "{\"id\":1}\nnonsense\n{\"id\":\"x\",\"word\":\"kept\"}\n{\"id\":2}\n[]\n";
    let mut table = with(words("json"), "json.ignore-parse-errors", "true");
    let (rows, error, skipped) = read(&table, content);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(strings(&rows, 1), [None, Some("kept".to_owned()), None]);
    assert!(
        rows[0].column(0).is_null(1),
        "a field that is not a value reads as NULL"
    );
    assert_eq!(skipped, 2);
    // Where NULL is not a value, the row goes.
    table.schema.fields[0].ty = LogicalType::not_null(DataType::BigInt);
    let (rows, error, skipped) = read(&table, content);
    assert!(error.is_none(), "{error:?}");
    assert_eq!((ids(&rows), skipped), (vec![1, 2], 3));
}

#[test]
fn missing_and_repeated_fields() {
    let (rows, _, _) = read(
        &words("json"),
        "{\"word\":\"a\",\"x\":{\"id\":[]},\"word\":\"b\"}",
    );
    assert_eq!(strings(&rows, 1), [Some("b".to_owned())]);
    let strict = with(words("json"), "json.fail-on-missing-field", "true");
    let (_, error, _) = read(&strict, "{\"id\":1}");
    assert!(
        error
            .unwrap()
            .to_string()
            .contains("field 'word' is missing")
    );
    let mut not_null = words("json");
    not_null.schema.fields[1].ty = LogicalType::not_null(DataType::STRING);
    for line in ["{\"id\":1}", "{\"id\":1,\"word\":null}"] {
        let (_, error, _) = read(&not_null, line);
        assert!(error.unwrap().to_string().contains("NOT NULL"));
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_rows() {
    let (rows, error, _) = read(&words("json"), "\u{feff}{\"id\":1}\r\n{\"id\":2}\r\n");
    assert!(error.is_none(), "{error:?}");
    assert_eq!(ids(&rows), [1, 2]);
    let (rows, error, _) = read(&words("csv"), "1,a\r\n2,b\r\n");
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        strings(&rows, 1),
        [Some("a".to_owned()), Some("b".to_owned())]
    );
}

#[test]
fn csv_fields_are_quoted_escaped_and_commented() {
    let content = "# id, word\n1,\"a,\"\"b\"\"\nc\"\n2,plain \"text\"\n3,\n4,\"\"\n5,NULL\n";
    let table = with(words("csv"), "csv.allow-comments", "true");
    let (rows, error, _) = read(&with(table, "csv.null-literal", "NULL"), content);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(ids(&rows), [1, 2, 3, 4, 5]);
    let words_read = strings(&rows, 1);
    let expected = [
        Some("a,\"b\"\nc"),
        Some("plain \"text\""),
        Some(""),
        Some(""),
        None,
    ];
    assert_eq!(words_read, expected.map(|word| word.map(str::to_owned)));

    let table = with(words("csv"), "csv.field-delimiter", "\\t");
    let table = with(table, "csv.disable-quote-character", "true");
    let (rows, error, _) = read(&with(table, "csv.escape-character", "\\"), "1\t\"a\\\tb\n");
    assert!(error.is_none(), "{error:?}");
    assert_eq!(strings(&rows, 1), [Some("\"a\tb".to_owned())]);
}

#[test]
fn csv_records_that_are_none_are_errors_with_their_place() {
    for (content, what) in [
        ("1,a\n2\n", "line 2: 1 fields for the table's 2 columns"),
        ("1,a\n2,b,c\n", "line 2: 3 fields for the table's 2 columns"),
        (
            "1,\"a\nb\"\nx,b\n",
            "line 3: field 'id': 'x' is not a value of BIGINT",
        ),
        ("1,a\n,b\n", "set 'csv.null-literal' = ''"),
        ("1,\"a\" b\n", "line 1: text after the closing quote"),
        (
            "1,a\n2,\"b\n3,c\n",
            "line 2: a field without its closing quote",
        ),
    ] {
        let (_, error, _) = read(&words("csv"), content);
        let error = error.unwrap().to_string();
        assert!(error.contains(what), "{error}");
    }
    let lenient = with(words("csv"), "csv.ignore-parse-errors", "true");
    let (rows, error, skipped) = read(&lenient, "1,a\n2\nx,b\n3,c,d\n");
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        strings(&rows, 1),
        [Some("a".to_owned()), None, Some("b".to_owned())]
    );
    assert_eq!(skipped, 1);
}

#[test]
fn raw_lines_are_values() {
    assert_eq!(
        value_of("raw", &DataType::STRING, "a \"line\"\r\n").as_deref(),
        Ok("a \"line\"")
    );
    assert_eq!(
        value_of("raw", &DataType::Bytes, "hi\n").as_deref(),
        Ok("[104, 105]")
    );
    assert_eq!(value_of("raw", &DataType::STRING, "\n").as_deref(), Ok(""));
}
