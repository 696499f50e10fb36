//! Damaged input: an error with its position, never a panic, and equal in whatever pieces the bytes
//! arrive.

use bytes::Bytes;
use proptest::prelude::*;
use streamkeeper_protocol::{
    plan::TableRef,
    types::{DataType, Field, LogicalType},
};

use super::{
    super::{
        object_decoder::{DecodeError, ObjectDecoder, Step},
        options::FileOptions,
    },
    gzip,
};
use crate::{
    TableUse,
    format::{Decoded, Mark},
    options::Options,
    testing::{table, with},
};

/// Parts that records are made of, whole and broken.
const PARTS: &[&[u8]] = &[
    b"{",
    b"}",
    b"\"",
    b"\\",
    b"\\\"",
    b"\\u00",
    b"\\ud800",
    b":",
    b",",
    b"[",
    b"]",
    b"\n",
    b"\r\n",
    b" ",
    b"null",
    b"true",
    b"-",
    b"0",
    b"9223372036854775808",
    b"1e999",
    b".5",
    b"2013-02-29",
    b"24:00:00",
    b"2013-01-01 05:00:00.5",
    b"Z",
    b"AA==",
    b"#",
    b"'",
    b"\xc3",
    b"\xc3\xa4",
    b"\xff",
    b"\0",
    b"\xef\xbb\xbf",
    b"{\"int\":1,\"text\":\"x\"}\n",
    b"1,x,2013-01-01,05:00:00,2013-01-01 05:00:00,1.5,true,AA==,2\n",
];

const COLUMNS: [(&str, DataType); 9] = [
    ("int", DataType::Int),
    ("text", DataType::STRING),
    ("date", DataType::Date),
    ("time", DataType::Time),
    ("ts", DataType::Timestamp { precision: 3 }),
    (
        "decimal",
        DataType::Decimal {
            precision: 10,
            scale: 2,
        },
    ),
    ("boolean", DataType::Boolean),
    ("bytes", DataType::Bytes),
    ("double", DataType::Double),
];

fn tables() -> Vec<TableRef> {
    let of = |format: &str, options: &[(&str, &str)]| {
        let base = [("path", "s3://bucket/in"), ("format", format)];
        let table = table("filesystem", &COLUMNS, &base);
        options
            .iter()
            .fold(table, |table, (option, value)| with(table, option, value))
    };
    let mut not_null = of("json", &[]);
    not_null.schema.fields[0] = Field::new("int", LogicalType::not_null(DataType::Int));
    let raw = [("path", "s3://bucket/in"), ("format", "raw")];
    vec![
        of("json", &[]),
        of("json", &[("json.ignore-parse-errors", "true")]),
        of("json", &[("json.fail-on-missing-field", "true")]),
        not_null,
        of("csv", &[]),
        of(
            "csv",
            &[
                ("csv.ignore-parse-errors", "true"),
                ("csv.allow-comments", "true"),
                ("csv.escape-character", "\\\\"),
                ("csv.quote-character", "'"),
                ("csv.null-literal", "null"),
            ],
        ),
        of("csv", &[("csv.disable-quote-character", "true")]),
        table("filesystem", &COLUMNS[1..2], &raw),
    ]
}

/// Every row with the place after it, what was skipped, and the error at the end.
type Outcome = (Vec<(String, Mark)>, u64, Option<String>);

fn read(table: &TableRef, chunks: &[&[u8]], compressed: bool) -> Outcome {
    let options = FileOptions::parse(Options::new(table), TableUse::Source).unwrap();
    let mut stream =
        ObjectDecoder::new(&options.format, table, Mark::default(), compressed).unwrap();
    let (mut rows, mut skipped) = (Vec::new(), 0);
    let mut keep = |decoded: Decoded| {
        assert_eq!(decoded.rows.num_rows(), decoded.marks.len());
        skipped += decoded.skipped;
        for (row, mark) in decoded.marks.iter().enumerate() {
            rows.push((format!("{:?}", decoded.rows.slice(row, 1)), *mark));
        }
    };
    let mut error = None;
    'all: for (number, chunk) in chunks.iter().enumerate() {
        stream.push(Bytes::copy_from_slice(chunk), number + 1 == chunks.len());
        loop {
            match stream.step() {
                Ok(Step::Rows(decoded)) => keep(decoded),
                Ok(Step::More) => break,
                Err(DecodeError::Record(bad)) => {
                    error = Some(format!("{}: {}", bad.line, bad.detail));
                    break 'all;
                }
                Err(DecodeError::Compression(_)) => {
                    error = Some("compression".to_owned());
                    break 'all;
                }
            }
        }
    }
    keep(stream.rest().unwrap());
    (rows, skipped, error)
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(PARTS), 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn damaged_records_are_equal_errors_for_every_cut_of_the_input(
        content in content(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(content.len() + 1)).collect();
        cuts.extend([0, content.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &content[cut[0]..cut[1]]).collect();
        for table in tables() {
            let whole = read(&table, &[&content], false);
            prop_assert_eq!(&read(&table, &chunks, false), &whole, "{:?}", table.options);
            prop_assert_eq!(&read(&table, &[&gzip(&content)], true), &whole, "{:?}", table.options);
        }
    }

    #[test]
    fn a_damaged_gzip_stream_gives_an_error_or_fewer_rows_and_never_a_panic(
        content in content(),
        at in any::<prop::sample::Index>(),
        damage in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut compressed = gzip(&content);
        let at = at.index(compressed.len());
        if cut {
            compressed.truncate(at);
        } else {
            compressed[at] ^= damage;
        }
        for table in tables() {
            let _ = read(&table, &[&compressed], true);
        }
    }
}
