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
fn a_byte_order_mark_may_stand_before_a_quoted_field_and_a_comment() {
    let (rows, error, _) = read(&words("csv"), "\u{feff}\"1\",\"a\nb\"\n2,c\n");
    assert!(error.is_none(), "{error:?}");
    assert_eq!(ids(&rows), [1, 2]);
    assert_eq!(strings(&rows, 1)[0].as_deref(), Some("a\nb"));
    let commented = with(words("csv"), "csv.allow-comments", "true");
    let (rows, error, _) = read(&commented, "\u{feff}# a\n1,a\n");
    assert!(error.is_none(), "{error:?}");
    assert_eq!(ids(&rows), [1]);
}

#[test]
fn an_empty_csv_line_is_one_empty_field_as_in_flink() {
    let path = [("path", "s3://b/in"), ("format", "csv")];
    let one = table("filesystem", &[("x", DataType::STRING)], &path);
    let (rows, error, _) = read(&one, "a\n\n\"\"\r\n\r\nb\n");
    assert!(error.is_none(), "{error:?}");
    let expected = ["a", "", "", "", "b"].map(|text| Some(text.to_owned()));
    assert_eq!(strings(&rows, 0), expected);
    let (rows, _, _) = read(&with(one, "csv.null-literal", ""), "a\n\n");
    assert_eq!(strings(&rows, 0), [Some("a".to_owned()), None]);
    let (_, error, _) = read(&words("csv"), "1,a\n\n");
    let error = error.unwrap().to_string();
    assert!(
        error.contains("line 2: an empty line is one empty field"),
        "{error}"
    );
    let lenient = with(words("csv"), "csv.ignore-parse-errors", "true");
    let (rows, error, _) = read(&lenient, "1,a\n\n");
    assert!(error.is_none(), "{error:?}");
    assert_eq!(strings(&rows, 1), [Some("a".to_owned()), None]);
}

#[test]
fn the_first_line_of_every_csv_object_is_left_out_when_the_table_says_so() {
    let table = with(words("csv"), "csv.ignore-first-line", "true");
    let table = with(table, "csv.allow-comments", "true");
    let (rows, error, _) = read(&table, "\u{feff}# made up\nid,\"the\nword\"\n1,a\n2,b\n");
    assert!(error.is_none(), "{error:?}");
    assert_eq!(ids(&rows), [1, 2]);
    let runtime = runtime();
    let objects: [(&str, &[u8]); 3] = [
        ("in/a", b"id,word\n1,a\n"),
        ("in/b", b"id,word"),
        ("in/c", b""),
    ];
    let store = store_of(&objects, runtime.handle());
    let assignment = Assignment::even(GROUPS, 1);
    let mut state = State::new();
    let mut job = Job::start(&table, &store, runtime.handle(), &assignment, &state);
    assert_eq!(ids(&job.drain().unwrap()), [1]);
    job.checkpoint(&mut state);
    // After a restart in the middle of an object no row is taken for its first line.
    let store = store_of(&[("in/a", b"id,word\n1,a\n2,b\n3,c\n")], runtime.handle());
    let mut state = State::new();
    let mut job = Job::start(&table, &store, runtime.handle(), &assignment, &state);
    assert!(matches!(job.round(2), Ok(crate::testing::Round::Rows(_))));
    job.checkpoint(&mut state);
    let mut job = Job::start(&table, &store, runtime.handle(), &assignment, &state);
    assert_eq!(ids(&job.drain().unwrap()), [3]);
}

#[test]
fn fields_may_be_parted_by_a_character_that_is_written_as_an_escape() {
    let table = with(words("csv"), "csv.field-delimiter", "\\u0001");
    let (rows, error, _) = read(&table, "1\u{1}a,b\n");
    assert!(error.is_none(), "{error:?}");
    assert_eq!(strings(&rows, 1), [Some("a,b".to_owned())]);
}

