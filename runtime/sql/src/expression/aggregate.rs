//! Aggregate functions.

use sqlparser::ast;
use streamkeeper_protocol::{
    aggregate::{AggregateFunction, widened},
    expr::Expr,
    types::{DataType, LogicalType},
};

use super::{
    aggregate_request::AggregateRequest,
    analyzer::{Aggregates, Analyzer},
    arguments::plain_arguments,
};
use crate::error::{Position, Result, SqlError};

/// Whether a function of this name aggregates.
pub(crate) fn is_aggregate(name: &str) -> bool {
    function_of(name).is_some()
}

fn function_of(name: &str) -> Option<AggregateFunction> {
    Some(match name {
        "COUNT" => AggregateFunction::Count,
        "SUM" => AggregateFunction::Sum,
        "AVG" => AggregateFunction::Avg,
        "MIN" => AggregateFunction::Min,
        "MAX" => AggregateFunction::Max,
        _ => return None,
    })
}

impl Analyzer<'_> {
    /// Collects the call; the result stands for its value.
    pub(super) fn aggregate(
        &mut self,
        name: &str,
        call: &ast::Function,
        position: Position,
    ) -> Result<Expr> {
        let function = function_of(name)
            .ok_or_else(|| SqlError::at(position, format!("{name} does not aggregate")))?;
        let collected = std::mem::replace(
            &mut self.aggregates,
            Aggregates::Refused("another aggregate function"),
        );
        let request = match &collected {
            Aggregates::Refused(place) => Err(SqlError::at(
                position,
                format!("the aggregate function {name} cannot stand in {place}"),
            )),
            Aggregates::Collected { keyed, .. } => {
                self.request(function, name, call, *keyed, position)
            }
        };
        self.aggregates = collected;
        let request = request?;
        let ty = request.ty.clone();
        let Aggregates::Collected { calls, .. } = &mut self.aggregates else {
            return Err(SqlError::at(
                position,
                format!("the aggregate function {name} cannot stand here"),
            ));
        };
        let index = calls
            .iter()
            .position(|known| known.computes_same_as(&request))
            .unwrap_or(calls.len());
        if index == calls.len() {
            calls.push(request);
        }
        Ok(Expr::column(self.scope.columns.len() + index, ty))
    }

    fn request(
        &mut self,
        function: AggregateFunction,
        name: &str,
        call: &ast::Function,
        keyed: bool,
        position: Position,
    ) -> Result<AggregateRequest> {
        let filter = match &call.filter {
            Some(filter) => Some(self.condition(filter, "FILTER")?),
            None => None,
        };
        let treatment = match &call.args {
            ast::FunctionArguments::List(list) => list.duplicate_treatment,
            _ => None,
        };
        let distinct = treatment == Some(ast::DuplicateTreatment::Distinct);
        let arg = if is_star(call) {
            if function != AggregateFunction::Count || treatment.is_some() {
                return Err(SqlError::at(
                    position,
                    format!("only COUNT takes *, without DISTINCT or ALL: not {name}(*)"),
                ));
            }
            None
        } else {
            let args = plain_arguments(call, position)?;
            let [arg] = args.as_slice() else {
                return Err(SqlError::at(
                    position,
                    format!("{name} takes one argument, it got {}", args.len()),
                ));
            };
            Some((self.position(arg), self.analyze(arg)?))
        };
        if let Some((at, arg)) = &arg {
            check_argument(function, name, &arg.ty.data, *at)?;
        }
        let arg = arg.map(|(_, arg)| arg);
        // The extreme of distinct values is the extreme of all.
        let distinct =
            distinct && !matches!(function, AggregateFunction::Min | AggregateFunction::Max);
        let ty = result_type(function, arg.as_ref(), keyed && filter.is_none());
        Ok(AggregateRequest {
            function,
            arg,
            distinct,
            filter,
            ty,
            position,
        })
    }
}

fn is_star(call: &ast::Function) -> bool {
    matches!(&call.args, ast::FunctionArguments::List(list)
        if matches!(list.args.as_slice(), [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard)]))
}

fn check_argument(
    function: AggregateFunction,
    name: &str,
    ty: &DataType,
    position: Position,
) -> Result<()> {
    let fits = match function {
        AggregateFunction::Count => *ty != DataType::Null,
        AggregateFunction::Sum | AggregateFunction::Avg => ty.is_numeric(),
        AggregateFunction::Min | AggregateFunction::Max => !matches!(
            ty,
            DataType::Null
                | DataType::Bytes
                | DataType::IntervalDayTime
                | DataType::IntervalYearMonth
        ),
    };
    if fits {
        return Ok(());
    }
    let error = SqlError::at(position, format!("{name} cannot be applied to {ty}"));
    Err(if ty.is_string() {
        error.hint("CAST it to a number")
    } else {
        error
    })
}

/// Whether the group may be empty, or its values NULL, decides nullability.
fn result_type(function: AggregateFunction, arg: Option<&Expr>, never_empty: bool) -> LogicalType {
    let Some(arg) = arg.filter(|_| function != AggregateFunction::Count) else {
        return LogicalType::not_null(DataType::BigInt);
    };
    let data = match (function, &arg.ty.data) {
        (AggregateFunction::Sum, decimal @ DataType::Decimal { .. }) => widened(decimal),
        (AggregateFunction::Avg, DataType::Decimal { scale, .. }) => DataType::Decimal {
            precision: crate::types::MAX_DECIMAL,
            scale: (*scale).max(6),
        },
        (_, other) => other.clone(),
    };
    LogicalType {
        data,
        nullable: arg.ty.nullable || !never_empty,
    }
}
