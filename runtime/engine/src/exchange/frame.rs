//! Messages as bytes, for channels between processes.
//!
//! A frame is a header of [`HEADER`] bytes and a payload. Rows are one Arrow IPC record batch
//! without its schema, which both sides know from the plan. The payload starts with the length of
//! the IPC metadata (`u32`), the metadata, zeros up to a multiple of 64 bytes, then the body, so
//! that a reader that puts the payload at a 64-byte boundary decodes without copying. All integers
//! are little-endian.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{Array, Int8Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::manifest::CheckpointKind;

use super::{Barrier, Envelope, Msg};

/// Bytes of a header.
pub const HEADER: usize = 20;
/// Longest payload that a reader accepts.
pub const PAYLOAD_LIMIT: u32 = 1 << 30;
const ALIGN: usize = 64;

/// Why a frame cannot be read: the peer is no worker of this version, or bytes were damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read a data frame: {0}")]
pub struct FrameError(String);

/// Start of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload that follow.
    pub payload: u32,
    /// Kind of the frame.
    pub kind: FrameKind,
    /// Exchange edge.
    pub edge: u16,
    /// Sending subtask of the channel.
    pub from: u32,
    /// Receiving subtask of the channel.
    pub to: u32,
    /// Credit the message used, or that is returned.
    pub cost: u32,
}

/// Kinds of frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(
    missing_docs,
    reason = "named after the messages; Kinded rows carry a column of change kinds, Credit goes against the channel's direction"
)]
pub enum FrameKind {
    Batch = 0,
    KindedBatch = 1,
    Watermark = 2,
    Idle = 3,
    Active = 4,
    Barrier = 5,
    End = 6,
    Credit = 7,
}

impl Header {
    /// The header as bytes.
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..4].copy_from_slice(&self.payload.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[6..8].copy_from_slice(&self.edge.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.from.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.to.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.cost.to_le_bytes());
        bytes
    }

    /// Reads a header.
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Self, FrameError> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let payload = word(0);
        if payload > PAYLOAD_LIMIT {
            return Err(FrameError(format!(
                "it announces {payload} bytes, more than the limit of {PAYLOAD_LIMIT}"
            )));
        }
        let kind = match bytes[4] {
            0 => FrameKind::Batch,
            1 => FrameKind::KindedBatch,
            2 => FrameKind::Watermark,
            3 => FrameKind::Idle,
            4 => FrameKind::Active,
            5 => FrameKind::Barrier,
            6 => FrameKind::End,
            7 => FrameKind::Credit,
            other => return Err(FrameError(format!("kind {other} is unknown"))),
        };
        Ok(Self {
            payload,
            kind,
            edge: u16::from_le_bytes([bytes[6], bytes[7]]),
            from: word(8),
            to: word(12),
            cost: word(16),
        })
    }
}

/// Encodes messages of any edge. Keeps scratch memory: one per sending subtask and peer.
#[derive(Default)]
pub struct FrameEncoder {
    options: IpcWriteOptions,
    context: IpcWriteContext,
    generator: IpcDataGenerator,
}

impl std::fmt::Debug for FrameEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameEncoder").finish_non_exhaustive()
    }
}

impl FrameEncoder {
    /// The whole frame of a message to subtask `to`.
    pub fn encode(&mut self, envelope: &Envelope, to: u32) -> Result<Vec<u8>, ArrowError> {
        let (kind, small): (_, Vec<u8>) = match &envelope.msg {
            Msg::Batch(batch) => return self.encode_batch(envelope, batch, to),
            Msg::Watermark(watermark) => (FrameKind::Watermark, watermark.to_le_bytes().to_vec()),
            Msg::Idle => (FrameKind::Idle, Vec::new()),
            Msg::Active => (FrameKind::Active, Vec::new()),
            Msg::Barrier(barrier) => {
                let mut payload = barrier.checkpoint.to_le_bytes().to_vec();
                payload.push(match barrier.kind {
                    CheckpointKind::Periodic => 0,
                    CheckpointKind::Savepoint => 1,
                    CheckpointKind::Final => 2,
                });
                (FrameKind::Barrier, payload)
            }
            Msg::End => (FrameKind::End, Vec::new()),
        };
        let mut frame = Vec::with_capacity(HEADER + small.len());
        frame.extend_from_slice(&header(envelope, to, kind, small.len())?.to_bytes());
        frame.extend_from_slice(&small);
        Ok(frame)
    }