#[test]
fn a_record_has_a_longest_length_whatever_its_format() {
    let long = "x".repeat(2 << 20);
    let path = [("path", "s3://b/in"), ("format", "raw")];
    let raw = table("filesystem", &[("x", DataType::STRING)], &path);
    for (table, before, content) in [
        (
            words("json"),
            "{\"id\":1}\n",
            format!("{{\"word\":\"{long}\"}}\n"),
        ),
        (words("csv"), "1,a\n", format!("2,{long}\n")),
        (words("csv"), "1,a\n", format!("2,\"{long}\n")),
        (raw, "a\n", long.clone()),
    ] {
        let (_, error, _) = read(&table, &format!("{before}{content}"));
        let error = error.unwrap().to_string();
        let place = format!(
            "in/a line 2: the record that starts at byte {} has",
            before.len()
        );
        assert!(error.contains(&place), "{error}");
    }
}

#[test]
fn the_depth_of_what_no_column_reads_does_not_matter() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let content = format!(
        "{{\"id\":1,\"other\":{}}}\n{{\"id\":2,\"word\":{}}}\n{{\"id\":3,\"word\":{}}}\n",
        nested(300_000),
        nested(1_000),
        nested(1_001)
    );
    let (rows, error, _) = read(&words("json"), &content);
    assert_eq!(ids(&rows), [1, 2]);
    assert_eq!(strings(&rows, 1)[1].as_deref(), Some(&*nested(1_000)));
    let error = error.unwrap().to_string();
    assert!(
        error.contains("line 3: field 'word': objects and arrays nested more than 1000"),
        "{error}"
    );
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

/// What one decoder reports for some JSON lines: values that did not fit, and warnings.
fn told(table: &TableRef, content: &str) -> (u64, Vec<String>) {
    use crate::format::{Decoder, Format, Mark};
    let options = crate::options::Options::new(table);
    let format = Format::parse(options, crate::TableUse::Source).unwrap();
    let mut decoder = Decoder::new(&format, table, Mark::default()).unwrap();
    decoder.decode(content.as_bytes(), true).unwrap();
    let decoded = decoder.take().unwrap();
    (decoded.misfits, decoded.warnings)
}

#[test]
fn values_that_do_not_fit_their_column_are_counted() {
    let path = [("path", "s3://b/in"), ("format", "json")];
    let decimal = DataType::Decimal {
        precision: 4,
        scale: 2,
    };
    let columns = [("n", DataType::Int), ("d", decimal)];
    let table = table("filesystem", &columns, &path);
    for (line, misfits) in [
        ("{\"n\":1,\"d\":1.005}", 0),
        ("{\"n\":1.0,\"d\":99.99}", 0),
        ("{\"n\":1.9,\"d\":1}", 1),
        ("{\"n\":1.9,\"d\":100}", 2),
        ("{\"n\":1.9,\"n\":1}", 0),
        ("{\"n\":1.9}\n{\"n\":2.5}", 2),
    ] {
        assert_eq!(told(&table, line).0, misfits, "{line}");
    }
    let lenient = with(table, "json.ignore-parse-errors", "true");
    assert_eq!(told(&lenient, "{\"n\":\"x\"}").0, 1);
    // A row that is skipped has no values.
    assert_eq!(told(&lenient, "{\"n\":1.9,\"d\":").0, 0);
}

#[test]
fn a_column_whose_name_differs_in_letter_case_is_warned_of_once() {
    let path = [("path", "s3://b/in"), ("format", "json")];
    let columns = [("userid", DataType::Int), ("n", DataType::Int)];
    let table = table("filesystem", &columns, &path);
    let (_, warnings) = told(
        &table,
        "{\"userId\":1,\"n\":1}\n{\"userId\":2}\n{\"USERID\":3}\n",
    );
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("'userid'") && warnings[0].contains("'userId'"),
        "{warnings:?}"
    );
    for quiet in [
        "{\"userid\":1,\"userId\":2}\n",
        "{\"userId\":1,\"userid\":2}\n",
        "{\"userid\":1}\n{\"userId\":2}\n",
        "{\"user\":1}\n",
    ] {
        assert_eq!(told(&table, quiet).1, [""; 0], "{quiet}");
    }
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
