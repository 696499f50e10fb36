//! The task that lists, fetches and decodes ahead of the slot.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    ops::Range,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use streamkeeper_protocol::key_group::key_group;
use streamkeeper_storage::{ObjectMeta, ObjectStore, StorageError};
use tokio::{sync::mpsc, time::Instant};

use super::{
    compression,
    object_decoder::{DecodeError, ObjectDecoder, Step},
    object_filter::ObjectFilter,
    options::FileOptions,
    position::Position,
};
use crate::{ConnectorError, format::Decoded, source::SourceContext};

/// Objects up to this size are read by one request; in tests most are larger.
const WHOLE: u64 = if cfg!(test) { 256 } else { 8 << 20 };
/// Larger ones are read in ranges of this size, one ahead.
const RANGE: u64 = if cfg!(test) { 64 } else { 4 << 20 };
/// Pauses between tries while the store does not respond.
const PAUSES_MS: [u64; 6] = [100, 200, 400, 800, 1_600, 3_200];

/// What the task sends to the source, in order.
#[derive(Debug)]
pub(super) enum Event {
    /// New objects, and the key groups that were listed for the first time.
    Listed {
        objects: Vec<String>,
        key_groups: Vec<u16>,
    },
    /// Rows of an object.
    Rows {
        key: Arc<str>,
        etag: Arc<str>,
        decoded: Decoded,
    },
    /// The object has no more rows.
    Finished { key: Arc<str>, etag: Arc<str> },
    /// Everything was read, nothing will come.
    AllRead,
    /// Reading cannot go on.
    Failed(ConnectorError),
}

/// Why the task ends early.
enum Stop {
    /// The source is gone.
    Gone,
    Failed(ConnectorError),
}

impl From<ConnectorError> for Stop {
    fn from(error: ConnectorError) -> Self {
        Self::Failed(error)
    }
}

/// The task of one subtask.
pub(super) struct Reader {
    pub(super) context: SourceContext,
    pub(super) options: FileOptions,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) place: ObjectFilter,
    /// Objects that were listed before, read or not.
    pub(super) known: BTreeSet<String>,
    /// Objects that are not read to their end. They are read in the order of their keys, also one
    /// that was begun before a rescale. So where keys follow time, a subtask that got more objects
    /// still reads forward in time, and no row is late.
    pub(super) unread: BTreeMap<String, Position>,
    /// Own key groups that a bounded table has not listed yet; irrelevant for a watched one.
    pub(super) unlisted: BTreeSet<u16>,
    pub(super) events: mpsc::Sender<Event>,
}

/// Retries while the store does not respond.
async fn patiently<T, F>(mut action: impl FnMut() -> F) -> Result<T, StorageError>
where
    F: Future<Output = Result<T, StorageError>>,
{
    for pause in PAUSES_MS {
        match action().await {
            Err(StorageError::Unavailable { .. }) => {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            other => return other,
        }
    }
    action().await
}

/// A version without the quotes that some servers put around it, and without what follows a
/// semicolon: a directory identifies the file there, and a restart may find a copy of it with
/// another identity.
fn version(etag: &str) -> &str {
    let bare = etag.trim_matches('"');
    bare.split_once(';').map_or(bare, |(lasting, _)| lasting)
}

/// A large object that is read in parts, all of one version.
struct Ranges<'a> {
    reader: &'a Reader,
    key: &'a str,
    position: &'a Position,
    /// As the store names it.
    version: &'a str,
}

impl Ranges<'_> {
    async fn fetch(&self, range: Range<u64>) -> Result<Bytes, Stop> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let store = &self.reader.store;
        let fetched = patiently(|| store.get_range_of(self.key, self.version, range.clone())).await;
        match fetched {
            Err(StorageError::Precondition { .. }) => {
                let etag = version(self.version);
                Err(self.reader.replaced(self.key, self.position, etag).await)
            }
            fetched => Ok(fetched.map_err(|error| self.reader.storage(error))?),
        }
    }
}

impl Reader {
    /// Reads until everything is read, the source is gone, or something fails.
    pub(super) async fn run(mut self) {
        if let Err(Stop::Failed(error)) = self.read_all().await {
            // A source that is gone needs no error.
            let _ = self.send(Event::Failed(error)).await;
        }
    }

    async fn read_all(&mut self) -> Result<(), Stop> {
        let mut sizes = HashMap::new();
        let mut due = Instant::now();
        loop {
            let listing_due = match self.options.monitor {
                Some(_) => Instant::now() >= due,
                None => !self.unlisted.is_empty(),
            };
            if listing_due {
                sizes.extend(self.list().await?);
                due = Instant::now() + self.options.monitor.unwrap_or_default();
            }
            if let Some((key, position)) = self.unread.pop_first() {
                let size = sizes.remove(&key);
                self.read(key, position, size).await?;
            } else if self.options.monitor.is_some() {
                tokio::time::sleep_until(due).await;
            } else {
                return self.send(Event::AllRead).await;
            }
        }
    }

