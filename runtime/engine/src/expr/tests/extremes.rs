//! No value that a record may hold makes a function panic: it returns a value, returns NULL, or
//! fails with a message.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::{
    BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, StringArray,
    UInt32Array,
};
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::expr::{Function as F, TimeUnit};

use super::*;

/// Values of each type: the first and the last there are, those around zero, NULL.
fn pool() -> Vec<(DataType, ArrayRef)> {
    let whole = |data: DataType, values: &[i64]| {
        let values = longs(
            &values
                .iter()
                .copied()
                .map(Some)
                .chain([None])
                .collect::<Vec<_>>(),
        );
        let array = super::super::int64::from_i64(values, &arrow_type(&data)).unwrap();
        (data, array)
    };
    let around = |least: i64, most: i64| vec![least, least + 1, -1, 0, 1, 7, most - 1, most];
    let decimal = |precision: u8, scale: u8| {
        let most = 10_i128.pow(u32::from(precision)) - 1;
        let digits = [-most, 1 - most, -1, 0, 1, 5, most - 1, most];
        let array: Decimal128Array = digits.into_iter().map(Some).chain([None]).collect();
        let data = dec_type(precision, scale);
        let array = array.with_data_type(arrow_type(&data));
        (data, Arc::new(array) as ArrayRef)
    };
    let doubles = [
        f64::MIN,
        -1.5,
        -0.0,
        0.0,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::INFINITY,
        f64::NAN,
    ];
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is too large is infinite"
    )]
    let floats = doubles
        .map(|value| Some(value as f32))
        .into_iter()
        .chain([None]);
    let doubles = doubles.into_iter().map(Some).chain([None]);
    let booleans = (0..9).map(|row| (row < 8).then_some(row % 2 == 0));
    let texts = [
        "",
        "ä\u{10FFFF}b",
        "-99999999999999999999999999999999999999999",
        "1e400",
        "9999-12-31 23:59:59.999999999",
        "0000-00-00",
        "%_\\",
        "24:61:00",
    ];
    let texts = || texts.into_iter().map(Some).chain([None]);
    let time = 86_400_000;
    let mut pool = vec![
        whole(DataType::TinyInt, &around(i8::MIN.into(), i8::MAX.into())),
        whole(
            DataType::SmallInt,
            &around(i16::MIN.into(), i16::MAX.into()),
        ),
        whole(DataType::Int, &around(i32::MIN.into(), i32::MAX.into())),
        whole(DataType::BigInt, &around(i64::MIN, i64::MAX)),
        whole(DataType::Date, &around(i32::MIN.into(), i32::MAX.into())),
        whole(DataType::Time, &[0, 1, 2, 3, 4, 5, time - 2, time - 1]),
        whole(DataType::IntervalDayTime, &around(i64::MIN, i64::MAX)),
        whole(
            DataType::IntervalYearMonth,
            &around(i32::MIN.into(), i32::MAX.into()),
        ),
        decimal(38, 0),
        decimal(38, 18),
        decimal(38, 38),
        decimal(10, 2),
        (
            DataType::Double,
            Arc::new(doubles.collect::<Float64Array>()),
        ),
        (DataType::Float, Arc::new(floats.collect::<Float32Array>())),
        (DataType::STRING, Arc::new(texts().collect::<StringArray>())),
        (
            DataType::Bytes,
            Arc::new(
                texts()
                    .map(|text| text.map(str::as_bytes))
                    .collect::<BinaryArray>(),
            ),
        ),
        (
            DataType::Boolean,
            Arc::new(booleans.collect::<BooleanArray>()),
        ),
    ];
    for precision in [0, 3, 6] {
        for data in [
            DataType::Timestamp { precision },
            DataType::TimestampLtz { precision },
        ] {
            pool.push(whole(data, &around(i64::MIN, i64::MAX)));
        }
    }
    pool
}

/// All combinations of the values of these columns.
fn crossed(columns: &[&ArrayRef]) -> RecordBatch {
    let rows: usize = columns.iter().map(Array::len).product();
    let mut stride = 1;
    let crossed = columns.iter().map(|column| {
        let picks: UInt32Array = (0..rows)
            .map(|row| u32::try_from(row / stride % column.len()).ok())
            .collect();
        stride *= column.len();
        arrow_select::take::take(column, &picks, None).unwrap()
    });
    batch(crossed.collect())
}

fn column(index: usize, data: &DataType) -> Expr {
    Expr {
        kind: ExprKind::Column(index),
        ty: LogicalType::nullable(data.clone()),
    }
}

