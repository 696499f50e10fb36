//! Window functions in `FROM`: `TABLE(TUMBLE(TABLE t, DESCRIPTOR(time), INTERVAL '1' HOUR))`.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, Spanned};
use streamkeeper_protocol::{
    expr::{ExprKind, Literal},
    plan::Window,
    types::{DataType, LogicalType},
};

use super::{
    planner::Planner,
    rows::{Context, Output, Rows, Windowed},
};
use crate::{
    error::{Position, Result, SqlError},
    expression::interval_literal,
    graph::Column,
    lineage::Lineage,
};

/// Names of the columns that a window function adds.
const PROPERTIES: [&str; 3] = ["window_start", "window_end", "window_time"];

/// The error for windows that nothing aggregates.
pub(crate) fn not_aggregated(position: Position) -> SqlError {
    SqlError::at(position, "windows without an aggregation are not supported")
        .hint("aggregate with GROUP BY window_start, window_end")
}

impl Planner<'_> {
    pub(super) fn window_function(
        &mut self,
        name: &str,
        args: &[&FunctionArg],
        position: Position,
        context: &Context,
    ) -> Result<Rows> {
        let names: &[&str] = match name.to_ascii_uppercase().as_str() {
            "TUMBLE" => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
            "HOP" => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
            "CUMULATE" | "SESSION" => {
                return Err(SqlError::at(
                    position,
                    format!("{} windows are not supported yet", name.to_uppercase()),
                )
                .hint("supported are TUMBLE and HOP"));
            }
            _ => {
                return Err(SqlError::at(
                    position,
                    format!("the table function {name} is not known"),
                )
                .hint("supported are TUMBLE and HOP"));
            }
        };
        let args = Arguments::assign(names, args, position)?;
        let rows = self.data(&args, position, context)?;
        let (time, time_type) = time_column(&args, &rows, position)?;
        let window = window(&args, position)?;
        Ok(windowed(rows, window, time, &time_type, position))
    }

    fn data(
        &mut self,
        args: &Arguments<'_>,
        position: Position,
        context: &Context,
    ) -> Result<Rows> {
        let expr = args.required("DATA", position)?;
        let at = Position::from(expr.span().start).or(position);
        let ast::Expr::Identifier(name) = expr else {
            return Err(
                SqlError::at(at, "a window function takes a table or view by name")
                    .hint("write TABLE name; give a subquery a name with CREATE TEMPORARY VIEW"),
            );
        };
        let rows = self.named(&name.value, at, context)?;
        if let Some(windowed) = &rows.windowed {
            return Err(not_aggregated(windowed.position));
        }
        Ok(rows)
    }
}

/// Adds the window's columns to the rows.
pub(super) fn windowed(
    rows: Rows,
    window: Window,
    time: usize,
    time_type: &DataType,
    position: Position,
) -> Rows {
    let mut outputs: Vec<Output> = (0..rows.columns.len()).map(Output::Column).collect();
    let mut columns = rows.columns;
    for column in &mut columns {
        // Windows have taken the time attribute's place.
        column.rowtime = false;
    }
    for (index, name) in PROPERTIES.into_iter().enumerate() {
        let is_time = index == 2;
        let data = if is_time {
            time_type.clone()
        } else {
            DataType::Timestamp { precision: 3 }
        };
        outputs.push(Output::Property(index));
        columns.push(Column {
            name: name.to_owned(),
            ty: LogicalType::not_null(data),
            rowtime: is_time,
            lineage: Lineage::new(name.to_owned()),
        });
    }
    Rows {
        relation: rows.relation,
        columns,
        windowed: Some(Windowed {
            window,
            time,
            outputs,
            position,
        }),
    }
}

/// The arguments of a call that has nothing else.
pub(super) fn plain(call: &ast::Function, position: Position) -> Result<&ast::FunctionArguments> {
    let ast::Function {
        name,
        uses_odbc_syntax,
        parameters,
        args,
        filter,
        null_treatment,
        over,
        within_group,
    } = call;
    let is_plain_list = match args {
        ast::FunctionArguments::List(list) => {
            list.duplicate_treatment.is_none() && list.clauses.is_empty()
        }
        _ => true,
    };
    let is_plain = is_plain_list
        && !uses_odbc_syntax
        && matches!(parameters, ast::FunctionArguments::None)
        && filter.is_none()
        && null_treatment.is_none()
        && over.is_none()
        && within_group.is_empty();
    if is_plain {
        return Ok(args);
    }
    Err(SqlError::at(
        position,
        format!("this form of calling {name} is not supported"),
    ))
}

