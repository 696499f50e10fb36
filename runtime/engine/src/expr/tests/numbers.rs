use streamkeeper_protocol::{
    expr::Function as F,
    types::DataType::{BigInt, Double, Float, Int, SmallInt, TinyInt},
};

use super::*;

fn tiny(value: i64) -> Expr {
    literal(Literal::Integer(value), TinyInt)
}

#[test]
fn integers_wrap_around_and_truncate() {
    check(vec![
        (call(F::Add, &[int(i32::MAX), int(1)], Int), "-2147483648"),
        (
            call(F::Subtract, &[long(i64::MIN), long(1)], BigInt),
            "9223372036854775807",
        ),
        (call(F::Multiply, &[tiny(100), tiny(3)], TinyInt), "44"),
        (call(F::Divide, &[int(7), int(2)], Int), "3"),
        (call(F::Divide, &[int(-7), int(2)], Int), "-3"),
        (
            call(F::Divide, &[int(i32::MIN), int(-1)], Int),
            "-2147483648",
        ),
        (call(F::Modulo, &[int(-7), int(3)], Int), "-1"),
        (call(F::Modulo, &[long(7), long(-3)], BigInt), "1"),
        (call(F::Modulo, &[int(i32::MIN), int(-1)], Int), "0"),
        (call(F::Negate, &[int(i32::MIN)], Int), "-2147483648"),
        (call(F::Add, &[null(Int), int(1)], Int), NULL),
        (call(F::Divide, &[null(Int), int(0)], Int), NULL),
        (call(F::Add, &[null(DataType::Null), int(1)], Int), NULL),
        (call(F::Abs, &[int(-5)], Int), "5"),
        (call(F::Sign, &[long(-5)], BigInt), "-1"),
        (
            call(F::Ceil, &[literal(Literal::Integer(3), SmallInt)], SmallInt),
            "3",
        ),
    ]);
}

#[test]
fn a_division_by_zero_names_the_dividend() {
    check_fails(vec![
        (
            call(F::Divide, &[int(7), int(0)], Int),
            "/: division of 7 by zero",
        ),
        (
            call(F::Modulo, &[long(-8), long(0)], BigInt),
            "MOD: division of -8 by zero",
        ),
        (
            call(
                F::Divide,
                &[dec("1.5", 5, 1), dec("0", 5, 1)],
                dec_type(12, 7),
            ),
            "division of 1.5 by zero",
        ),
    ]);
}

#[test]
fn floats_follow_ieee_754() {
    check(vec![
        (call(F::Divide, &[double(1.0), double(0.0)], Double), "inf"),
        (call(F::Divide, &[double(0.0), double(0.0)], Double), "NaN"),
        (
            call(F::Add, &[double(0.1), double(0.2)], Double),
            "0.30000000000000004",
        ),
        (call(F::Modulo, &[double(5.5), double(2.0)], Double), "1.5"),
        (call(F::Multiply, &[float(1.5), float(2.0)], Float), "3.0"),
        (
            call(
                F::Equal,
                &[double(f64::NAN), double(f64::NAN)],
                DataType::Boolean,
            ),
            "false",
        ),
        (
            call(
                F::NotEqual,
                &[double(f64::NAN), double(f64::NAN)],
                DataType::Boolean,
            ),
            "true",
        ),
        (
            call(F::Equal, &[double(0.0), double(-0.0)], DataType::Boolean),
            "true",
        ),
        (
            call(F::Power, &[double(2.0), double(10.0)], Double),
            "1024.0",
        ),
        (call(F::Sqrt, &[double(-1.0)], Double), "NaN"),
        (call(F::Ln, &[double(0.0)], Double), "-inf"),
        (call(F::Exp, &[double(0.0)], Double), "1.0"),
        (call(F::Ceil, &[double(-1.5)], Double), "-1.0"),
        (call(F::Floor, &[double(-1.5)], Double), "-2.0"),
        (call(F::Sign, &[double(-0.5)], Double), "-1.0"),
    ]);
}

