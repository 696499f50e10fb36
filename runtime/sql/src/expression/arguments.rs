//! Arguments of a call, and operands of a chain of operators.

use sqlparser::ast::{self, BinaryOperator};

use crate::error::{Position, Result, SqlError};

/// The arguments of a call that are plain expressions, or an error for everything else.
pub(super) fn plain_arguments(call: &ast::Function, position: Position) -> Result<Vec<&ast::Expr>> {
    let list = match &call.args {
        ast::FunctionArguments::None => return Ok(Vec::new()),
        ast::FunctionArguments::Subquery(_) => {
            return Err(SqlError::at(
                position,
                "a subquery as an argument is not supported",
            ));
        }
        ast::FunctionArguments::List(list) => list,
    };
    if !list.clauses.is_empty() {
        return Err(SqlError::at(
            position,
            "clauses inside the arguments of a function are not supported",
        ));
    }
    let arguments = list.args.iter().map(|arg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr),
        ast::FunctionArg::Unnamed(_) => {
            Err(SqlError::at(position, "* is an argument of COUNT only"))
        }
        _ => Err(SqlError::at(
            position,
            "named arguments are supported in window functions only",
        )),
    });
    arguments.collect()
}

/// The operands of a chain of one operator, left to right, without recursion: such chains are long
/// in generated queries.
pub(super) fn operands<'e>(whole: &'e ast::Expr, op: &BinaryOperator) -> Vec<&'e ast::Expr> {
    let mut found = Vec::new();
    let mut rest = whole;
    while let ast::Expr::BinaryOp {
        left,
        op: this,
        right,
    } = rest
    {
        if this != op {
            break;
        }
        found.push(right.as_ref());
        rest = left;
    }
    found.push(rest);
    found.reverse();
    found
}