/// Runs all expressions over a batch; returns how many compile, and those that panic.
fn run(exprs: impl IntoIterator<Item = Expr>, input: &RecordBatch) -> (usize, Vec<String>) {
    let (mut ran, mut panics) = (0, Vec::new());
    for expr in exprs {
        for zone in [Zone::UTC, Zone::parse("+14:00").unwrap()] {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let compiled = CompiledExpr::in_zone(&expr, zone).ok()?;
                if let Ok(array) = compiled.evaluate(input) {
                    assert_eq!(array.len(), input.num_rows());
                }
                Some(())
            }));
            match outcome {
                Ok(None) => {}
                Ok(Some(())) => ran += 1,
                Err(_) => panics.push(format!("{expr:?}")),
            }
        }
    }
    (ran, panics)
}

fn no_panics(runs: impl IntoIterator<Item = (usize, Vec<String>)>, least: usize) {
    let (mut ran, mut panics) = (0, Vec::new());
    for (more, texts) in runs {
        ran += more;
        panics.extend(texts);
    }
    assert!(
        panics.is_empty(),
        "{} panic, like {}",
        panics.len(),
        panics[0]
    );
    assert!(ran >= least, "only {ran} expressions ran");
}

#[test]
fn no_value_makes_a_function_of_one_argument_panic() {
    let pool = pool();
    let mut functions = vec![
        F::Negate,
        F::Not,
        F::IsNull,
        F::IsNotNull,
        F::IsTrue,
        F::IsFalse,
        F::Abs,
        F::Ceil,
        F::Floor,
        F::Round,
        F::Sqrt,
        F::Exp,
        F::Ln,
        F::Sign,
        F::CharLength,
        F::Upper,
        F::Lower,
        F::Trim,
        F::TrimLeading,
        F::TrimTrailing,
        F::ToTimestamp,
        F::ToDate,
        F::ToTimestampLtz,
        F::EpochMillis,
    ];
    for unit in [
        TimeUnit::Year,
        TimeUnit::Week,
        TimeUnit::DayOfWeek,
        TimeUnit::Hour,
        TimeUnit::Epoch,
    ] {
        functions.extend([F::Extract(unit), F::FloorTo(unit), F::CeilTo(unit)]);
    }
    let runs = pool.iter().map(|(data, values)| {
        let arg = [column(0, data)];
        let results = || pool.iter().map(|(result, _)| result);
        let calls = functions
            .iter()
            .flat_map(|function| results().map(|ty| call(*function, &arg, ty.clone())));
        let casts = results().flat_map(|ty| {
            [
                cast(arg[0].clone(), ty.clone()),
                try_cast(arg[0].clone(), ty.clone()),
            ]
        });
        let exprs: Vec<Expr> = calls.chain(casts).collect();
        run(exprs, &crossed(&[values]))
    });
    no_panics(runs, 1_000);
}

#[test]
fn no_values_make_a_function_of_two_arguments_panic() {
    let pool = pool();
    let functions = [
        F::Add,
        F::Subtract,
        F::Multiply,
        F::Divide,
        F::Modulo,
        F::Equal,
        F::NotEqual,
        F::Less,
        F::GreaterOrEqual,
        F::IsNotDistinctFrom,
        F::And,
        F::Or,
        F::InList,
        F::Like,
        F::Coalesce,
        F::Greatest,
        F::Least,
        F::Round,
        F::Power,
        F::Trim,
        F::TrimLeading,
        F::TrimTrailing,
        F::Substring,
        F::Concat,
        F::ConcatWs,
        F::Position,
        F::DateFormat,
        F::ToTimestamp,
        F::ToDate,
    ];
    let pairs = pool
        .iter()
        .flat_map(|left| pool.iter().map(move |right| (left, right)));
    let runs = pairs.map(|((left, a), (right, b))| {
        let args = [column(0, left), column(1, right)];
        let exprs: Vec<Expr> = functions
            .iter()
            .flat_map(|function| {
                pool.iter()
                    .map(|(ty, _)| call(*function, &args, ty.clone()))
            })
            .collect();
        run(exprs, &crossed(&[a, b]))
    });
    no_panics(runs, 1_000);
}

#[test]
fn no_values_make_a_function_of_texts_and_numbers_panic() {
    let pool = pool();
    let of = |wanted: &DataType| pool.iter().find(|(data, _)| data == wanted).unwrap();
    let (text, int) = (of(&DataType::STRING), of(&DataType::Int));
    let cases = [
        (F::Substring, [text, int, int]),
        (F::SplitIndex, [text, text, int]),
        (F::Replace, [text, text, text]),
        (F::Like, [text, text, text]),
        (F::Concat, [text, text, text]),
    ];
    let runs = cases.map(|(function, args)| {
        let exprs = args
            .iter()
            .enumerate()
            .map(|(index, (data, _))| column(index, data))
            .collect::<Vec<_>>();
        let columns: Vec<&ArrayRef> = args.iter().map(|(_, values)| values).collect();
        let results = [DataType::STRING, DataType::Boolean];
        let calls = results.map(|ty| call(function, &exprs, ty));
        run(calls, &crossed(&columns))
    });
    no_panics(runs, 10);
}
