//! Exact decimals: unscaled 128-bit integers with a scale, 256 bits between. Rounds half up (away
//! from zero); what does not fit its precision is NULL, as in Flink.

use std::cmp::Ordering;

use arrow_buffer::i256;

/// Most digits of a decimal.
const MAX_DIGITS: u32 = 38;

/// `10^exponent`, exponent at most 76.
pub(crate) fn power(exponent: u32) -> i256 {
    i256::from_i128(10).wrapping_pow(exponent.min(76))
}

/// `10^exponent` in 128 bits, exponent at most 38.
pub(crate) fn power_i128(exponent: u32) -> i128 {
    10_i128.pow(exponent.min(MAX_DIGITS))
}

/// `value` if it has at most `precision` digits.
pub(crate) fn fit(value: i256, precision: u8) -> Option<i128> {
    value.to_i128().and_then(|value| fit_i128(value, precision))
}

/// `value` if it has at most `precision` digits.
pub(crate) fn fit_i128(value: i128, precision: u8) -> Option<i128> {
    (value.unsigned_abs() < power_i128(u32::from(precision)).unsigned_abs()).then_some(value)
}

/// `dividend / divisor` (divisor > 0) rounded half away from zero.
fn divide_half_up(dividend: i256, divisor: i256) -> i256 {
    let (quotient, remainder) = dividend.wrapping_div_rem(divisor);
    // |remainder| >= divisor - |remainder| avoids doubling beyond 256 bits.
    let magnitude = remainder.wrapping_abs();
    if magnitude >= divisor.wrapping_sub(magnitude) && magnitude != i256::ZERO {
        quotient.wrapping_add(i256::from_i128(if dividend.is_negative() { -1 } else { 1 }))
    } else {
        quotient
    }
}

/// The number with scale `to` instead of `from`; none beyond 256 bits.
pub(crate) fn rescale(value: i256, from: i32, to: i32) -> Option<i256> {
    match from.cmp(&to) {
        Ordering::Equal => Some(value),
        Ordering::Less => {
            if value == i256::ZERO {
                return Some(value);
            }
            let up = to.abs_diff(from);
            if up > 76 {
                None
            } else {
                value.checked_mul(power(up))
            }
        }
        Ordering::Greater => {
            let down = from.abs_diff(to);
            // Beyond 77 digits nothing is left, not even a half.
            if down > 77 {
                return Some(i256::ZERO);
            }
            if down == 77 {
                return Some(divide_half_up(
                    divide_towards_zero(value, power(1)),
                    power(76),
                ));
            }
            Some(divide_half_up(value, power(down)))
        }
    }
}

fn divide_towards_zero(value: i256, by: i256) -> i256 {
    value.wrapping_div(by)
}

/// Converts to `DECIMAL(precision, to)`.
pub(crate) fn convert(value: i128, from: u8, precision: u8, to: u8) -> Option<i128> {
    if from == to {
        return fit_i128(value, precision);
    }
    rescale(i256::from_i128(value), i32::from(from), i32::from(to))
        .and_then(|value| fit(value, precision))
}

/// An operand: digits and scale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand {
    /// Unscaled digits.
    pub(crate) digits: i128,
    /// Digits after the point.
    pub(crate) scale: u8,
}

/// Type of a result: precision and scale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// Total digits.
    pub(crate) precision: u8,
    /// Digits after the point.
    pub(crate) scale: u8,
}

fn aligned(a: Operand, b: Operand) -> (i256, i256, i32) {
    let scale = a.scale.max(b.scale);
    let lift = |operand: Operand| {
        i256::from_i128(operand.digits).wrapping_mul(power(u32::from(scale - operand.scale)))
    };
    (lift(a), lift(b), i32::from(scale))
}

fn finish(value: i256, scale: i32, to: Target) -> Option<i128> {
    rescale(value, scale, i32::from(to.scale)).and_then(|value| fit(value, to.precision))
}

/// `a + b`.
pub(crate) fn add(a: Operand, b: Operand, to: Target) -> Option<i128> {
    if a.scale == b.scale && a.scale == to.scale {
        return a
            .digits
            .checked_add(b.digits)
            .and_then(|sum| fit_i128(sum, to.precision));
    }
    let (left, right, scale) = aligned(a, b);
    finish(left.wrapping_add(right), scale, to)
}

/// `a - b`.
pub(crate) fn subtract(a: Operand, b: Operand, to: Target) -> Option<i128> {
    add(
        a,
        Operand {
            digits: -b.digits,
            scale: b.scale,
        },
        to,
    )
}

