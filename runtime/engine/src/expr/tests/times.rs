use streamkeeper_protocol::{
    expr::{Function as F, TimeUnit as U},
    types::DataType::{BigInt, Date, IntervalDayTime, IntervalYearMonth, Time},
};

use super::*;

fn millis(value: i64) -> Expr {
    literal(Literal::IntervalMillis(value), IntervalDayTime)
}

fn months(value: i32) -> Expr {
    literal(Literal::IntervalMonths(value), IntervalYearMonth)
}

#[test]
fn times_move_by_intervals() {
    let micros = DataType::Timestamp { precision: 6 };
    check(vec![
        (
            call(
                F::Subtract,
                &[stamp("2024-01-01 00:00:03"), millis(5000)],
                TIMESTAMP3,
            ),
            "2023-12-31T23:59:58",
        ),
        (
            call(F::Add, &[millis(1500), stamp("2024-01-01")], TIMESTAMP3),
            "2024-01-01T00:00:01.500",
        ),
        (
            call(
                F::Add,
                &[stamp("2024-01-31 10:00:00"), months(1)],
                TIMESTAMP3,
            ),
            "2024-02-29T10:00:00",
        ),
        (
            call(
                F::Subtract,
                &[stamp("2024-03-31 10:00:00"), months(13)],
                TIMESTAMP3,
            ),
            "2023-02-28T10:00:00",
        ),
        (
            call(
                F::Add,
                &[
                    literal(Literal::TimestampMicros(1), micros.clone()),
                    millis(1),
                ],
                micros,
            ),
            "1970-01-01T00:00:00.001001",
        ),
        (
            call(F::Add, &[date("2024-02-28"), millis(2 * 86_400_000)], Date),
            "2024-03-01",
        ),
        (
            call(F::Add, &[date("2024-02-29"), months(12)], Date),
            "2025-02-28",
        ),
        (
            call(
                F::Add,
                &[literal(Literal::Time(86_399_000), Time), millis(2000)],
                Time,
            ),
            "00:00:01",
        ),
        (
            call(
                F::Subtract,
                &[stamp("2024-01-02"), stamp("2024-01-01")],
                IntervalDayTime,
            ),
            "86400000",
        ),
        (call(F::Add, &[millis(1), millis(2)], IntervalDayTime), "3"),
        (
            call(
                F::Add,
                &[stamp("2024-01-02"), null(IntervalDayTime)],
                TIMESTAMP3,
            ),
            NULL,
        ),
    ]);
}

#[test]
fn fields_are_extracted_as_bigint() {
    let at = || stamp("2021-09-05 12:34:56.789");
    let of = |unit, time: Expr| call(F::Extract(unit), &[time], BigInt);
    check(vec![
        (of(U::Year, at()), "2021"),
        (of(U::Quarter, at()), "3"),
        (of(U::Month, at()), "9"),
        (of(U::Week, at()), "35"),
        (of(U::Day, at()), "5"),
        (of(U::DayOfWeek, at()), "1"),
        (of(U::DayOfYear, at()), "248"),
        (of(U::Hour, at()), "12"),
        (of(U::Minute, at()), "34"),
        (of(U::Second, at()), "56"),
        (of(U::Millisecond, at()), "789"),
        (of(U::Epoch, at()), "1630845296"),
        (of(U::Month, date("2021-12-31")), "12"),
        (of(U::Epoch, date("1970-01-02")), "86400"),
        (of(U::Hour, literal(Literal::Time(45_296_000), Time)), "12"),
        (of(U::Hour, null(TIMESTAMP3)), NULL),
        (call(F::EpochMillis, &[at()], BigInt), "1630845296789"),
    ]);
}

#[test]
fn times_round_to_units() {
    let floor = |unit, time: &str| call(F::FloorTo(unit), &[stamp(time)], TIMESTAMP3);
    let ceil = |unit, time: &str| call(F::CeilTo(unit), &[stamp(time)], TIMESTAMP3);
    check(vec![
        (
            floor(U::Second, "2021-09-05 12:34:56.789"),
            "2021-09-05T12:34:56",
        ),
        (
            floor(U::Minute, "2021-09-05 12:34:56.789"),
            "2021-09-05T12:34:00",
        ),
        (
            floor(U::Hour, "2021-09-05 12:34:56.789"),
            "2021-09-05T12:00:00",
        ),
        (
            floor(U::Day, "2021-09-05 12:34:56.789"),
            "2021-09-05T00:00:00",
        ),
        (
            floor(U::Week, "2021-09-08 12:34:56.789"),
            "2021-09-05T00:00:00",
        ),
        (
            floor(U::Month, "2021-09-05 12:34:56.789"),
            "2021-09-01T00:00:00",
        ),
        (
            floor(U::Quarter, "2021-09-05 12:34:56.789"),
            "2021-07-01T00:00:00",
        ),
        (
            floor(U::Year, "2021-09-05 12:34:56.789"),
            "2021-01-01T00:00:00",
        ),
        (floor(U::Hour, "1969-12-31 23:30:00"), "1969-12-31T23:00:00"),
        (
            ceil(U::Hour, "2021-09-05 12:34:56.789"),
            "2021-09-05T13:00:00",
        ),
        (ceil(U::Hour, "2021-09-05 12:00:00"), "2021-09-05T12:00:00"),
        (
            ceil(U::Day, "2021-09-05 12:34:56.789"),
            "2021-09-06T00:00:00",
        ),
        (ceil(U::Week, "2021-09-08"), "2021-09-12T00:00:00"),
        (ceil(U::Month, "2021-09-05"), "2021-10-01T00:00:00"),
        (ceil(U::Year, "2021-09-05"), "2022-01-01T00:00:00"),
        (
            call(F::FloorTo(U::Month), &[date("2021-09-05")], Date),
            "2021-09-01",
        ),
    ]);
}

