//! The store of a table.

use std::sync::Arc;

use streamkeeper_storage::ObjectStore;

use crate::{ConnectorError, source::Stores};

/// Opens the store of a path, for a table.
pub(super) fn open_store(
    stores: &dyn Stores,
    path: &str,
    table: &str,
) -> Result<(Arc<dyn ObjectStore>, String), ConnectorError> {
    stores.open(path).map_err(|error| match error {
        // A store does not know the table's name.
        ConnectorError::Storage { source, .. } => ConnectorError::Storage {
            table: table.to_owned(),
            source,
        },
        other => other,
    })
}