/// `a * b`.
pub(crate) fn multiply(a: Operand, b: Operand, to: Target) -> Option<i128> {
    if a.scale + b.scale == to.scale
        && let Some(product) = a.digits.checked_mul(b.digits)
    {
        return fit_i128(product, to.precision);
    }
    finish(
        i256::from_i128(a.digits).wrapping_mul(i256::from_i128(b.digits)),
        i32::from(a.scale) + i32::from(b.scale),
        to,
    )
}

/// Digits of a number, 1 for zero.
fn count_digits(value: u128) -> u32 {
    value.checked_ilog10().map_or(1, |log| log + 1)
}

/// `a / b`, `b` not zero: first to 38 significant digits, then to the scale of the result, both
/// half up.
pub(crate) fn divide(a: Operand, b: Operand, to: Target) -> Option<i128> {
    if a.digits == 0 {
        return Some(0);
    }
    let (magnitude, divisor) = (a.digits.unsigned_abs(), b.digits.unsigned_abs());
    // 38 digits or 39, because the quotient of leading digits is above or below 1.
    let up = MAX_DIGITS + count_digits(divisor) - count_digits(magnitude);
    let wide = |value: u128| i256::from_parts(value, 0);
    let (dividend, divisor) = (wide(magnitude).wrapping_mul(power(up)), wide(divisor));
    let mut scale = i32::from(a.scale) - i32::from(b.scale) + i32::try_from(up).unwrap_or(0);
    let truncated = dividend.wrapping_div(divisor);
    let rounded = if truncated >= power(MAX_DIGITS) {
        scale -= 1;
        divide_half_up(truncated, power(1))
    } else {
        divide_half_up(dividend, divisor)
    };
    let negative = (a.digits < 0) != (b.digits < 0);
    finish(
        if negative {
            rounded.wrapping_neg()
        } else {
            rounded
        },
        scale,
        to,
    )
}

/// `a % b` with the sign of `a`, `b` not zero.
pub(crate) fn modulo(a: Operand, b: Operand, to: Target) -> Option<i128> {
    let (left, right, scale) = aligned(a, b);
    finish(left.wrapping_rem(right), scale, to)
}

/// Order of two decimals.
pub(crate) fn compare(a: Operand, b: Operand) -> Ordering {
    if a.scale == b.scale {
        return a.digits.cmp(&b.digits);
    }
    let (left, right, _) = aligned(a, b);
    left.cmp(&right)
}

/// `-123.45`; no exponent.
pub(crate) fn to_text(digits: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let mut text = digits.unsigned_abs().to_string();
    if scale > 0 {
        if text.len() <= scale {
            text.insert_str(0, &"0".repeat(scale + 1 - text.len()));
        }
        text.insert(text.len() - scale, '.');
    }
    if digits < 0 {
        text.insert(0, '-');
    }
    text
}

/// Why a text is not a decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadDecimal {
    /// It is no number.
    Syntax,
    /// It does not fit the precision.
    Overflow,
}

/// Parses `[+-]digits[.digits][e[+-]digits]`, rounding half up to the scale.
pub(crate) fn parse(text: &str, to: Target) -> Result<i128, BadDecimal> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], parse_exponent(&unsigned[at + 1..])?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|byte| byte.is_ascii_digit())
    {
        return Err(BadDecimal::Syntax);
    }
    let mut value = i256::ZERO;
    let mut scale = -exponent;
    let mut significant = 0_u32;
    for (index, byte) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let is_fraction = index >= whole.len();
        // 75 digits decide; later ones only move the scale of what stands before the point.
        if significant < 75 {
            value = value
                .wrapping_mul(power(1))
                .wrapping_add(i256::from_i128(i128::from(byte - b'0')));
            significant += u32::from(significant > 0 || byte != b'0');
            scale += i64::from(is_fraction);
        } else if !is_fraction {
            scale -= 1;
        }
    }
    if negative {
        value = value.wrapping_neg();
    }
    let scale = i32::try_from(scale.clamp(-100_000, 100_000)).unwrap_or(0);
    finish(value, scale, to).ok_or(BadDecimal::Overflow)
}

fn parse_exponent(text: &str) -> Result<i64, BadDecimal> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadDecimal::Syntax);
    }
    let magnitude: i64 = digits.parse().unwrap_or(i64::MAX).min(1_000_000);
    Ok(if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    })
}

