//! Prints typed expressions, for `EXPLAIN` and labels.

use jiff::{SignedDuration, civil::DateTime};
use streamkeeper_protocol::{
    expr::{Expr, ExprKind, Function, Literal, TimeUnit},
    types::DataType,
};

/// The expression as SQL-like text; `name` gives the input's column names.
pub(crate) fn render(expr: &Expr, name: &impl Fn(usize) -> String) -> String {
    let part = |expr: &Expr| render(expr, name);
    match &expr.kind {
        ExprKind::Column(index) => name(*index),
        ExprKind::Literal(value) => literal(value, expr),
        ExprKind::Call { function, args } => {
            call(*function, &args.iter().map(part).collect::<Vec<_>>())
        }
        ExprKind::Cast { input, tolerant } => {
            format!(
                "{}({} AS {})",
                if *tolerant { "TRY_CAST" } else { "CAST" },
                part(input),
                expr.ty.data
            )
        }
        ExprKind::Case {
            branches,
            otherwise,
        } => {
            let branches: Vec<String> = branches
                .iter()
                .map(|(when, then)| format!("WHEN {} THEN {}", part(when), part(then)))
                .collect();
            let otherwise = otherwise
                .as_ref()
                .map_or_else(String::new, |expr| format!(" ELSE {}", part(expr)));
            format!("CASE {}{otherwise} END", branches.join(" "))
        }
    }
}

fn literal(value: &Literal, expr: &Expr) -> String {
    match value {
        Literal::Null => "NULL".to_owned(),
        Literal::Boolean(value) => value.to_string().to_uppercase(),
        Literal::Integer(value) => value.to_string(),
        Literal::Double(value) => format!("{value:?}"),
        Literal::String(text) => format!("'{}'", text.replace('\'', "''")),
        Literal::Decimal(digits) => decimal(digits, &expr.ty.data),
        Literal::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Literal::Date(days) => format!(
            "DATE '{}'",
            moment(i64::from(*days) * 86_400_000_000).date()
        ),
        Literal::Time(ms) => format!("TIME '{}'", moment(i64::from(*ms) * 1_000).time()),
        Literal::TimestampMicros(micros) => {
            let moment = moment(*micros);
            format!("TIMESTAMP '{} {}'", moment.date(), moment.time())
        }
        Literal::IntervalMillis(ms) => format!("INTERVAL {}", milliseconds(*ms)),
        Literal::IntervalMonths(months) => format!("INTERVAL {months} months"),
    }
}

/// The unscaled digits with the point where the type has it.
fn decimal(digits: &str, data: &DataType) -> String {
    let scale = match data {
        DataType::Decimal { scale, .. } => usize::from(*scale),
        _ => 0,
    };
    let (minus, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale == 0 { "" } else { "." };
    format!("{minus}{whole}{point}{fraction}")
}

/// Microseconds since 1970; what the calendar cannot hold is its end.
fn moment(micros: i64) -> DateTime {
    let span = SignedDuration::from_micros(micros);
    DateTime::constant(1970, 1, 1, 0, 0, 0, 0).saturating_add(span)
}

/// Milliseconds in the largest unit that divides them.
pub(crate) fn milliseconds(ms: i64) -> String {
    for (unit, name) in [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ] {
        if ms != 0 && ms % unit == 0 {
            return format!("{} {name}", ms / unit);
        }
    }
    format!("{ms} ms")
}

fn call(function: Function, args: &[String]) -> String {
    let infix = |sign: &str| format!("({})", args.join(&format!(" {sign} ")));
    let suffix = |words: &str| format!("({} {words})", args.join(", "));
    match function {
        Function::Add => infix("+"),
        Function::Subtract => infix("-"),
        Function::Multiply => infix("*"),
        Function::Divide => infix("/"),
        Function::Modulo => infix("%"),
        Function::Equal => infix("="),
        Function::NotEqual => infix("<>"),
        Function::Less => infix("<"),
        Function::LessOrEqual => infix("<="),
        Function::Greater => infix(">"),
        Function::GreaterOrEqual => infix(">="),
        Function::IsNotDistinctFrom => infix("IS NOT DISTINCT FROM"),
        Function::And => infix("AND"),
        Function::Or => infix("OR"),
        Function::Concat => infix("||"),
        Function::Like => match args {
            [text, pattern, escape] => format!("({text} LIKE {pattern} ESCAPE {escape})"),
            _ => infix("LIKE"),
        },
        Function::IsNull => suffix("IS NULL"),
        Function::IsNotNull => suffix("IS NOT NULL"),
        Function::IsTrue => suffix("IS TRUE"),
        Function::IsFalse => suffix("IS FALSE"),
        Function::Not => format!("(NOT {})", args.join(", ")),
        Function::Negate => format!("(- {})", args.join(", ")),
        Function::InList => format!(
            "({} IN ({}))",
            args.first().map_or("", String::as_str),
            args[1..].join(", ")
        ),
        Function::Extract(unit) => format!("EXTRACT({} FROM {})", unit_name(unit), args.join(", ")),
        Function::FloorTo(unit) => format!("FLOOR({} TO {})", args.join(", "), unit_name(unit)),
        Function::CeilTo(unit) => format!("CEIL({} TO {})", args.join(", "), unit_name(unit)),
        other => format!("{}({})", screaming(&format!("{other:?}")), args.join(", ")),
    }
}

fn unit_name(unit: TimeUnit) -> String {
    match unit {
        TimeUnit::DayOfWeek => "DOW".to_owned(),
        TimeUnit::DayOfYear => "DOY".to_owned(),
        other => format!("{other:?}").to_uppercase(),
    }
}

/// `CharLength` as `CHAR_LENGTH`.
fn screaming(name: &str) -> String {
    let mut out = String::new();
    for (index, c) in name.chars().enumerate() {
        if c.is_uppercase() && index > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}
