//! The source, which runs on the thread of its slot: rows from the reader's task, positions after
//! the rows handed out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    task::JoinHandle,
};

use super::{
    object_filter::ObjectFilter,
    options::FileOptions,
    position::{Position, Restored, listed, restore},
    reader::{Event, Reader},
    table_store::open_store,
    warnings,
};
use crate::{
    ConnectorError, TableUse,
    batch::Batch,
    format::Decoded,
    options::Options,
    source::{Polled, Source, SourceContext, SplitState},
};

/// Number of events that wait for the slot: batches of about a megabyte that are read ahead.
const AHEAD: usize = 4;

/// Values of all sources of this process that did not fit their column.
static MISFITS: AtomicU64 = AtomicU64::new(0);

/// Values that the process read so far and that were cut, or are NULL because they do not fit their
/// column.
pub(crate) fn misfit_values() -> u64 {
    MISFITS.load(Relaxed)
}

/// Opens the source of one subtask.
pub(crate) fn open(context: SourceContext) -> Result<Box<dyn Source>, ConnectorError> {
    let options = FileOptions::parse(Options::new(&context.table), TableUse::Source)?;
    let (store, key) = open_store(&*context.stores, &options.path, &context.table.name)?;
    let mut positions = BTreeMap::new();
    let mut unlisted: BTreeSet<u16> = context.assignment.groups_of(context.subtask).collect();
    for state in context
        .restored
        .iter()
        .filter(|state| context.owns(state.key_group))
    {
        match restore(&context.table.name, state)? {
            Restored::Object(position) => {
                positions.insert(state.split.clone(), position);
            }
            Restored::Listed => {
                unlisted.remove(&state.key_group);
            }
        }
    }
    let left = positions.iter().filter(|(_, position)| !position.finished);
    let unread: BTreeMap<_, _> = left.map(|(key, at)| (key.clone(), at.clone())).collect();
    let open_objects = unread.len();
    let (sender, events) = mpsc::channel(AHEAD);
    let reader = Reader {
        place: ObjectFilter::new(&key, options.clone()),
        known: positions.keys().cloned().collect(),
        context: context.clone(),
        options: options.clone(),
        store,
        unread,
        unlisted,
        events: sender,
    };
    let task = context.runtime.spawn(reader.run());
    Ok(Box::new(FileSource {
        watched: options.monitor.is_some(),
        unread: open_objects,
        context,
        positions,
        changed: BTreeSet::new(),
        newly_listed: Vec::new(),
        current: None,
        events,
        listed: false,
        ended: false,
        skipped: 0,
        misfits: 0,
        task,
    }))
}

struct FileSource {
    context: SourceContext,
    watched: bool,
    positions: BTreeMap<String, Position>,
    changed: BTreeSet<String>,
    newly_listed: Vec<u16>,
    current: Option<Current>,
    events: mpsc::Receiver<Event>,
    /// Objects not read to their end.
    unread: usize,
    /// Whether this attempt has seen a listing.
    listed: bool,
    ended: bool,
    skipped: u64,
    misfits: u64,
    task: JoinHandle<()>,
}

/// A batch that is being handed out.
struct Current {
    key: String,
    etag: String,
    decoded: Decoded,
    next: usize,
}

impl Drop for FileSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FileSource {
    /// The next rows of the current batch.
    fn hand_out(&mut self, max_rows: usize) -> Option<Batch> {
        let current = self.current.as_mut()?;
        let rows = (current.decoded.rows.num_rows() - current.next).min(max_rows);
        let Some(mark) = (current.next + rows).checked_sub(1).filter(|_| rows > 0) else {
            self.current = None;
            return None;
        };
        let mark = current.decoded.marks[mark];
        let batch = current.decoded.rows.slice(current.next, rows);
        current.next += rows;
        let position = self
            .positions
            .entry(current.key.clone())
            .or_insert_with(Position::start);
        position.etag.clone_from(&current.etag);
        position.rows += rows as u64;
        position.offset = mark.offset;
        position.line = mark.line;
        self.changed.insert(current.key.clone());
        if current.next == current.decoded.rows.num_rows() {
            self.current = None;
        }
        Some(Batch::inserts(batch))
    }

    fn take_event(&mut self, event: Event) -> Result<(), ConnectorError> {
        match event {
            Event::Listed {
                objects,
                key_groups,
            } => {
                self.listed = true;
                self.unread += objects.len();
                self.newly_listed.extend(key_groups);
                for key in objects {
                    self.changed.insert(key.clone());
                    self.positions.insert(key, Position::start());
                }
            }
            Event::Rows { key, etag, decoded } => {
                self.skipped += decoded.skipped;
                self.misfits += decoded.misfits;
                MISFITS.fetch_add(decoded.misfits, Relaxed);
                for warning in &decoded.warnings {
                    warnings::warn_once(&self.context.table.name, warning);
                }
                let (key, etag) = (key.to_string(), etag.to_string());
                self.current = Some(Current {
                    key,
                    etag,
                    decoded,
                    next: 0,
                });
            }
            Event::Finished { key, etag } => {
                let position = self
                    .positions
                    .entry(key.to_string())
                    .or_insert_with(Position::start);
                position.etag = etag.to_string();
                position.finished = true;
                self.unread = self.unread.saturating_sub(1);
                self.changed.insert(key.to_string());
            }
            Event::AllRead => self.ended = true,
            Event::Failed(error) => return Err(error),
        }
        Ok(())
    }
}

impl Source for FileSource {
    fn poll(&mut self, max_rows: usize) -> Result<Polled, ConnectorError> {
        loop {
            if let Some(batch) = self.hand_out(max_rows.max(1)) {
                return Ok(Polled::Rows(batch));
            }
            if self.ended {
                return Ok(Polled::End);
            }
            match self.events.try_recv() {
                Ok(event) => self.take_event(event)?,
                Err(TryRecvError::Empty) if self.watched && self.listed && self.unread == 0 => {
                    return Ok(Polled::Idle);
                }
                Err(TryRecvError::Empty) => return Ok(Polled::Pending),
                Err(TryRecvError::Disconnected) => {
                    return Err(ConnectorError::Option {
                        table: self.context.table.name.clone(),
                        option: None,
                        detail: "its reader stopped; the cause was reported before".to_owned(),
                    });
                }
            }
        }
    }

    fn changed_splits(&mut self) -> Vec<SplitState> {
        let groups = self.context.max_parallelism();
        let changed = std::mem::take(&mut self.changed);
        let objects = changed
            .iter()
            .filter_map(|key| Some((key, self.positions.get(key)?)));
        let objects = objects.map(|(key, position)| position.to_state(key, groups));
        objects
            .chain(self.newly_listed.drain(..).map(listed))
            .collect()
    }

    fn skipped_records(&self) -> u64 {
        self.skipped
    }

    fn misfit_values(&self) -> u64 {
        self.misfits
    }
}
