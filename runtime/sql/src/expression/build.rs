//! Building, measuring and rewriting typed expressions.

use std::collections::BTreeSet;

use streamkeeper_protocol::{
    expr::{Expr, ExprKind, Function, Literal},
    types::{DataType, LogicalType},
};

/// Heaviest expression. Plans are stored as JSON, and JSON readers follow 128 levels.
pub(crate) const MAX_WEIGHT: usize = 110;

pub(super) fn call(function: Function, args: Vec<Expr>, ty: LogicalType) -> Expr {
    Expr {
        kind: ExprKind::Call { function, args },
        ty,
    }
}

/// A call that is NULL when an argument is.
pub(super) fn strict(function: Function, args: Vec<Expr>, data: DataType) -> Expr {
    let nullable = args.iter().any(|arg| arg.ty.nullable);
    call(function, args, LogicalType { data, nullable })
}

/// `AND` or `OR`; chains of one operator become flat.
pub(crate) fn logical(function: Function, operands: Vec<Expr>) -> Expr {
    let mut flat = Vec::with_capacity(operands.len());
    for operand in operands {
        match operand.kind {
            ExprKind::Call {
                function: inner,
                args,
            } if inner == function => flat.extend(args),
            _ => flat.push(operand),
        }
    }
    if flat.len() == 1 {
        return flat.remove(0);
    }
    strict(function, flat, DataType::Boolean)
}

pub(super) fn not(value: Expr) -> Expr {
    strict(Function::Not, vec![value], DataType::Boolean)
}

pub(super) fn try_cast(input: Expr, data: DataType) -> Expr {
    Expr {
        kind: ExprKind::Cast {
            input: Box::new(input),
            tolerant: true,
        },
        ty: LogicalType::nullable(data),
    }
}

pub(super) fn string(text: &str) -> Expr {
    let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    Expr::literal(
        Literal::String(text.to_owned()),
        LogicalType::not_null(DataType::Char { length }),
    )
}

pub(super) fn integer(value: i32) -> Expr {
    Expr::literal(
        Literal::Integer(value.into()),
        LogicalType::not_null(DataType::Int),
    )
}

fn children(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Column(_) | ExprKind::Literal(_) => Vec::new(),
        ExprKind::Call { args, .. } => args.iter().collect(),
        ExprKind::Cast { input, .. } => vec![input],
        ExprKind::Case {
            branches,
            otherwise,
        } => branches
            .iter()
            .flat_map(|(when, then)| [when, then])
            .chain(otherwise.as_deref())
            .collect(),
    }
}

/// Levels of JSON that an expression takes.
pub(crate) fn weight(expr: &Expr) -> usize {
    let own = match expr.kind {
        ExprKind::Column(_) | ExprKind::Literal(_) | ExprKind::Cast { .. } => 3,
        ExprKind::Call { .. } => 4,
        ExprKind::Case { .. } => 5,
    };
    own + children(expr).into_iter().map(weight).max().unwrap_or(0)
}

/// Number of nodes.
pub(crate) fn size(expr: &Expr) -> usize {
    1 + children(expr).into_iter().map(size).sum::<usize>()
}

/// Columns of the input that an expression reads.
pub(crate) fn columns_of(expr: &Expr) -> BTreeSet<usize> {
    match expr.kind {
        ExprKind::Column(index) => BTreeSet::from([index]),
        _ => children(expr).into_iter().flat_map(columns_of).collect(),
    }
}

/// The expression with every column replaced by the result of `replace`.
pub(crate) fn map_columns(expr: &Expr, replace: &impl Fn(usize, &LogicalType) -> Expr) -> Expr {
    let map = |expr: &Expr| map_columns(expr, replace);
    let kind = match &expr.kind {
        ExprKind::Column(index) => return replace(*index, &expr.ty),
        ExprKind::Literal(literal) => ExprKind::Literal(literal.clone()),
        ExprKind::Call { function, args } => ExprKind::Call {
            function: *function,
            args: args.iter().map(map).collect(),
        },
        // A constant in place of the column is converted at once.
        ExprKind::Cast {
            input,
            tolerant: false,
        } => return crate::coercion::cast(map(input), &expr.ty.data),
        ExprKind::Cast { input, tolerant } => ExprKind::Cast {
            input: Box::new(map(input)),
            tolerant: *tolerant,
        },
        ExprKind::Case {
            branches,
            otherwise,
        } => ExprKind::Case {
            branches: branches
                .iter()
                .map(|(when, then)| (map(when), map(then)))
                .collect(),
            otherwise: otherwise.as_ref().map(|expr| Box::new(map(expr))),
        },
    };
    Expr {
        kind,
        ty: expr.ty.clone(),
    }
}

/// The untyped NULL.
pub(super) fn null() -> Expr {
    Expr::literal(Literal::Null, LogicalType::nullable(DataType::Null))
}
