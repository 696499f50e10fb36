//! From the plan's expression to the tree of kernels.

use arrow_array::{ArrayRef, new_null_array};
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::{
    expr::{Expr, ExprKind, Function},
    types::{DataType, LogicalType},
};

use super::{
    ExprError, Zone, arithmetic,
    call_context::{CallContext, sql_name},
    cast, compare, literal, math,
    node::{Kernel, Node},
    temporal, text,
};

/// Compiles `expr`.
pub(crate) fn compile(expr: &Expr, zone: Zone) -> Result<Node, ExprError> {
    let node = match &expr.kind {
        ExprKind::Column(index) => Node::Column(*index),
        ExprKind::Literal(literal) => Node::Constant(literal::array(literal, &expr.ty.data)?),
        ExprKind::Cast { input, tolerant } => {
            cast_node(compile(input, zone)?, &input.ty, &expr.ty, *tolerant, zone)?
        }
        ExprKind::Case {
            branches,
            otherwise,
        } => {
            let branches = branches
                .iter()
                .map(|(when, then)| {
                    Ok((
                        compile_as(when, &DataType::Boolean, zone)?,
                        compile_as(then, &expr.ty.data, zone)?,
                    ))
                })
                .collect::<Result<Vec<_>, ExprError>>()?;
            let ty = arrow_type(&expr.ty.data);
            let otherwise = match otherwise {
                Some(otherwise) => compile_as(otherwise, &expr.ty.data, zone)?,
                None => Node::Constant(new_null_array(&ty, 1)),
            };
            Node::Case {
                branches,
                otherwise: Box::new(otherwise),
                ty,
            }
        }
        ExprKind::Call { function, args } => call(*function, args, &expr.ty, zone)?,
    };
    Ok(fold(node))
}

/// Compiles `expr` to a value of type `data`; the front end casts, but NULL has its own type and
/// decimals may differ.
fn compile_as(expr: &Expr, data: &DataType, zone: Zone) -> Result<Node, ExprError> {
    if expr.ty.data == DataType::Null {
        return Ok(Node::Constant(new_null_array(&arrow_type(data), 1)));
    }
    let node = compile(expr, zone)?;
    if arrow_type(&expr.ty.data) == arrow_type(data) {
        return Ok(node);
    }
    let target = LogicalType::nullable(data.clone());
    Ok(fold(cast_node(node, &expr.ty, &target, false, zone)?))
}

fn cast_node(
    input: Node,
    from: &LogicalType,
    to: &LogicalType,
    tolerant: bool,
    zone: Zone,
) -> Result<Node, ExprError> {
    if from.data == DataType::Null {
        return Ok(Node::Constant(new_null_array(&arrow_type(&to.data), 1)));
    }
    if from.data == to.data {
        return Ok(input);
    }
    let (kernel, fallible) = cast::kernel(&from.data, &to.data, tolerant, zone)?;
    Ok(Node::Call {
        kernel,
        args: vec![input],
        fallible: fallible && !tolerant,
    })
}

/// Evaluates what depends on no column; what fails stays, to fail when it is reached.
fn fold(node: Node) -> Node {
    let foldable = match &node {
        Node::Column(_) | Node::Constant(_) => false,
        Node::Call { args, .. } | Node::Junction { args, .. } | Node::Coalesce(args) => {
            args.iter().all(|arg| matches!(arg, Node::Constant(_)))
        }
        Node::Case {
            branches,
            otherwise,
            ..
        } => {
            matches!(**otherwise, Node::Constant(_))
                && branches.iter().all(|(when, then)| {
                    matches!((when, then), (Node::Constant(_), Node::Constant(_)))
                })
        }
    };
    if !foldable {
        return node;
    }
    match node.evaluate(&[], 1).and_then(|value| value.into_array(1)) {
        Ok(array) => Node::Constant(array),
        Err(_) => node,
    }
}