    fn encode_batch(
        &mut self,
        envelope: &Envelope,
        batch: &Batch,
        to: u32,
    ) -> Result<Vec<u8>, ArrowError> {
        let (kind, encoded) = match &batch.kinds {
            None => (FrameKind::Batch, self.encode_rows(&batch.rows)?),
            Some(kinds) => {
                let mut columns = batch.rows.columns().to_vec();
                columns.push(Arc::new(kinds.clone()));
                let rows = RecordBatch::try_new(with_kinds(batch.rows.schema_ref()), columns)?;
                (FrameKind::KindedBatch, self.encode_rows(&rows)?)
            }
        };
        let (metadata, body) = encoded;
        let before_body = (4 + metadata.len()).next_multiple_of(ALIGN);
        let payload = before_body + body.len();
        let mut frame = Vec::with_capacity(HEADER + payload);
        frame.extend_from_slice(&header(envelope, to, kind, payload)?.to_bytes());
        frame.extend_from_slice(
            &u32::try_from(metadata.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        frame.extend_from_slice(&metadata);
        frame.resize(HEADER + before_body, 0);
        frame.extend_from_slice(&body);
        Ok(frame)
    }

    fn encode_rows(&mut self, rows: &RecordBatch) -> Result<(Vec<u8>, Vec<u8>), ArrowError> {
        let mut no_dictionaries = DictionaryTracker::new(true);
        let (_, encoded) =
            self.generator
                .encode(rows, &mut no_dictionaries, &self.options, &mut self.context)?;
        Ok((encoded.ipc_message, encoded.arrow_data))
    }
}

fn header(
    envelope: &Envelope,
    to: u32,
    kind: FrameKind,
    payload: usize,
) -> Result<Header, ArrowError> {
    let payload = u32::try_from(payload)
        .ok()
        .filter(|&bytes| bytes <= PAYLOAD_LIMIT);
    let payload = payload.ok_or_else(|| {
        ArrowError::IpcError(format!(
            "a batch exceeds {PAYLOAD_LIMIT} bytes; are its rows very long?"
        ))
    })?;
    let edge = u16::try_from(envelope.edge)
        .map_err(|_| ArrowError::IpcError("more than 65,535 exchanges".to_owned()))?;
    Ok(Header {
        payload,
        kind,
        edge,
        from: envelope.from,
        to,
        cost: envelope.cost,
    })
}

/// The frame that returns credit of the channel (edge, from, to) to its sender.
pub fn credit_frame(edge: usize, from: u32, to: u32, bytes: u32) -> [u8; HEADER] {
    let edge = u16::try_from(edge).unwrap_or(u16::MAX);
    Header {
        payload: 0,
        kind: FrameKind::Credit,
        edge,
        from,
        to,
        cost: bytes,
    }
    .to_bytes()
}

fn with_kinds(schema: &SchemaRef) -> SchemaRef {
    let kinds = Arc::new(Field::new("kind", DataType::Int8, false));
    Arc::new(Schema::new(
        schema
            .fields()
            .iter()
            .cloned()
            .chain([kinds])
            .collect::<Vec<_>>(),
    ))
}

/// The message of a frame (any kind but credit), whose rows have `schema`.
pub fn decode(header: &Header, payload: &Buffer, schema: &SchemaRef) -> Result<Msg, FrameError> {
    match header.kind {
        FrameKind::Batch => Ok(Msg::Batch(Batch::inserts(decode_rows(
            payload,
            schema.clone(),
        )?))),
        FrameKind::KindedBatch => {
            let rows = decode_rows(payload, with_kinds(schema))?;
            let kinds = rows
                .columns()
                .last()
                .and_then(|column| column.as_any().downcast_ref::<Int8Array>())
                .cloned();
            let columns = rows.columns()[..schema.fields().len()].to_vec();
            let rows = RecordBatch::try_new(schema.clone(), columns)
                .map_err(|error| FrameError(error.to_string()))?;
            Ok(Msg::Batch(Batch { rows, kinds }))
        }
        FrameKind::Watermark => Ok(Msg::Watermark(i64::from_le_bytes(exactly(payload)?))),
        FrameKind::Idle => Ok(Msg::Idle),
        FrameKind::Active => Ok(Msg::Active),
        FrameKind::Barrier => {
            let bytes: [u8; 9] = exactly(payload)?;
            let kind = match bytes[8] {
                0 => CheckpointKind::Periodic,
                1 => CheckpointKind::Savepoint,
                2 => CheckpointKind::Final,
                other => return Err(FrameError(format!("barrier kind {other} is unknown"))),
            };
            let mut checkpoint = [0; 8];
            checkpoint.copy_from_slice(&bytes[..8]);
            Ok(Msg::Barrier(Barrier {
                checkpoint: u64::from_le_bytes(checkpoint),
                kind,
            }))
        }
        FrameKind::End => Ok(Msg::End),
        FrameKind::Credit => Err(FrameError(
            "a credit where a message was expected".to_owned(),
        )),
    }
}

fn exactly<const N: usize>(payload: &Buffer) -> Result<[u8; N], FrameError> {
    payload
        .as_slice()
        .try_into()
        .map_err(|_| FrameError(format!("{} bytes where {N} were expected", payload.len())))
}

fn decode_rows(payload: &Buffer, schema: SchemaRef) -> Result<RecordBatch, FrameError> {
    let short = || FrameError("the payload ends early".to_owned());
    let bytes = payload.as_slice();
    let length = bytes
        .get(..4)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_le_bytes)
        .ok_or_else(short)? as usize;
    let metadata = bytes.get(4..4 + length).ok_or_else(short)?;
    let body_start = (4 + length).next_multiple_of(ALIGN);
    if body_start > bytes.len() {
        return Err(short());
    }
    let body = payload.slice(body_start);
    let message =
        arrow_ipc::root_as_message(metadata).map_err(|error| FrameError(error.to_string()))?;
    let batch = message
        .header_as_record_batch()
        .ok_or_else(|| FrameError("it holds no record batch".to_owned()))?;
    arrow_ipc::reader::read_record_batch(
        &body,
        batch,
        schema,
        &HashMap::new(),
        None,
        &message.version(),
    )
    .map_err(|error| FrameError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn through_the_wire(msg: Msg, schema: &SchemaRef) -> Msg {
        let frame = FrameEncoder::default()
            .encode(
                &Envelope {
                    edge: 3,
                    from: 1,
                    cost: 77,
                    msg,
                },
                2,
            )
            .unwrap();
        let header = Header::parse(frame[..HEADER].try_into().unwrap()).unwrap();
        assert_eq!(
            (header.edge, header.from, header.to, header.cost),
            (3, 1, 2, 77)
        );
        assert_eq!(header.payload as usize, frame.len() - HEADER);
        decode(&header, &Buffer::from(&frame[HEADER..]), schema).unwrap()
    }

    proptest! {
        #[test]
        fn rows_and_kinds_survive_the_wire(rows in prop::collection::vec((any::<i64>(), prop::option::of(".{0,9}")), 0..60), skip in 0_usize..5, kinded: bool) {
            let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("s", DataType::Utf8, true)]));
            let numbers = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
            let texts = rows.iter().map(|row| row.1.clone()).collect::<StringArray>();
            let kinds = Int8Array::from_iter_values((0..4).cycle().take(rows.len()));
            let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(numbers), Arc::new(texts)]).unwrap();
            let skip = skip.min(rows.len());
            let batch = Batch { rows: batch.slice(skip, rows.len() - skip), kinds: kinded.then(|| kinds.slice(skip, rows.len() - skip)) };
            let Msg::Batch(back) = through_the_wire(Msg::Batch(batch.clone()), &schema) else { panic!("no batch") };
            prop_assert_eq!(back.rows, batch.rows);
            prop_assert_eq!(back.kinds, batch.kinds);
        }

        #[test]
        fn damaged_frames_are_errors_not_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("s", DataType::Utf8, true)]));
            let mut head = [0; HEADER];
            let taken = bytes.len().min(HEADER);
            head[..taken].copy_from_slice(&bytes[..taken]);
            head[4] %= 8;
            if let Ok(header) = Header::parse(&head) {
                let _ = decode(&header, &Buffer::from(&bytes[taken..]), &schema);
            }
        }
    }

    #[test]
    fn control_messages_survive_the_wire() {
        let schema: SchemaRef = Arc::new(Schema::empty());
        assert!(matches!(
            through_the_wire(Msg::Watermark(-5), &schema),
            Msg::Watermark(-5)
        ));
        assert!(matches!(through_the_wire(Msg::Idle, &schema), Msg::Idle));
        assert!(matches!(
            through_the_wire(Msg::Active, &schema),
            Msg::Active
        ));
        assert!(matches!(through_the_wire(Msg::End, &schema), Msg::End));
        let barrier = Barrier {
            checkpoint: 1 << 40,
            kind: CheckpointKind::Final,
        };
        assert!(
            matches!(through_the_wire(Msg::Barrier(barrier), &schema), Msg::Barrier(back) if back == barrier)
        );
    }
}
