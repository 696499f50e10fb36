use std::{cmp::Ordering, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, NullArray, StringArray,
    Time32MillisecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use proptest::prelude::*;

use super::*;

/// Every type with three values: NULL (where there is one), and two with negative and odd parts.
fn samples() -> Vec<(DataType, ArrayRef, [&'static str; 3])> {
    let decimal = Decimal128Array::from(vec![None, Some(-5), Some(12345)]);
    let decimal = decimal.with_precision_and_scale(10, 2).unwrap();
    vec![
        (
            DataType::Null,
            Arc::new(NullArray::new(3)),
            ["00", "00", "00"],
        ),
        (
            DataType::Boolean,
            Arc::new(BooleanArray::from(vec![None, Some(false), Some(true)])),
            ["00", "0100", "0101"],
        ),
        (
            DataType::TinyInt,
            Arc::new(Int8Array::from(vec![None, Some(-1), Some(1)])),
            ["00", "017f", "0181"],
        ),
        (
            DataType::SmallInt,
            Arc::new(Int16Array::from(vec![None, Some(-2), Some(258)])),
            ["00", "017ffe", "018102"],
        ),
        (
            DataType::Int,
            Arc::new(Int32Array::from(vec![None, Some(-1), Some(7)])),
            ["00", "017fffffff", "0180000007"],
        ),
        (
            DataType::BigInt,
            Arc::new(Int64Array::from(vec![None, Some(i64::MIN), Some(1)])),
            ["00", "010000000000000000", "018000000000000001"],
        ),
        (
            DataType::Float,
            Arc::new(Float32Array::from(vec![None, Some(-1.5), Some(1.5)])),
            ["00", "01403fffff", "01bfc00000"],
        ),
        (
            DataType::Double,
            Arc::new(Float64Array::from(vec![None, Some(-0.0), Some(0.0)])),
            ["00", "017fffffffffffffff", "018000000000000000"],
        ),
        (
            DataType::Decimal {
                precision: 10,
                scale: 2,
            },
            Arc::new(decimal),
            [
                "00",
                "017ffffffffffffffffffffffffffffffb",
                "0180000000000000000000000000003039",
            ],
        ),
        (
            DataType::STRING,
            Arc::new(StringArray::from(vec![None, Some(""), Some("a\0é")])),
            ["00", "010000", "016100ffc3a90000"],
        ),
        (
            DataType::Bytes,
            Arc::new(BinaryArray::from(vec![
                None,
                Some(&[][..]),
                Some(&[0, 255, 0][..]),
            ])),
            ["00", "010000", "0100ffff00ff0000"],
        ),
        (
            DataType::Date,
            Arc::new(Date32Array::from(vec![None, Some(-1), Some(15000)])),
            ["00", "017fffffff", "0180003a98"],
        ),
        (
            DataType::Time,
            Arc::new(Time32MillisecondArray::from(vec![None, Some(0), Some(1)])),
            ["00", "0180000000", "0180000001"],
        ),
        (
            DataType::Timestamp { precision: 3 },
            Arc::new(TimestampMillisecondArray::from(vec![
                None,
                Some(-1),
                Some(1),
            ])),
            ["00", "017fffffffffffffff", "018000000000000001"],
        ),
        (
            DataType::TimestampLtz { precision: 6 },
            Arc::new(
                TimestampMicrosecondArray::from(vec![None, Some(-1), Some(1)])
                    .with_timezone("+00:00"),
            ),
            ["00", "017fffffffffffffff", "018000000000000001"],
        ),
    ]
}

#[test]
fn the_encoding_is_frozen() {
    for (data, array, expected) in samples() {
        let keys = KeyEncoder::new(std::slice::from_ref(&data))
            .encode(&[array], 3)
            .unwrap();
        let found: Vec<String> = keys.iter().map(hex).collect();
        assert_eq!(found, expected, "{data}");
    }
}

#[test]
fn every_type_survives_a_round_trip() {
    let (types, columns): (Vec<_>, Vec<_>) = samples()
        .into_iter()
        .map(|(data, array, _)| (data, array))
        .unzip();
    let encoder = KeyEncoder::new(&types);
    let keys = encoder.encode(&columns, 3).unwrap();
    let back = encoder.decode(keys.iter()).unwrap();
    for ((data, before), after) in types.iter().zip(&columns).zip(&back) {
        assert_eq!(before.data_type(), after.data_type(), "{data}");
        assert_eq!(before.to_data(), after.to_data(), "{data}");
    }
}

#[test]
fn keys_without_columns_are_empty_and_one_group_takes_all() {
    let encoder = KeyEncoder::new(&[]);
    let keys = encoder.encode(&[], 4).unwrap();
    assert_eq!((keys.len(), keys.bytes(3)), (4, &[][..]));
    assert_eq!(
        keys.key(0).key_group(128),
        streamkeeper_protocol::key_group::key_group(b"", 128)
    );
    assert!(encoder.decode(keys.iter()).unwrap().is_empty());
}

#[test]
fn a_column_of_another_type_is_refused_by_position() {
    let encoder = KeyEncoder::new(&[DataType::Int, DataType::STRING]);
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let error = encoder
        .encode(&[ints.clone(), ints.clone()], 1)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("key column 1") && error.contains("Int32"),
        "{error}"
    );
    let error = encoder
        .encode(std::slice::from_ref(&ints), 1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("1 columns for 2"), "{error}");
    let error = encoder
        .encode(&[ints.clone(), ints], 2)
        .unwrap_err()
        .to_string();
    assert!(error.contains("1 values for 2 rows"), "{error}");
}

#[test]
fn a_damaged_key_is_an_error_and_never_a_panic() {
    let encoder = KeyEncoder::new(&[DataType::STRING, DataType::Int]);
    let whole: ArrayRef = Arc::new(StringArray::from(vec!["ab"]));
    let number: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let keys = encoder.encode(&[whole, number], 1).unwrap();
    let key = keys.bytes(0);
    for length in 0..key.len() {
        assert!(encoder.decode([&key[..length]]).is_err(), "{length} bytes");
    }
    for bad in [
        &[2][..],
        &[1, b'a', 0, 7, 0, 0],
        &[1, 0xc3, 0, 0, 0],
        &[0, 0, 9],
    ] {
        assert!(encoder.decode([bad]).is_err(), "{bad:?}");
    }
}

/// A row of (nullable string, nullable bigint, nullable double).
type Row = (Option<String>, Option<i64>, Option<f64>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let text = prop::option::of(prop::collection::vec(
        prop_oneof![Just('\0'), Just('a'), Just('b'), any::<char>()],
        0..4,
    ));
    let text = text.prop_map(|text| text.map(|chars| chars.into_iter().collect::<String>()));
    let number = prop::option::of(prop_oneof![Just(0), Just(1), any::<i64>()]);
    let double = prop::option::of(any::<f64>().prop_filter("one NaN", |value| !value.is_nan()));
    prop::collection::vec((text, number, double), 1..40)
}

fn compare(a: &Row, b: &Row) -> Ordering {
    let double = match (a.2, b.2) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    a.0.cmp(&b.0).then(a.1.cmp(&b.1)).then(double)
}

proptest! {
    #[test]
    fn keys_sort_as_rows_do_and_come_back(rows in rows()) {
        let encoder = KeyEncoder::new(&[DataType::STRING, DataType::BigInt, DataType::Double]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.0.clone()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
        ];
        let keys = encoder.encode(&columns, rows.len()).unwrap();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                prop_assert_eq!(keys.bytes(i).cmp(keys.bytes(j)), compare(a, b), "{:?} {:?}", a, b);
            }
            prop_assert_eq!(keys.key(i).key_group(97), streamkeeper_protocol::key_group::key_group(keys.bytes(i), 97));
        }
        let back = encoder.decode(keys.iter()).unwrap();
        prop_assert_eq!(&back, &columns);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let encoder = KeyEncoder::new(&[DataType::Boolean, DataType::STRING, DataType::Decimal { precision: 5, scale: 0 }]);
        let _ = encoder.decode([&bytes[..]]);
    }
}
