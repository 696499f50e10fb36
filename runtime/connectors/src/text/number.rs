//! DECIMAL, FLOAT and DOUBLE as text.

use std::io::Write as _;

/// Largest power of ten in an `i128`.
const MAX_POWER: usize = 38;

/// A decimal that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalError {
    /// Not a decimal number.
    Malformed,
    /// More integer digits than the type has: Flink reads it as NULL.
    Overflow,
}

/// Parses `[+-]digits[.digits][e[+-]digits]` to an unscaled value of DECIMAL(precision, scale),
/// rounding half up (away from zero).
pub(crate) fn parse_decimal(text: &str, precision: u8, scale: u8) -> Result<i128, DecimalError> {
    let bytes = text.as_bytes();
    let (negative, mut at) = match bytes.first() {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    // Digits without leading zeros; `point` counts those before the decimal point and goes negative
    // for zeros after it.
    let mut digits = Vec::with_capacity(bytes.len());
    let (mut point, mut seen, mut fraction) = (0_i64, false, false);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                if byte != b'0' || !digits.is_empty() {
                    digits.push(byte - b'0');
                    point += i64::from(!fraction);
                } else if fraction {
                    point -= 1;
                }
            }
            b'.' if !fraction => fraction = true,
            _ => break,
        }
        at += 1;
    }
    if !seen {
        return Err(DecimalError::Malformed);
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let exponent: i64 = text[at + 1..]
            .parse()
            .map_err(|_| DecimalError::Malformed)?;
        point = point.saturating_add(exponent);
    } else if at < bytes.len() {
        return Err(DecimalError::Malformed);
    }
    if digits.is_empty() {
        return Ok(0);
    }
    let kept = point.saturating_add(i64::from(scale));
    let Ok(kept) = usize::try_from(kept) else {
        return Ok(0);
    };
    if kept > MAX_POWER {
        return Err(DecimalError::Overflow);
    }
    let mut value = 0_i128;
    for position in 0..kept {
        value = value * 10 + i128::from(digits.get(position).copied().unwrap_or(0));
    }
    if digits.get(kept).is_some_and(|&next| next >= 5) {
        value += 1;
    }
    if value >= 10_i128.pow(u32::from(precision.min(38))) {
        return Err(DecimalError::Overflow);
    }
    Ok(if negative { -value } else { value })
}

/// Writes a decimal in plain notation with all digits of its scale.
pub(crate) fn write_decimal(out: &mut Vec<u8>, value: i128, scale: u8) {
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs()).as_bytes();
    let scale = usize::from(scale);
    if scale == 0 {
        out.extend_from_slice(digits);
        return;
    }
    if digits.len() <= scale {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
        out.extend_from_slice(digits);
    } else {
        let (integer, fraction) = digits.split_at(digits.len() - scale);
        out.extend_from_slice(integer);
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}

/// Parses what Java's `Double.parseDouble` takes, but for its hexadecimal and suffixed forms.
pub(crate) fn parse_double(text: &str) -> Option<f64> {
    match text.strip_prefix(['+', '-']).unwrap_or(text) {
        "NaN" => Some(f64::NAN),
        "Infinity" if text.starts_with('-') => Some(f64::NEG_INFINITY),
        "Infinity" => Some(f64::INFINITY),
        digits if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse().ok(),
        _ => None,
    }
}

/// As [`parse_double`], rounded once to FLOAT.
pub(crate) fn parse_float(text: &str) -> Option<f32> {
    match text.strip_prefix(['+', '-']).unwrap_or(text) {
        "NaN" => Some(f32::NAN),
        "Infinity" if text.starts_with('-') => Some(f32::NEG_INFINITY),
        "Infinity" => Some(f32::INFINITY),
        digits if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse().ok(),
        _ => None,
    }
}

/// Writes a double as Java does: shortest digits that read back as an equal value, plain between
/// 10⁻³ and 10⁷ and scientific outside.
pub(crate) fn write_double(out: &mut Vec<u8>, value: f64) {
    let plain = value == 0.0 || (1e-3..1e7).contains(&value.abs());
    write_java(
        out,
        plain,
        value.is_finite(),
        &format_args!("{value:e}"),
        &format_args!("{value:?}"),
    );
}

/// As [`write_double`] for FLOAT.
pub(crate) fn write_float(out: &mut Vec<u8>, value: f32) {
    let plain = value == 0.0 || (1e-3..1e7).contains(&value.abs());
    write_java(
        out,
        plain,
        value.is_finite(),
        &format_args!("{value:e}"),
        &format_args!("{value:?}"),
    );
}

fn write_java(
    out: &mut Vec<u8>,
    plain: bool,
    finite: bool,
    scientific: &std::fmt::Arguments<'_>,
    debug: &std::fmt::Arguments<'_>,
) {
    if !finite {
        let name = debug.to_string().replace("inf", "Infinity");
        out.extend_from_slice(name.as_bytes());
    } else if plain {
        // Rust's debug form has at least one digit after the point and is plain in this range.
        let _ = write!(out, "{debug}");
    } else {
        let text = scientific.to_string();
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        out.extend_from_slice(digits.as_bytes());
        if !digits.contains('.') {
            out.extend_from_slice(b".0");
        }
        out.push(b'E');
        out.extend_from_slice(exponent.as_bytes());
    }
}

/// Writes an integer.
pub(crate) fn write_integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        write_double(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    fn decimal(value: i128, scale: u8) -> String {
        let mut out = Vec::new();
        write_decimal(&mut out, value, scale);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_look_as_in_java() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (12_345_678.9, "1.23456789E7"),
            (1e-3, "0.001"),
            (1e-4, "1.0E-4"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::MAX, "1.7976931348623157E308"),
        ] {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn decimals_round_half_up_and_overflow() {
        assert_eq!(parse_decimal("1.005", 10, 2), Ok(101));
        assert_eq!(parse_decimal("-1.005", 10, 2), Ok(-101));
        assert_eq!(parse_decimal("1.0049", 10, 2), Ok(100));
        assert_eq!(parse_decimal("0.005", 10, 2), Ok(1));
        assert_eq!(parse_decimal("0.0005", 10, 2), Ok(0));
        assert_eq!(parse_decimal("1e2", 10, 2), Ok(10_000));
        assert_eq!(parse_decimal("12E-1", 10, 2), Ok(120));
        assert_eq!(parse_decimal(".5", 10, 0), Ok(1));
        assert_eq!(parse_decimal("99.995", 4, 2), Err(DecimalError::Overflow));
        assert_eq!(
            parse_decimal("1e999999999999", 38, 2),
            Err(DecimalError::Overflow)
        );
        assert_eq!(parse_decimal("1e-99999999", 38, 2), Ok(0));
        for bad in ["", "-", ".", "1.2.3", "1e", "0x1", "1 "] {
            assert_eq!(
                parse_decimal(bad, 10, 2),
                Err(DecimalError::Malformed),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_decimal_reads_back_as_written(value in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0_u8..=38) {
            prop_assert_eq!(parse_decimal(&decimal(value, scale), 38, scale), Ok(value));
        }

        #[test]
        fn a_double_reads_back_as_written(value in any::<f64>()) {
            let read = parse_double(&double(value)).unwrap();
            prop_assert!(read.total_cmp(&value).is_eq() || (read.is_nan() && value.is_nan()));
        }
    }
}
