use streamkeeper_protocol::types::DataType::{
    BigInt, Boolean, Bytes, Date, Double, Float, Int, SmallInt, Time, TinyInt,
};

use super::*;

const STRING: DataType = DataType::STRING;
const CHAR5: DataType = DataType::Char { length: 5 };
const VARCHAR3: DataType = DataType::Varchar { length: Some(3) };

#[test]
fn texts_become_numbers_as_in_flink() {
    check(vec![
        (cast(text("123"), Int), "123"),
        (cast(text("  -5 "), Int), "-5"),
        (cast(text("+7"), TinyInt), "7"),
        (cast(text("1.234"), Int), "1"),
        (cast(text("-1.999"), BigInt), "-1"),
        (
            cast(text("-9223372036854775808"), BigInt),
            "-9223372036854775808",
        ),
        (cast(text(" 1.5e3 "), Double), "1500.0"),
        (cast(text("-3276913443134"), Float), "-3276913500000.0"),
        (cast(text("NaN"), Double), "NaN"),
        (cast(text("1.5f"), Double), "1.5"),
        (cast(text("1.2"), dec_type(5, 3)), "1.200"),
        (cast(text(" 1.2345 "), dec_type(5, 3)), "1.235"),
        (cast(text("FalsE"), Boolean), "false"),
        (cast(text("y"), Boolean), "true"),
        (cast(null(STRING), Int), NULL),
        (cast(null(DataType::Null), Int), NULL),
    ]);
}

#[test]
fn a_text_that_does_not_parse_fails_cast_and_is_null_in_try_cast() {
    let bad = || {
        vec![
            (text("foo"), Int, "'foo' to INT"),
            (text(""), Int, "'' to INT"),
            (text("1 2"), Int, "whole number"),
            (text("-130"), TinyInt, "out of range"),
            (text("-32769"), SmallInt, "out of range"),
            (text("9223372036854775808"), BigInt, "out of range"),
            (text("inf"), Double, "not a number"),
            (text("1e"), Double, "not a number"),
            (text("Apache"), dec_type(5, 3), "'Apache' to DECIMAL(5, 3)"),
            (text("12345.6789"), dec_type(8, 4), "too many digits"),
            (text(" true"), Boolean, "neither true nor false"),
            (text("2021/09/27"), Date, "yyyy-MM-dd"),
            (text("2021-02-30"), Date, "yyyy-MM-dd"),
            (text("123"), TIMESTAMP3, "yyyy-MM-dd HH:mm:ss"),
            (text("Flink"), Time, "HH:mm:ss"),
        ]
    };
    check_fails(
        bad()
            .into_iter()
            .map(|(input, to, part)| (cast(input, to), part))
            .collect(),
    );
    check(
        bad()
            .into_iter()
            .map(|(input, to, _)| (try_cast(input, to), NULL))
            .collect(),
    );
}

#[test]
fn numbers_narrow_as_in_java() {
    check(vec![
        (cast(int(12_345), TinyInt), "57"),
        (cast(long(9_234_567_891), Int), "644633299"),
        (cast(double(9_234_567_891.123), Int), "2147483647"),
        (cast(double(123_456.789), SmallInt), "-7616"),
        (cast(double(-1.9), Int), "-1"),
        (cast(double(f64::NAN), BigInt), "0"),
        (cast(double(-1.797_693_134_862_315_7E308), Float), "-inf"),
        (cast(dec("9.87", 4, 3), Int), "9"),
        (cast(dec("9123.87", 10, 3), TinyInt), "-93"),
        (cast(dec("3276913443134.87", 20, 3), Int), "-146603714"),
        (cast(dec("9.87", 4, 3), Double), "9.87"),
        (cast(boolean(true), Int), "1"),
        (cast(boolean(false), dec_type(5, 3)), "0.000"),
        (cast(int(-3), Boolean), "true"),
        (cast(int(42), Double), "42.0"),
    ]);
}

#[test]
fn decimals_round_or_become_null() {
    check(vec![
        (cast(int(42), dec_type(5, 3)), "42.000"),
        (cast(int(12_345), dec_type(8, 4)), NULL),
        (cast(double(3.123_456), dec_type(8, 4)), "3.1235"),
        (cast(float(-12.345), dec_type(5, 3)), "-12.345"),
        // The float's own value, as Flink 2.3 prints it.
        (cast(float(1.1), dec_type(20, 10)), "1.1000000238"),
        (cast(float(-0.5), dec_type(20, 10)), "-0.5000000000"),
        (cast(float(12_345.678), dec_type(8, 4)), NULL),
        (cast(dec("12.34561234", 10, 8), dec_type(8, 4)), "12.3456"),
        (cast(dec("99.99", 4, 2), dec_type(3, 1)), NULL),
        (cast(dec("9.95", 4, 2), dec_type(3, 1)), "10.0"),
        (cast(double(f64::MAX), dec_type(38, 32)), NULL),
    ]);
}