/// The decimal that `value` prints as; none for NaN, infinities and overflow.
pub(crate) fn from_f64(value: f64, to: Target) -> Option<i128> {
    value
        .is_finite()
        .then(|| format!("{value:e}"))
        .and_then(|text| parse(&text, to).ok())
}

/// The nearest double.
pub(crate) fn to_f64(digits: i128, scale: u8) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
    if scale <= 22 && digits.unsigned_abs() < 1 << 53 {
        return digits as f64 / 10_f64.powi(i32::from(scale));
    }
    to_text(digits, scale).parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(text: &str) -> Operand {
        let scale = text
            .split_once('.')
            .map_or(0, |(_, fraction)| u8::try_from(fraction.len()).unwrap());
        Operand {
            digits: parse(
                text,
                Target {
                    precision: 38,
                    scale,
                },
            )
            .unwrap(),
            scale,
        }
    }

    fn to(precision: u8, scale: u8) -> Target {
        Target { precision, scale }
    }

    #[test]
    fn quotients_round_half_up_at_the_scale_of_the_result() {
        let show = |value: Option<i128>, scale| value.map(|digits| to_text(digits, scale));
        assert_eq!(
            show(divide(op("1"), op("3"), to(38, 6)), 6).as_deref(),
            Some("0.333333")
        );
        assert_eq!(
            show(divide(op("2"), op("3"), to(38, 6)), 6).as_deref(),
            Some("0.666667")
        );
        assert_eq!(
            show(divide(op("-2.00"), op("3.0"), to(10, 3)), 3).as_deref(),
            Some("-0.667")
        );
        assert_eq!(
            show(
                divide(
                    op("99999999999999999999999999999999999999"),
                    op("0.1"),
                    to(38, 6)
                ),
                6
            ),
            None
        );
        assert_eq!(
            show(
                divide(
                    op("1"),
                    op("99999999999999999999999999999999999999"),
                    to(38, 37)
                ),
                37
            )
            .as_deref(),
            Some("0.0000000000000000000000000000000000000")
        );
        assert_eq!(
            show(
                divide(
                    op("0.00000000000000000000000000000000000001"),
                    op("8"),
                    to(38, 38)
                ),
                38
            )
            .map(|text| text.ends_with("00")),
            Some(true)
        );
    }

    #[test]
    fn sums_products_and_remainders_are_exact_or_null() {
        assert_eq!(add(op("1.5"), op("2.25"), to(10, 2)), Some(375));
        assert_eq!(subtract(op("1.5"), op("2.25"), to(10, 2)), Some(-75));
        assert_eq!(add(op("99"), op("1"), to(2, 0)), None);
        assert_eq!(
            multiply(
                op("99999999999999999999"),
                op("99999999999999999999"),
                to(38, 0)
            ),
            None
        );
        assert_eq!(multiply(op("1.25"), op("0.5"), to(10, 2)), Some(63));
        assert_eq!(multiply(op("-1.25"), op("0.5"), to(10, 2)), Some(-63));
        assert_eq!(modulo(op("-7.5"), op("2"), to(10, 1)), Some(-15));
    }

    #[test]
    fn texts_are_parsed_as_java_writes_them() {
        assert_eq!(parse("1.005", to(10, 2)), Ok(101));
        assert_eq!(parse("-1.005", to(10, 2)), Ok(-101));
        assert_eq!(parse("1e3", to(10, 1)), Ok(10_000));
        assert_eq!(parse("123E-4", to(10, 4)), Ok(123));
        assert_eq!(parse(".5", to(10, 1)), Ok(5));
        assert_eq!(parse("5.", to(10, 1)), Ok(50));
        assert_eq!(
            parse("1e999999999999", to(10, 1)),
            Err(BadDecimal::Overflow)
        );
        assert_eq!(parse("1e-999999999999", to(10, 1)), Ok(0));
        for bad in ["", ".", "e5", "1e", "1x", "--1", "1 2", "0x1", "NaN"] {
            assert_eq!(parse(bad, to(10, 1)), Err(BadDecimal::Syntax), "{bad}");
        }
        assert_eq!(to_text(-5, 3), "-0.005");
        assert_eq!(from_f64(3.123_456, to(8, 4)), Some(31_235));
        assert_eq!(from_f64(f64::MAX, to(38, 32)), None);
        assert!(
            (to_f64(123_456_789_123_456_789_123_456_789, 18) - 1.234_567_891_234_567_9E8).abs()
                < f64::EPSILON
        );
    }
}
