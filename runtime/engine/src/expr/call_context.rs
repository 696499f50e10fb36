//! The call of a function: what its family needs to make a kernel.

use arrow_array::{Array, ArrayRef, cast::AsArray};
use streamkeeper_protocol::{expr::Function, types::DataType};

use super::{ExprError, Zone};

/// What a family of functions needs to make a kernel.
pub(crate) struct CallContext<'a> {
    /// The function.
    pub(crate) function: Function,
    /// Types of the arguments.
    pub(crate) args: Vec<&'a DataType>,
    /// Constant arguments, where they are.
    pub(crate) constants: Vec<Option<ArrayRef>>,
    /// Type of the result.
    pub(crate) ty: &'a DataType,
    /// Local time zone of the job.
    pub(crate) zone: Zone,
}

impl CallContext<'_> {
    /// Refuses this combination of types.
    pub(crate) fn unsupported(&self) -> ExprError {
        let args: Vec<_> = self.args.iter().map(ToString::to_string).collect();
        ExprError::new(
            sql_name(self.function),
            format!(
                "is not implemented for ({}) -> {}",
                args.join(", "),
                self.ty
            ),
        )
    }

    /// The constant text of argument `index`.
    pub(crate) fn constant_text(&self, index: usize) -> Result<String, ExprError> {
        let constant = self
            .constants
            .get(index)
            .and_then(Option::as_ref)
            .and_then(|array| array.as_string_opt::<i32>());
        constant
            .filter(|array| !array.is_null(0))
            .map(|array| array.value(0).to_owned())
            .ok_or_else(|| {
                ExprError::new(
                    sql_name(self.function),
                    format!("argument {} must be a constant text", index + 1),
                )
            })
    }
}

/// The function's name in SQL.
pub(crate) fn sql_name(function: Function) -> String {
    let name = match function {
        Function::Add => "+",
        Function::Subtract | Function::Negate => "-",
        Function::Multiply => "*",
        Function::Divide => "/",
        Function::Modulo => "MOD",
        Function::Equal => "=",
        Function::NotEqual => "<>",
        Function::Less => "<",
        Function::LessOrEqual => "<=",
        Function::Greater => ">",
        Function::GreaterOrEqual => ">=",
        Function::InList => "IN",
        Function::TrimLeading => "LTRIM",
        Function::TrimTrailing => "RTRIM",
        Function::FloorTo(unit) => return format!("FLOOR TO {}", shouting(&format!("{unit:?}"))),
        Function::CeilTo(unit) => return format!("CEIL TO {}", shouting(&format!("{unit:?}"))),
        Function::Extract(unit) => return format!("EXTRACT {}", shouting(&format!("{unit:?}"))),
        other => return shouting(&format!("{other:?}")),
    };
    name.to_owned()
}

fn shouting(camel: &str) -> String {
    let mut out = String::new();
    for letter in camel.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_uppercase());
    }
    out
}
