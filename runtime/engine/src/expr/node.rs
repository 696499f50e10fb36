//! The compiled tree: what is evaluated on which rows.
//!
//! A branch of `CASE`, a later argument of `COALESCE`, and the right side of `AND` and `OR` run
//! only on the rows that need them if they can fail; otherwise they run on all rows, because that
//! is faster and makes no visible difference.

use std::collections::BTreeSet;

use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow_schema::DataType as Arrow;

use super::{ExprError, parse_failure, value::Value};

/// Computes all rows at once. Gets 1 row and returns 1 value when all arguments are scalars.
pub(crate) type Kernel = Box<dyn Fn(&[Value], usize) -> Result<ArrayRef, ExprError> + Send + Sync>;

/// A compiled expression.
pub(crate) enum Node {
    /// A column of the input.
    Column(usize),
    /// An array of length 1.
    Constant(ArrayRef),
    /// A function that needs all its arguments.
    Call {
        /// The function.
        kernel: Kernel,
        /// Its arguments.
        args: Vec<Node>,
        /// Whether it may fail on some values.
        fallible: bool,
    },
    /// `AND` (or `OR`) of two or more.
    Junction {
        /// `AND` if true.
        all: bool,
        /// Operands in order.
        args: Vec<Node>,
    },
    /// `CASE`.
    Case {
        /// Conditions and values.
        branches: Vec<(Node, Node)>,
        /// Value when no condition is TRUE.
        otherwise: Box<Node>,
        /// Type of the values.
        ty: Arrow,
    },
    /// `COALESCE`; all nodes have one type.
    Coalesce(Vec<Node>),
}

impl Node {
    /// Whether evaluation may fail on some values.
    pub(crate) fn is_fallible(&self) -> bool {
        match self {
            Self::Column(_) | Self::Constant(_) => false,
            Self::Call { args, fallible, .. } => *fallible || args.iter().any(Self::is_fallible),
            Self::Junction { args, .. } | Self::Coalesce(args) => {
                args.iter().any(Self::is_fallible)
            }
            Self::Case {
                branches,
                otherwise,
                ..
            } => {
                branches
                    .iter()
                    .any(|(when, then)| when.is_fallible() || then.is_fallible())
                    || otherwise.is_fallible()
            }
        }
    }

    /// Columns of the input that are read.
    pub(crate) fn columns(&self, into: &mut BTreeSet<usize>) {
        match self {
            Self::Column(index) => {
                into.insert(*index);
            }
            Self::Constant(_) => {}
            Self::Call { args, .. } | Self::Junction { args, .. } | Self::Coalesce(args) => {
                for arg in args {
                    arg.columns(into);
                }
            }
            Self::Case {
                branches,
                otherwise,
                ..
            } => {
                for (when, then) in branches {
                    when.columns(into);
                    then.columns(into);
                }
                otherwise.columns(into);
            }
        }
    }

    /// The value for `rows` rows of `columns`.
    pub(crate) fn evaluate(&self, columns: &[ArrayRef], rows: usize) -> Result<Value, ExprError> {
        match self {
            Self::Column(index) => columns
                .get(*index)
                .map(|column| Value::Array(ArrayRef::clone(column)))
                .ok_or_else(|| {
                    ExprError::new(
                        "column",
                        format!("the plan names column {index} of {}", columns.len()),
                    )
                }),
            Self::Constant(array) => Ok(Value::Scalar(ArrayRef::clone(array))),
            Self::Call { kernel, args, .. } => {
                let args = args
                    .iter()
                    .map(|arg| arg.evaluate(columns, rows))
                    .collect::<Result<Vec<_>, _>>()?;
                // A function without arguments does not exist, so all-scalar means constant.
                if rows > 0 && args.iter().all(Value::is_scalar) {
                    kernel(&args, 1).map(Value::Scalar)
                } else {
                    kernel(&args, rows).map(Value::Array)
                }
            }
            Self::Junction { all, args } => junction(*all, args, columns, rows),
            Self::Case {
                branches,
                otherwise,
                ty,
            } => case(branches, otherwise, ty, columns, rows),
            Self::Coalesce(args) => coalesce(args, columns, rows),
        }
    }