#[test]
fn everything_prints_as_in_flink() {
    let micros = |value: &str| {
        literal(
            Literal::TimestampMicros(datetime_text::parse_timestamp(value).unwrap().to_micros()),
            DataType::Timestamp { precision: 6 },
        )
    };
    check(vec![
        (cast(boolean(true), STRING), "TRUE"),
        (cast(int(-12), STRING), "-12"),
        (cast(double(1.0), STRING), "1.0"),
        (cast(double(1.0E10), STRING), "1.0E10"),
        (cast(float(123.456), STRING), "123.456"),
        (cast(dec("9.87", 4, 3), STRING), "9.870"),
        (cast(dec("-0.5", 4, 3), STRING), "-0.500"),
        (cast(date("2021-09-24"), STRING), "2021-09-24"),
        (
            cast(literal(Literal::Time(45_296_000), Time), STRING),
            "12:34:56",
        ),
        (
            cast(stamp("2021-09-24 12:34:56.1"), STRING),
            "2021-09-24 12:34:56.100",
        ),
        (
            cast(micros("2021-09-24 12:34:56.1234"), STRING),
            "2021-09-24 12:34:56.123400",
        ),
        (
            cast(
                literal(
                    Literal::TimestampMicros(0),
                    DataType::Timestamp { precision: 0 },
                ),
                STRING,
            ),
            "1970-01-01 00:00:00",
        ),
        (
            cast(literal(Literal::TimestampMicros(-1000), TIMESTAMP3), STRING),
            "1969-12-31 23:59:59.999",
        ),
        (
            cast(
                literal(Literal::IntervalMonths(123), DataType::IntervalYearMonth),
                STRING,
            ),
            "+10-03",
        ),
        (
            cast(
                literal(
                    Literal::IntervalMillis(123_456_789),
                    DataType::IntervalDayTime,
                ),
                STRING,
            ),
            "+1 10:17:36.789",
        ),
        (
            cast(literal(Literal::Bytes(b"abc".to_vec()), Bytes), STRING),
            "abc",
        ),
        (cast(date("2021-09-24"), VARCHAR3), "202"),
        (cast(text("abcdef"), VARCHAR3), "abc"),
        (cast(text("größer"), VARCHAR3), "grö"),
        (cast(text("foo"), CHAR5), "foo  "),
        (cast(int(7), CHAR5), "7    "),
        (cast(boolean(false), VARCHAR3), "FAL"),
    ]);
}

#[test]
fn dates_times_and_timestamps_are_cast_to_each_other() {
    check(vec![
        (cast(text("2021-09-27"), TIMESTAMP3), "2021-09-27T00:00:00"),
        (
            cast(text("2021-09-27 12:34:56.123456789"), TIMESTAMP3),
            "2021-09-27T12:34:56.123",
        ),
        (
            cast(
                text("2021-09-27T12:34:56.5"),
                DataType::Timestamp { precision: 6 },
            ),
            "2021-09-27T12:34:56.500",
        ),
        (
            cast(
                text("2021-09-27 12:34:56.9"),
                DataType::Timestamp { precision: 0 },
            ),
            "2021-09-27T12:34:56",
        ),
        (
            cast(text("2021-09-27 12:34:56.123456789"), Date),
            "2021-09-27",
        ),
        (cast(text("12:34:56.789"), Time), "12:34:56"),
        (cast(date("2021-09-24"), TIMESTAMP3), "2021-09-24T00:00:00"),
        (cast(stamp("1969-12-31 23:59:59.999"), Date), "1969-12-31"),
        (cast(stamp("2021-09-24 12:34:56.789"), Time), "12:34:56"),
        (
            cast(
                literal(
                    Literal::TimestampMicros(1_234_567),
                    DataType::Timestamp { precision: 6 },
                ),
                TIMESTAMP3,
            ),
            "1970-01-01T00:00:01.234",
        ),
        (
            cast(stamp("2021-09-24 12:34:56.789"), LTZ3),
            "2021-09-24T12:34:56.789Z",
        ),
    ]);
}

#[test]
fn instants_are_read_and_printed_on_the_local_clock() {
    let zone = Zone::parse("+02:00").unwrap();
    let instant = literal(Literal::TimestampMicros(0), LTZ3);
    for (expr, expected) in [
        (cast(instant.clone(), STRING), "1970-01-01 02:00:00.000"),
        (cast(instant.clone(), TIMESTAMP3), "1970-01-01T02:00:00"),
        (
            cast(stamp("1970-01-01 02:00:00"), LTZ3),
            "1970-01-01T00:00:00Z",
        ),
        (
            cast(text("1970-01-01 02:00:00"), LTZ3),
            "1970-01-01T00:00:00Z",
        ),
        (
            cast(
                literal(Literal::TimestampMicros(-3_600_000_000), LTZ3),
                Date,
            ),
            "1970-01-01",
        ),
        (
            call(
                Function::DateFormat,
                &[instant.clone(), text("HH:mm")],
                STRING,
            ),
            "02:00",
        ),
        (
            call(
                Function::Extract(streamkeeper_protocol::expr::TimeUnit::Hour),
                std::slice::from_ref(&instant),
                BigInt,
            ),
            "2",
        ),
        (
            call(
                Function::FloorTo(streamkeeper_protocol::expr::TimeUnit::Day),
                &[instant],
                LTZ3,
            ),
            "1969-12-31T22:00:00Z",
        ),
    ] {
        for answer in answers_in(&expr, zone) {
            assert_eq!(answer.as_deref(), Ok(expected), "{expr:?}");
        }
    }
}

#[test]
fn casts_that_flink_lacks_are_refused_when_compiled() {
    check_fails(vec![
        (
            cast(int(1), TIMESTAMP3),
            "INT to TIMESTAMP(3) is not supported",
        ),
        (
            cast(double(1.0), Boolean),
            "DOUBLE to BOOLEAN is not supported",
        ),
        (
            cast(date("2021-09-24"), Int),
            "DATE to INT is not supported",
        ),
        (
            cast(boolean(true), Date),
            "BOOLEAN to DATE is not supported",
        ),
    ]);
}