fn time_column(args: &Arguments<'_>, rows: &Rows, position: Position) -> Result<(usize, DataType)> {
    let expr = args.required("TIMECOL", position)?;
    let at = Position::from(expr.span().start).or(position);
    let malformed = || SqlError::at(at, "the time column is written DESCRIPTOR(name)");
    let ast::Expr::Function(call) = expr else {
        return Err(malformed());
    };
    let ast::FunctionArguments::List(list) = plain(call, at)? else {
        return Err(malformed());
    };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Identifier(name)))] =
        list.args.as_slice()
    else {
        return Err(malformed());
    };
    if !call.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") {
        return Err(malformed());
    }
    let at = Position::from(name.span.start);
    let scope = crate::scope::Scope {
        qualifier: None,
        columns: rows.columns.clone(),
    };
    let ExprKind::Column(index) = scope.resolve(&name.value, at)?.kind else {
        return Err(malformed());
    };
    let column = &rows.columns[index];
    if column.rowtime {
        return Ok((index, column.ty.data.clone()));
    }
    Err(SqlError::at(at, format!("the column '{}' is not a time attribute", name.value)).hint(
        "windows need a column with WATERMARK FOR it in CREATE TABLE, passed on unchanged, or window_time of another window",
    ))
}

fn window(args: &Arguments<'_>, position: Position) -> Result<Window> {
    let size = args
        .interval("SIZE", position)?
        .ok_or_else(|| args.missing("SIZE", position))?;
    let (offset, offset_at) = args.interval("OFFSET", position)?.unwrap_or((0, position));
    let positive = |(ms, at): (i64, Position), what: &str| {
        if ms > 0 {
            Ok(ms)
        } else {
            Err(SqlError::at(
                at,
                format!("the window's {what} must be positive"),
            ))
        }
    };
    let size_at = size.1;
    let size = positive(size, "size")?;
    let slide = if args.names.contains(&"SLIDE") {
        let slide = args.interval("SLIDE", position)?;
        let slide = slide.ok_or_else(|| args.missing("SLIDE", position))?;
        Some(positive(slide, "slide")?)
    } else {
        None
    };
    if offset.unsigned_abs() >= size.unsigned_abs() {
        return Err(SqlError::at(
            offset_at,
            "the window's offset must be smaller than its size",
        ));
    }
    match slide {
        None => Ok(Window::Tumble {
            size,
            offset: offset.rem_euclid(size),
        }),
        Some(slide) if size % slide != 0 => Err(SqlError::at(
            size_at,
            "the size of a HOP window must be a multiple of its slide",
        )),
        Some(slide) => Ok(Window::Hop {
            slide,
            size,
            offset: offset.rem_euclid(slide),
        }),
    }
}

/// Arguments by name, however they are written.
struct Arguments<'e> {
    names: &'static [&'static str],
    values: Vec<Option<&'e ast::Expr>>,
}

impl<'e> Arguments<'e> {
    fn assign(
        names: &'static [&'static str],
        args: &[&'e FunctionArg],
        position: Position,
    ) -> Result<Self> {
        let mut values = vec![None; names.len()];
        let mut by_name = false;
        for (index, arg) in args.iter().enumerate() {
            let (slot, expr) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if !by_name => (index, expr),
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(expr),
                    operator: ast::FunctionArgOperator::RightArrow,
                } => {
                    by_name = true;
                    let at = Position::from(name.span.start);
                    let slot = names
                        .iter()
                        .position(|known| name.value.eq_ignore_ascii_case(known));
                    let slot = slot.ok_or_else(|| {
                        SqlError::at(
                            at,
                            format!("the window function has no argument {}", name.value),
                        )
                        .hint(format!("its arguments are {}", names.join(", ")))
                    })?;
                    (slot, expr)
                }
                _ => {
                    return Err(
                        SqlError::at(position, "this form of argument is not supported")
                            .hint(format!("the arguments are {}", names.join(", "))),
                    );
                }
            };
            let Some(value) = values.get_mut(slot) else {
                let text = format!(
                    "too many arguments: the window function takes {}",
                    names.join(", ")
                );
                return Err(SqlError::at(position, text));
            };
            if value.replace(expr).is_some() {
                return Err(SqlError::at(
                    position,
                    format!("the argument {} is given twice", names[slot]),
                ));
            }
        }
        Ok(Self { names, values })
    }

    fn get(&self, name: &str) -> Option<&'e ast::Expr> {
        let slot = self.names.iter().position(|known| *known == name)?;
        self.values[slot]
    }

    fn missing(&self, name: &str, position: Position) -> SqlError {
        SqlError::at(
            position,
            format!("the window function's argument {name} is missing"),
        )
        .hint(format!("its arguments are {}", self.names.join(", ")))
    }

    fn required(&self, name: &str, position: Position) -> Result<&'e ast::Expr> {
        self.get(name).ok_or_else(|| self.missing(name, position))
    }

    /// A constant of days or shorter units in milliseconds, and where it stands.
    fn interval(&self, name: &str, position: Position) -> Result<Option<(i64, Position)>> {
        let Some(expr) = self.get(name) else {
            return Ok(None);
        };
        let at = Position::from(expr.span().start).or(position);
        let ast::Expr::Interval(interval) = expr else {
            return Err(SqlError::at(
                at,
                format!("{name} must be an interval, like INTERVAL '10' MINUTE"),
            ));
        };
        match interval_literal(interval, at)?.kind {
            ExprKind::Literal(Literal::IntervalMillis(ms)) => Ok(Some((ms, at))),
            _ => Err(SqlError::at(
                at,
                format!("{name} must be in days or shorter units: months differ in length"),
            )),
        }
    }
}