    /// Like [`Self::evaluate`], but rows other than `selected` get unspecified values and cannot
    /// fail.
    fn evaluate_on(
        &self,
        selected: &BooleanArray,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<Value, ExprError> {
        let count = selected.true_count();
        if count == rows || !self.is_fallible() {
            return self.evaluate(columns, rows);
        }
        let mut used = BTreeSet::new();
        self.columns(&mut used);
        let picked = columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                if used.contains(&index) {
                    arrow_select::filter::filter(column, selected)
                } else {
                    Ok(ArrayRef::clone(column))
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        if count == 0 {
            // Nothing is evaluated, so the type comes from a run over no rows.
            let none = self.evaluate(&picked, 0)?;
            return Ok(Value::Scalar(new_null_array(none.array().data_type(), 1)));
        }
        let dense = self.evaluate(&picked, count)?;
        // Its rows are numbered among the picked ones only.
        parse_failure::forget();
        match dense {
            scalar @ Value::Scalar(_) => Ok(scalar),
            Value::Array(dense) => {
                let mut next = 0_u32;
                let positions: UInt32Array = selected
                    .values()
                    .iter()
                    .map(|is_selected| {
                        is_selected.then(|| {
                            next += 1;
                            next - 1
                        })
                    })
                    .collect();
                Ok(Value::Array(arrow_select::take::take(
                    &dense, &positions, None,
                )?))
            }
        }
    }
}

/// Rows of a boolean value that are TRUE.
fn is_true(value: &Value, rows: usize) -> Result<BooleanArray, ExprError> {
    let array = value.booleans(rows)?;
    Ok(if array.null_count() == 0 {
        array
    } else {
        arrow_select::filter::prep_null_mask_filter(&array)
    })
}

fn junction(
    all: bool,
    args: &[Node],
    columns: &[ArrayRef],
    rows: usize,
) -> Result<Value, ExprError> {
    let Some((first, rest)) = args.split_first() else {
        return Err(ExprError::new(
            if all { "AND" } else { "OR" },
            "has no operands",
        ));
    };
    let mut so_far = first.evaluate(columns, rows)?.booleans(rows)?;
    for arg in rest {
        let next = if arg.is_fallible() {
            // A FALSE decides an AND, a TRUE decides an OR.
            let undecided: BooleanArray = so_far
                .iter()
                .map(|value| Some(value != Some(!all)))
                .collect();
            arg.evaluate_on(&undecided, columns, rows)?
        } else {
            arg.evaluate(columns, rows)?
        };
        let next = next.booleans(rows)?;
        so_far = if all {
            arrow_arith::boolean::and_kleene(&so_far, &next)?
        } else {
            arrow_arith::boolean::or_kleene(&so_far, &next)?
        };
    }
    Ok(Value::Array(std::sync::Arc::new(so_far)))
}

fn case(
    branches: &[(Node, Node)],
    otherwise: &Node,
    ty: &Arrow,
    columns: &[ArrayRef],
    rows: usize,
) -> Result<Value, ExprError> {
    let mut sources: Vec<Value> = Vec::with_capacity(branches.len() + 1);
    let mut source_of = vec![branches.len(); rows];
    let mut open = BooleanArray::from(vec![true; rows]);
    for (index, (when, then)) in branches.iter().enumerate() {
        let matched = is_true(&when.evaluate_on(&open, columns, rows)?, rows)?;
        let matched = arrow_arith::boolean::and(&matched, &open)?;
        for row in matched.values().set_indices() {
            source_of[row] = index;
        }
        sources.push(then.evaluate_on(&matched, columns, rows)?);
        open = arrow_arith::boolean::and_not(&open, &matched)?;
    }
    sources.push(otherwise.evaluate_on(&open, columns, rows)?);
    if rows == 0 {
        return Ok(Value::Array(arrow_array::new_empty_array(ty)));
    }
    let arrays: Vec<&dyn Array> = sources
        .iter()
        .map(|source| source.array().as_ref())
        .collect();
    let picks: Vec<(usize, usize)> = source_of
        .iter()
        .enumerate()
        .map(|(row, &source)| (source, sources[source].at(row)))
        .collect();
    Ok(Value::Array(arrow_select::interleave::interleave(
        &arrays, &picks,
    )?))
}

fn coalesce(args: &[Node], columns: &[ArrayRef], rows: usize) -> Result<Value, ExprError> {
    let Some((first, rest)) = args.split_first() else {
        return Err(ExprError::new("COALESCE", "has no arguments"));
    };
    let mut so_far = first.evaluate(columns, rows)?;
    for arg in rest {
        if so_far.array().logical_null_count() == 0 {
            return Ok(so_far);
        }
        let array = so_far.into_array(rows)?;
        let missing = arrow_arith::boolean::is_null(&array)?;
        let fill = arg.evaluate_on(&missing, columns, rows)?;
        so_far = Value::Array(arrow_select::zip::zip(
            &missing,
            &fill,
            &Value::Array(array),
        )?);
    }
    Ok(so_far)
}