fn call(
    function: Function,
    args: &[Expr],
    ty: &LogicalType,
    zone: Zone,
) -> Result<Node, ExprError> {
    arity(function, args.len())?;
    match function {
        Function::And | Function::Or => {
            let args = args
                .iter()
                .map(|arg| compile_as(arg, &DataType::Boolean, zone))
                .collect::<Result<_, _>>()?;
            return Ok(Node::Junction {
                all: function == Function::And,
                args,
            });
        }
        Function::Coalesce => {
            let args = args
                .iter()
                .map(|arg| compile_as(arg, &ty.data, zone))
                .collect::<Result<_, _>>()?;
            return Ok(Node::Coalesce(args));
        }
        _ => {}
    }
    let strict = !matches!(
        function,
        Function::IsNull
            | Function::IsNotNull
            | Function::IsTrue
            | Function::IsFalse
            | Function::IsNotDistinctFrom
            | Function::InList
            | Function::ConcatWs
    );
    let untyped_null = |arg: &Expr| arg.ty.data == DataType::Null;
    if strict && args.iter().any(untyped_null) {
        return Ok(Node::Constant(new_null_array(&arrow_type(&ty.data), 1)));
    }
    // Functions whose arguments have one type get it; NULL literals take the type of their
    // neighbours.
    let common = match function {
        Function::Greatest | Function::Least => Some(ty.data.clone()),
        Function::ConcatWs => Some(DataType::STRING),
        Function::IsTrue | Function::IsFalse | Function::Not => Some(DataType::Boolean),
        Function::InList | Function::IsNotDistinctFrom if args.iter().any(untyped_null) => args
            .iter()
            .find(|arg| !untyped_null(arg))
            .map(|arg| arg.ty.data.clone()),
        _ => None,
    };
    let nodes = args
        .iter()
        .map(|arg| match &common {
            Some(data)
                if untyped_null(arg)
                    || matches!(function, Function::Greatest | Function::Least) =>
            {
                compile_as(arg, data, zone)
            }
            _ => compile(arg, zone),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let types: Vec<&DataType> = args
        .iter()
        .map(|arg| match &common {
            Some(data)
                if untyped_null(arg)
                    || matches!(function, Function::Greatest | Function::Least) =>
            {
                data
            }
            _ => &arg.ty.data,
        })
        .collect();
    let constants = nodes
        .iter()
        .map(|node| match node {
            Node::Constant(array) => Some(ArrayRef::clone(array)),
            _ => None,
        })
        .collect();
    let context = CallContext {
        function,
        args: types,
        constants,
        ty: &ty.data,
        zone,
    };
    let (kernel, fallible) = kernel(&context)?;
    Ok(Node::Call {
        kernel,
        args: nodes,
        fallible,
    })
}

/// The kernel of a function and whether it may fail on some values.
fn kernel(context: &CallContext<'_>) -> Result<(Kernel, bool), ExprError> {
    use Function as F;
    match context.function {
        F::Add | F::Subtract | F::Multiply | F::Divide | F::Modulo | F::Negate => {
            arithmetic::kernel(context)
        }
        F::Equal
        | F::NotEqual
        | F::Less
        | F::LessOrEqual
        | F::Greater
        | F::GreaterOrEqual
        | F::IsNotDistinctFrom
        | F::Not
        | F::IsNull
        | F::IsNotNull
        | F::IsTrue
        | F::IsFalse
        | F::InList
        | F::Greatest
        | F::Least => compare::kernel(context).map(|kernel| (kernel, false)),
        F::Abs | F::Ceil | F::Floor | F::Round | F::Power | F::Sqrt | F::Exp | F::Ln | F::Sign => {
            math::kernel(context).map(|kernel| (kernel, false))
        }
        F::Like => text::like_kernel(context),
        F::CharLength
        | F::Upper
        | F::Lower
        | F::Trim
        | F::TrimLeading
        | F::TrimTrailing
        | F::Substring
        | F::Concat
        | F::ConcatWs
        | F::Position
        | F::Replace
        | F::SplitIndex => text::kernel(context).map(|kernel| (kernel, false)),
        F::Extract(_)
        | F::FloorTo(_)
        | F::CeilTo(_)
        | F::DateFormat
        | F::ToTimestamp
        | F::ToDate
        | F::ToTimestampLtz
        | F::EpochMillis => temporal::kernel(context).map(|kernel| (kernel, false)),
        F::And | F::Or | F::Coalesce => Err(context.unsupported()),
    }
}

fn arity(function: Function, count: usize) -> Result<(), ExprError> {
    use Function as F;
    let (least, most) = match function {
        F::And | F::Or | F::InList => (2, usize::MAX),
        F::Coalesce | F::Greatest | F::Least | F::Concat | F::ConcatWs => (1, usize::MAX),
        F::Like | F::Substring => (2, 3),
        F::Round
        | F::ToTimestamp
        | F::ToDate
        | F::ToTimestampLtz
        | F::Trim
        | F::TrimLeading
        | F::TrimTrailing => (1, 2),
        F::Replace | F::SplitIndex => (3, 3),
        F::Add
        | F::Subtract
        | F::Multiply
        | F::Divide
        | F::Modulo
        | F::Equal
        | F::NotEqual
        | F::Less
        | F::LessOrEqual
        | F::Greater
        | F::GreaterOrEqual
        | F::IsNotDistinctFrom
        | F::Power
        | F::Position
        | F::DateFormat => (2, 2),
        _ => (1, 1),
    };
    if (least..=most).contains(&count) {
        Ok(())
    } else {
        Err(ExprError::new(
            sql_name(function),
            format!("got {count} arguments"),
        ))
    }
}
