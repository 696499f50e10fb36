//! The sending end of an exchange edge in one subtask.

use std::{fmt, sync::Arc};

use arrow_array::{Int8Array, RecordBatch};
use arrow_schema::ArrowError;
use arrow_select::concat::{concat, concat_batches};
use streamkeeper_connectors::batch::{BATCH_ROWS, Batch, INSERT};

use super::{Credit, Deliver, Envelope, Msg, Partition};

/// Longest time that rows wait to become a larger batch.
pub const LINGER_MS: u64 = 10;
/// Rows of more bytes are sent at once. The limit also keeps joined texts far below the 2 GiB where
/// the offsets of Arrow end.
const BATCH_BYTES: usize = 1 << 20;
/// What a message costs beside its rows.
const OVERHEAD: u32 = 64;

/// The way to one receiving subtask.
#[derive(Clone)]
pub struct Link {
    /// Takes the messages.
    pub to: Arc<dyn Deliver>,
    /// Allows them.
    pub credit: Arc<Credit>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("credit", &self.credit)
            .finish_non_exhaustive()
    }
}

/// Collects rows, splits them by key group and sends them; keeps watermarks behind the rows they
/// follow.
#[derive(Debug)]
pub struct OutputChannel {
    edge: usize,
    from: u32,
    partition: Partition,
    /// One per subtask of the job.
    links: Vec<Link>,
    rows: Vec<Batch>,
    row_count: usize,
    bytes: usize,
    watermark: Option<i64>,
    /// When the oldest held-back row or watermark came, by the engine's clock.
    since_ms: Option<u64>,
}

impl OutputChannel {
    /// The end of `edge` in subtask `from`; `links[s]` leads to subtask `s`.
    pub fn new(edge: usize, from: u32, partition: Partition, links: Vec<Link>) -> Self {
        Self {
            edge,
            from,
            partition,
            links,
            rows: Vec::new(),
            row_count: 0,
            bytes: 0,
            watermark: None,
            since_ms: None,
        }
    }

    /// Whether every channel may take more.
    pub fn has_room(&self) -> bool {
        self.links.iter().all(|link| link.credit.is_available())
    }

    /// Whether something is held back.
    pub fn is_holding(&self) -> bool {
        self.since_ms.is_some()
    }

    /// Whether something was held back for longer than it should.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.since_ms
            .is_some_and(|since| now_ms.saturating_sub(since) >= LINGER_MS)
    }

    /// Takes rows.
    pub fn rows(&mut self, batch: Batch, now_ms: u64) -> Result<(), ArrowError> {
        let bytes = bytes_of(&batch);
        // Large rows are joined with nothing.
        if self.row_count > 0 && self.bytes.saturating_add(bytes) > BATCH_BYTES {
            self.send_rows()?;
        }
        self.row_count += batch.len();
        self.bytes += bytes;
        self.rows.push(batch);
        self.since_ms.get_or_insert(now_ms);
        if self.row_count >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.send_rows().map(|()| self.settle())
        } else {
            Ok(())
        }
    }

    /// Takes a watermark; it follows the rows taken so far, and a later one may overtake it.
    pub fn watermark(&mut self, watermark: i64, now_ms: u64) {
        self.watermark = Some(watermark);
        self.since_ms.get_or_insert(now_ms);
    }

    /// Sends the rows held back, then `msg` to all receivers.
    pub fn control(&mut self, msg: &Msg) -> Result<(), ArrowError> {
        self.flush()?;
        self.broadcast(msg)
    }

    /// Sends what is held back.
    pub fn flush(&mut self) -> Result<(), ArrowError> {
        if self.row_count > 0 {
            self.send_rows()?;
        }
        if let Some(watermark) = self.watermark.take() {
            self.broadcast(&Msg::Watermark(watermark))?;
        }
        self.since_ms = None;
        Ok(())
    }

    /// After rows were sent a watermark may still wait.
    fn settle(&mut self) {
        if self.watermark.is_none() {
            self.since_ms = None;
        }
    }

    fn broadcast(&self, msg: &Msg) -> Result<(), ArrowError> {
        self.links.iter().try_for_each(|link| {
            link.to.deliver(Envelope {
                edge: self.edge,
                from: self.from,
                cost: 0,
                msg: msg.clone(),
            })
        })
    }

    fn send_rows(&mut self) -> Result<(), ArrowError> {
        let batch = join(std::mem::take(&mut self.rows))?;
        self.row_count = 0;
        self.bytes = 0;
        let Some(batch) = batch else { return Ok(()) };
        let parts = self.partition.split(batch)?;
        let bytes = bytes_of(&parts.batch);
        let total = parts.batch.len().max(1);
        for (link, range) in self.links.iter().zip(&parts.ranges) {
            let mut start = range.start;
            while start < range.end {
                let rows = (range.end - start).min(BATCH_ROWS);
                let cost = u32::try_from(bytes * rows / total)
                    .unwrap_or(u32::MAX / 2)
                    .saturating_add(OVERHEAD);
                let whole = rows == parts.batch.len();
                let batch = if whole {
                    parts.batch.clone()
                } else {
                    slice(&parts.batch, start, rows)
                };
                link.credit.take(cost);
                link.to.deliver(Envelope {
                    edge: self.edge,
                    from: self.from,
                    cost,
                    msg: Msg::Batch(batch),
                })?;
                start += rows;
            }
        }
        Ok(())
    }
}

/// Bytes of the rows, without what their buffers hold beside them.
fn bytes_of(batch: &Batch) -> usize {
    let columns = batch.rows.columns().iter();
    columns
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(0))
        .sum()
}

fn slice(batch: &Batch, start: usize, rows: usize) -> Batch {
    Batch {
        rows: batch.rows.slice(start, rows),
        kinds: batch.kinds.as_ref().map(|kinds| kinds.slice(start, rows)),
    }
}

fn join(mut batches: Vec<Batch>) -> Result<Option<Batch>, ArrowError> {
    if batches.len() < 2 {
        return Ok(batches.pop());
    }
    let rows: RecordBatch = concat_batches(
        batches[0].rows.schema_ref(),
        batches.iter().map(|batch| &batch.rows),
    )?;
    let kinds = if batches.iter().any(|batch| batch.kinds.is_some()) {
        let kinds: Vec<Int8Array> = batches
            .iter()
            .map(|batch| {
                batch
                    .kinds
                    .clone()
                    .unwrap_or_else(|| Int8Array::from_value(INSERT, batch.len()))
            })
            .collect();
        let kinds: Vec<&dyn arrow_array::Array> = kinds
            .iter()
            .map(|kinds| kinds as &dyn arrow_array::Array)
            .collect();
        Some(Int8Array::from(concat(&kinds)?.to_data()))
    } else {
        None
    };
    Ok(Some(Batch { rows, kinds }))
}