    async fn send(&self, event: Event) -> Result<(), Stop> {
        self.events.send(event).await.map_err(|_| Stop::Gone)?;
        (self.context.wake)();
        Ok(())
    }

    fn storage(&self, source: StorageError) -> ConnectorError {
        ConnectorError::Storage {
            table: self.context.table.name.clone(),
            source,
        }
    }

    fn uri(&self, key: &str) -> String {
        format!("{}/{key}", self.store.describe())
    }

    fn record(&self, key: &str, line: u64, detail: String) -> ConnectorError {
        ConnectorError::Record {
            table: self.context.table.name.clone(),
            object: self.uri(key),
            line,
            detail,
        }
    }

    fn changed(&self, key: &str, position: &Position, now: &str) -> ConnectorError {
        let detail = format!(
            "the object was replaced while it was being read (version {} is now {}): its rows up to \
             here are counted already and cannot be told from new ones; put the former content \
             back, or give new content a new name",
            position.etag, now
        );
        self.record(key, position.line, detail)
    }

    /// Lists new objects and returns their sizes.
    async fn list(&mut self) -> Result<HashMap<String, u64>, Stop> {
        let listed = patiently(|| self.store.list(self.place.prefix())).await;
        let mut listed = listed.map_err(|error| self.storage(error))?;
        listed.retain(|object| self.place.holds(object));
        let watched = self.options.monitor.is_some();
        if listed.is_empty() && self.known.is_empty() && !watched {
            let detail = format!(
                "option 'path': there is no object at or below {} (names that start with '.' or '_' \
                 do not count); correct the path, or set 'source.monitor-interval' to wait for some",
                self.options.path
            );
            return Err(Stop::Failed(ConnectorError::Option {
                table: self.context.table.name.clone(),
                option: Some("path".to_owned()),
                detail,
            }));
        }
        let groups = self.context.max_parallelism();
        listed.retain(|object| {
            let group = key_group(object.key.as_bytes(), groups);
            self.context.owns(group)
                && (watched || self.unlisted.contains(&group))
                && self.known.insert(object.key.clone())
        });
        for object in &listed {
            self.unread.insert(object.key.clone(), Position::start());
        }
        let key_groups = if watched {
            Vec::new()
        } else {
            std::mem::take(&mut self.unlisted).into_iter().collect()
        };
        let objects = listed.iter().map(|object| object.key.clone()).collect();
        self.send(Event::Listed {
            objects,
            key_groups,
        })
        .await?;
        Ok(listed
            .into_iter()
            .map(|object| (object.key, object.size))
            .collect())
    }

    /// The object that is now stored under a key.
    async fn look_up(&self, key: &str) -> Result<ObjectMeta, ConnectorError> {
        let listed = patiently(|| self.store.list(key)).await;
        let listed = listed.map_err(|error| self.storage(error))?;
        listed
            .into_iter()
            .find(|object| object.key == key)
            .ok_or_else(|| {
                self.storage(StorageError::NotFound {
                    action: "ListObjectsV2",
                    at: self.uri(key),
                })
            })
    }

    async fn read(&self, key: String, position: Position, size: Option<u64>) -> Result<(), Stop> {
        let size = match size {
            Some(size) => size,
            None => self.look_up(&key).await?.size,
        };
        let etag = if size <= WHOLE {
            self.read_whole(&key, &position).await?
        } else {
            self.read_ranges(&key, &position).await?
        };
        self.send(Event::Finished {
            key: key.into(),
            etag,
        })
        .await
    }

    /// Whether an object is compressed, by its name or else by how it starts.
    fn is_compressed(&self, key: &str, position: &Position, start: &[u8]) -> Result<bool, Stop> {
        let named = compression::by_name(key);
        // A line of BYTES may start with any bytes.
        let seen = match named {
            Ok(false) if !self.options.format.is_raw_bytes(&self.context.table) => {
                compression::by_content(start)
            }
            named => named,
        };
        seen.map_err(|detail| self.record(key, position.line, detail).into())
    }

    /// A decoder that starts at a position.
    fn stream(&self, position: &Position, compressed: bool) -> Result<ObjectDecoder, Stop> {
        let (format, table) = (&self.options.format, &self.context.table);
        Ok(ObjectDecoder::new(
            format,
            table,
            position.mark(),
            compressed,
        )?)
    }

    fn check_version(&self, key: &str, position: &Position, now: &str) -> Result<Arc<str>, Stop> {
        let now = version(now);
        if position.offset > 0 && position.etag != now {
            return Err(self.changed(key, position, now).into());
        }
        Ok(now.into())
    }

