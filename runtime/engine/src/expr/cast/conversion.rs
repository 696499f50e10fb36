//! What a cast converts, and the conversion that changes nothing.

use arrow_array::ArrayRef;
use streamkeeper_protocol::types::DataType;

use crate::expr::{Zone, node::Kernel, value::Value};

/// A conversion in one direction.
pub(super) struct Cast<'a> {
    pub(super) from: &'a DataType,
    pub(super) to: &'a DataType,
    pub(super) tolerant: bool,
    pub(super) zone: Zone,
}

/// The values as they are, where only the declared type changes.
pub(super) fn unchanged() -> Kernel {
    Box::new(|args: &[Value], _| Ok(ArrayRef::clone(args[0].array())))
}
