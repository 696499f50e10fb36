//! Staged files: the rows of an epoch, encoded, travel with the checkpoint.

use bytes::Bytes;

use super::{
    commit::{Meta, object_name},
    options::FileOptions,
};
use crate::{
    ConnectorError, TableUse,
    batch::Batch,
    format::Encoder,
    options::Options,
    sink::{Committable, Sink, SinkContext},
};

/// Opens the sink of one subtask.
pub(crate) fn open(context: SinkContext) -> Result<Box<dyn Sink>, ConnectorError> {
    let options = FileOptions::parse(Options::new(&context.table), TableUse::Sink)?;
    let encoder = Encoder::new(&options.format, &context.table);
    Ok(Box::new(FileSink {
        context,
        options,
        encoder,
    }))
}

struct FileSink {
    context: SinkContext,
    options: FileOptions,
    encoder: Encoder,
}

impl Sink for FileSink {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.encoder.append(batch)
    }

    fn held_bytes(&self) -> usize {
        self.encoder.len()
    }

    fn prepare(&mut self, checkpoint: u64) -> Result<Option<Committable>, ConnectorError> {
        let rows = self.encoder.take();
        if rows.is_empty() {
            return Ok(None);
        }
        let name = object_name(&self.context, checkpoint, self.options.format.extension());
        let meta = Meta::new(self.options.path.clone(), name);
        Ok(Some(Committable {
            meta: meta.to_json(),
            staged: Some(Bytes::from(rows)),
        }))
    }
}