#[test]
fn patterns_are_those_of_java() {
    let string = DataType::STRING;
    let format = |pattern: &str| {
        call(
            F::DateFormat,
            &[stamp("2021-09-05 02:04:06.078"), text(pattern)],
            DataType::STRING,
        )
    };
    let parse = |args: &[&str]| {
        call(
            F::ToTimestamp,
            &args.iter().map(|arg| text(arg)).collect::<Vec<_>>(),
            TIMESTAMP3,
        )
    };
    check(vec![
        (format("yyyy-MM-dd HH:mm"), "2021-09-05 02:04"),
        (format("yyyyMMdd'T'HHmmss.SSS"), "20210905T020406.078"),
        (format("d.M.yy H:m:s"), "5.9.21 2:4:6"),
        (
            call(F::DateFormat, &[null(TIMESTAMP3), text("yyyy")], string),
            NULL,
        ),
        (parse(&["2021-09-05 12:34:56"]), "2021-09-05T12:34:56"),
        (parse(&["2021-09-05"]), "2021-09-05T00:00:00"),
        (parse(&["no"]), NULL),
        (
            parse(&["05/09/2021 12.34", "dd/MM/yyyy HH.mm"]),
            "2021-09-05T12:34:00",
        ),
        (
            parse(&["1999-9-10 05:20:10", "yyyy-MM-dd HH:mm:ss"]),
            "1999-09-10T05:20:10",
        ),
        (parse(&["05-09", "dd/MM"]), NULL),
        (call(F::ToDate, &[text("2021-09-05")], Date), "2021-09-05"),
        (
            call(F::ToDate, &[text("20210905"), text("yyyyMMdd")], Date),
            "2021-09-05",
        ),
        (call(F::ToDate, &[text("x")], Date), NULL),
        (
            call(F::ToTimestampLtz, &[long(1_630_845_296), int(0)], LTZ3),
            "2021-09-05T12:34:56Z",
        ),
        (
            call(F::ToTimestampLtz, &[long(1_630_845_296_789), int(3)], LTZ3),
            "2021-09-05T12:34:56.789Z",
        ),
        (
            call(F::ToTimestampLtz, &[long(i64::MAX), int(0)], LTZ3),
            NULL,
        ),
        (
            call(F::ToTimestampLtz, &[double(1.5), int(0)], LTZ3),
            "1970-01-01T00:00:01.500Z",
        ),
    ]);
    check_fails(vec![
        (
            format("EEE"),
            "DATE_FORMAT: pattern 'EEE': 'EEE' is not supported",
        ),
        (
            call(F::ToTimestampLtz, &[long(1), int(6)], LTZ3),
            "TO_TIMESTAMP_LTZ: the precision must be",
        ),
    ]);
}

#[test]
fn no_time_is_so_far_away_that_a_function_panics() {
    let extremes = [
        i64::MIN,
        i64::MIN + 1,
        -1,
        0,
        1,
        253_402_300_800_000,
        i64::MAX - 1,
        i64::MAX,
    ];
    let units = [
        U::Year,
        U::Quarter,
        U::Month,
        U::Week,
        U::Day,
        U::DayOfWeek,
        U::DayOfYear,
        U::Hour,
        U::Minute,
        U::Second,
        U::Millisecond,
        U::Epoch,
    ];
    let types = [0, 3, 6].map(|precision| DataType::Timestamp { precision });
    let zoned = [0, 3, 6].map(|precision| DataType::TimestampLtz { precision });
    let types: Vec<DataType> = types.into_iter().chain(zoned).collect();
    let mut ran = 0;
    for ty in &types {
        let column = super::super::int64::from_i64(
            longs(&extremes.map(Some)),
            &streamkeeper_connectors::batch::arrow_type(ty),
        );
        let input = batch(vec![column.unwrap()]);
        let time = Expr {
            kind: ExprKind::Column(0),
            ty: LogicalType::nullable(ty.clone()),
        };
        let mut all: Vec<Expr> = Vec::new();
        for unit in units {
            all.push(call(F::Extract(unit), std::slice::from_ref(&time), BigInt));
            all.push(call(
                F::FloorTo(unit),
                std::slice::from_ref(&time),
                ty.clone(),
            ));
            all.push(call(
                F::CeilTo(unit),
                std::slice::from_ref(&time),
                ty.clone(),
            ));
        }
        for interval in [
            millis(i64::MIN),
            millis(i64::MAX),
            months(i32::MIN),
            months(i32::MAX),
        ] {
            all.push(call(F::Add, &[time.clone(), interval.clone()], ty.clone()));
            all.push(call(F::Subtract, &[time.clone(), interval], ty.clone()));
        }
        all.push(call(
            F::Subtract,
            &[time.clone(), time.clone()],
            IntervalDayTime,
        ));
        all.push(call(
            F::DateFormat,
            &[time.clone(), text("yyyy-MM-dd HH:mm:ss.SSS")],
            DataType::STRING,
        ));
        let targets = types.iter().chain([&Date, &Time, &DataType::STRING]);
        all.extend(targets.map(|target| cast(time.clone(), target.clone())));
        for expr in all {
            for zone in [Zone::UTC, Zone::parse("UTC+14:00").unwrap()] {
                if let Ok(compiled) = CompiledExpr::in_zone(&expr, zone) {
                    ran += 1;
                    // An error would do; a panic would take the worker down.
                    let _ = compiled.evaluate(&input);
                }
            }
        }
    }
    assert!(ran > 500, "{ran}");
}