#[test]
fn decimals_round_half_up_and_overflow_to_null() {
    check(vec![
        (
            call(
                F::Add,
                &[dec("1.25", 5, 2), dec("0.5", 5, 1)],
                dec_type(6, 2),
            ),
            "1.75",
        ),
        (
            call(
                F::Multiply,
                &[dec("0.908", 4, 3), dec("1000", 19, 0)],
                dec_type(24, 3),
            ),
            "908.000",
        ),
        (
            call(
                F::Divide,
                &[dec("10.00", 10, 2), dec("3.00", 10, 2)],
                dec_type(23, 13),
            ),
            "3.3333333333333",
        ),
        (
            call(
                F::Divide,
                &[dec("20.00", 10, 2), dec("3.00", 10, 2)],
                dec_type(23, 13),
            ),
            "6.6666666666667",
        ),
        (
            call(
                F::Modulo,
                &[dec("-7.5", 5, 1), dec("2", 5, 0)],
                dec_type(5, 1),
            ),
            "-1.5",
        ),
        (call(F::Negate, &[dec("1.5", 5, 1)], dec_type(5, 1)), "-1.5"),
        (
            call(
                F::Multiply,
                &[
                    dec("99999999999999999999", 38, 0),
                    dec("99999999999999999999", 38, 0),
                ],
                dec_type(38, 0),
            ),
            NULL,
        ),
        (
            call(
                F::Add,
                &[
                    dec("99999999999999999999999999999999999999", 38, 0),
                    dec("1", 38, 0),
                ],
                dec_type(38, 0),
            ),
            NULL,
        ),
        (
            call(
                F::Equal,
                &[dec("1.50", 5, 2), dec("1.5", 5, 1)],
                DataType::Boolean,
            ),
            "true",
        ),
        (
            call(
                F::Less,
                &[dec("1.49", 5, 2), dec("1.5", 38, 1)],
                DataType::Boolean,
            ),
            "true",
        ),
        (call(F::Ceil, &[dec("-1.5", 5, 1)], dec_type(5, 0)), "-1"),
        (call(F::Floor, &[dec("-1.5", 5, 1)], dec_type(5, 0)), "-2"),
        (call(F::Abs, &[dec("-1.5", 5, 1)], dec_type(5, 1)), "1.5"),
    ]);
}

#[test]
fn rounding_is_half_up_in_decimal() {
    check(vec![
        (call(F::Round, &[dec("2.5", 2, 1)], dec_type(2, 0)), "3"),
        (call(F::Round, &[dec("-2.5", 2, 1)], dec_type(2, 0)), "-3"),
        (
            call(F::Round, &[dec("2.345", 10, 3), int(2)], dec_type(10, 2)),
            "2.35",
        ),
        (
            call(F::Round, &[dec("1234.5", 10, 1), int(-2)], dec_type(10, 0)),
            "1200",
        ),
        (call(F::Round, &[double(2.5)], Double), "3.0"),
        (call(F::Round, &[double(1.005), int(2)], Double), "1.01"),
        (call(F::Round, &[double(-1.005), int(2)], Double), "-1.01"),
        (call(F::Round, &[double(1e300), int(2)], Double), "1e300"),
        (call(F::Round, &[double(1e-300), int(2)], Double), "0.0"),
        (
            call(F::Round, &[double(123_456.0), int(-3)], Double),
            "123000.0",
        ),
        (call(F::Round, &[int(150), int(-2)], Int), "200"),
        (call(F::Round, &[long(149), int(-2)], BigInt), "100"),
        (call(F::Round, &[int(7), int(3)], Int), "7"),
    ]);
}

#[test]
fn what_has_no_kernel_is_refused_when_compiled() {
    check_fails(vec![
        (
            call(F::Add, &[int(1), text("x")], Int),
            "+: is not implemented for (INT, STRING) -> INT",
        ),
        (
            call(F::Equal, &[int(1), long(1)], DataType::Boolean),
            "= : is not implemented".replace("= :", "=:").leak(),
        ),
        (call(F::Power, &[int(1), int(2)], Double), "POWER"),
        (call(F::CharLength, &[], Int), "got 0 arguments"),
    ]);
}