    /// The error of a read that found another version than `etag`.
    async fn replaced(&self, key: &str, position: &Position, etag: &str) -> Stop {
        let now = match self.look_up(key).await {
            Ok(now) => now.etag,
            Err(error) => return error.into(),
        };
        let read = Position {
            etag: etag.to_owned(),
            ..position.clone()
        };
        self.changed(key, &read, version(&now)).into()
    }

    /// Reads a small object by one request, which also returns its version.
    async fn read_whole(&self, key: &str, position: &Position) -> Result<Arc<str>, Stop> {
        let object = match patiently(|| self.store.get(key)).await {
            Err(StorageError::Precondition { .. }) => {
                return Err(self.replaced(key, position, &position.etag).await);
            }
            object => object.map_err(|error| self.storage(error))?,
        };
        let etag = self.check_version(key, position, &object.etag)?;
        let compressed = self.is_compressed(key, position, &object.bytes)?;
        let stream = self.stream(position, compressed)?;
        let skip = if compressed {
            0
        } else {
            usize::try_from(position.offset).unwrap_or(usize::MAX)
        };
        let rest = object.bytes.slice(skip.min(object.bytes.len())..);
        let stream = self.decode(key, &etag, stream, rest, true).await?;
        self.finish(key, &etag, stream).await?;
        Ok(etag)
    }

    /// Reads a large object in ranges, decoding one while the next is on its way. Every range is of
    /// the version that was looked up at the start: no row of another one is ever decoded.
    async fn read_ranges(&self, key: &str, position: &Position) -> Result<Arc<str>, Stop> {
        let object = self.look_up(key).await?;
        let etag = self.check_version(key, position, &object.etag)?;
        let read = Ranges {
            reader: self,
            key,
            position,
            version: &object.etag,
        };
        let magic = read
            .fetch(0..object.size.min(compression::MAGIC as u64))
            .await?;
        let compressed = self.is_compressed(key, position, &magic)?;
        let mut stream = self.stream(position, compressed)?;
        let start = if compressed { 0 } else { position.offset };
        let range = |start: u64| start..(start + RANGE).min(object.size);
        let mut ahead = range(start);
        let mut chunk = read.fetch(ahead.clone()).await?;
        loop {
            let next = range(ahead.end);
            if next.is_empty() {
                stream = self.decode(key, &etag, stream, chunk, true).await?;
                break;
            }
            let (decoded, fetched) = tokio::join!(
                self.decode(key, &etag, stream, chunk, false),
                read.fetch(next.clone())
            );
            stream = decoded?;
            chunk = fetched?;
            ahead = next;
        }
        if version(&self.look_up(key).await?.etag) != &*etag {
            return Err(self.replaced(key, position, &etag).await);
        }
        self.finish(key, &etag, stream).await?;
        Ok(etag)
    }

    /// Decodes a chunk beside the runtime's threads and hands its full batches over.
    async fn decode(
        &self,
        key: &str,
        etag: &Arc<str>,
        mut stream: ObjectDecoder,
        chunk: Bytes,
        last: bool,
    ) -> Result<ObjectDecoder, Stop> {
        stream.push(chunk, last);
        loop {
            let step = tokio::task::spawn_blocking(move || {
                let step = stream.step();
                (stream, step)
            });
            let (back, step) = step.await.map_err(|_| Stop::Gone)?;
            stream = back;
            match step {
                Ok(Step::More) => return Ok(stream),
                Ok(Step::Rows(decoded)) => self.hand_over(key, etag, decoded).await?,
                Err(broken) => {
                    // The rows before the bad record are good.
                    self.finish(key, etag, stream).await?;
                    return Err(self.broken(key, broken).into());
                }
            }
        }
    }

    /// Hands over the rows of the last, incomplete batch.
    async fn finish(
        &self,
        key: &str,
        etag: &Arc<str>,
        mut stream: ObjectDecoder,
    ) -> Result<(), Stop> {
        let rest = stream.rest().map_err(|broken| self.broken(key, broken))?;
        self.hand_over(key, etag, rest).await
    }

    async fn hand_over(&self, key: &str, etag: &Arc<str>, decoded: Decoded) -> Result<(), Stop> {
        if decoded.is_empty() {
            return Ok(());
        }
        self.send(Event::Rows {
            key: key.into(),
            etag: etag.clone(),
            decoded,
        })
        .await
    }

    fn broken(&self, key: &str, broken: DecodeError) -> ConnectorError {
        match broken {
            DecodeError::Record(bad) => self.record(key, bad.line, bad.detail),
            DecodeError::Compression(error) => self.record(
                key,
                0,
                format!("the gzip stream is damaged or cut off: {error}"),
            ),
        }
    }
}
