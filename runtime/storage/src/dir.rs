//! A local directory as a store, for a single process without S3 and for tests.
//!
//! An object is a file, its version a hash of its content; in a listing, which reads no content,
//! the version is length, time of change and identity of the file. Writes go to a temporary file
//! that is renamed. A conditional write happens under an exclusive lock of a file beside the
//! object, which the kernel gives back when its holder dies. That is right for processes of one
//! machine; a network file system may not keep the promise.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;

use crate::{
    Begin, Condition, Object, ObjectMeta, ObjectStore, StorageError, StoreFuture, memory::outside,
};

/// Prefix of the store's own files. No key may have such a component, and no listing shows one.
const OWN: &str = ".streamkeeper-";

/// A store in a local directory, made by the first write.
#[derive(Debug, Clone)]
pub struct DirStore {
    root: PathBuf,
    /// Folder that no file may lie outside of, links followed.
    within: Option<PathBuf>,
}

impl DirStore {
    /// The store below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            within: None,
        }
    }

    /// Returns this store restricted to `folder`: it refuses files outside, also those that a link
    /// leads to.
    #[must_use]
    pub fn within(self, folder: impl Into<PathBuf>) -> Self {
        Self {
            within: Some(folder.into()),
            ..self
        }
    }

    fn at(&self, key: &str) -> String {
        format!("file://{}/{key}", self.root.display())
    }

    /// The file of a key; keys that could leave the directory are refused.
    fn file(&self, action: &'static str, key: &str) -> Result<PathBuf, StorageError> {
        let bad =
            |part: &str| part.is_empty() || part == "." || part == ".." || part.starts_with(OWN);
        if key.split('/').any(bad) || key.contains(['\0', '\\']) {
            let detail =
                "not a key: parts between slashes may not be empty, '.' or '..'".to_owned();
            return Err(StorageError::Invalid {
                action,
                at: self.at(key),
                detail,
            });
        }
        let path = self.root.join(key);
        match &self.within {
            Some(folder) if !lies_within(&path, folder) => Err(StorageError::AccessDenied {
                action,
                at: self.at(key),
                detail: format!("a link leads out of {}", folder.display()),
            }),
            _ => Ok(path),
        }
    }

    fn failed(&self, action: &'static str, key: &str, error: &io::Error) -> StorageError {
        let at = self.at(key);
        match error.kind() {
            io::ErrorKind::NotFound => StorageError::NotFound { action, at },
            io::ErrorKind::NotADirectory if action == "GetObject" || action == "DeleteObject" => {
                StorageError::NotFound { action, at }
            }
            io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists => StorageError::Invalid {
                action,
                at,
                detail: "in a directory no object can have the name of a folder".to_owned(),
            },
            io::ErrorKind::PermissionDenied => StorageError::AccessDenied {
                action,
                at,
                detail: error.to_string(),
            },
            _ => StorageError::Unavailable {
                action,
                at,
                detail: error.to_string(),
            },
        }
    }

    fn read(&self, key: &str) -> Result<Object, StorageError> {
        let path = self.file("GetObject", key)?;
        let failed = |error: io::Error| self.failed("GetObject", key, &error);
        let mut file = File::open(path).map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0));
        file.read_to_end(&mut bytes).map_err(failed)?;
        self.unchanged(key, &version(&before).map_err(failed)?, &file)?;
        let etag = etag(&bytes);
        Ok(Object {
            bytes: bytes.into(),
            etag,
        })
    }

    /// The begin of a file; its version is that of a listing.
    fn first(&self, key: &str, len: u64) -> Result<Begin, StorageError> {
        let path = self.file("GetObject", key)?;
        let failed = |error: io::Error| self.failed("GetObject", key, &error);
        let mut file = File::open(path).map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        let etag = version(&before).map_err(failed)?;
        let mut bytes = Vec::new();
        (&mut file)
            .take(len)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        self.unchanged(key, &etag, &file)?;
        Ok(Begin {
            bytes: bytes.into(),
            size: before.len(),
            etag,
        })
    }

    /// Refuses a file that is not of this version.
    fn unchanged(&self, key: &str, wanted: &str, file: &File) -> Result<(), StorageError> {
        let now = file.metadata().and_then(|now| version(&now));
        let now = now.map_err(|error| self.failed("GetObject", key, &error))?;
        if now == wanted {
            return Ok(());
        }
        let (action, at) = ("GetObject", self.at(key));
        Err(StorageError::Precondition { action, at })
    }

    /// Reads a part of a file, of this version if one is given. The version is checked before and
    /// after the bytes are read, so that a change in between never yields bytes of two versions.
    fn read_range(
        &self,
        key: &str,
        wanted: Option<&str>,
        range: &Range<u64>,
    ) -> Result<Bytes, StorageError> {
        let path = self.file("GetObject", key)?;
        let failed = |error: io::Error| self.failed("GetObject", key, &error);
        let mut file = File::open(path).map_err(failed)?;
        if let Some(wanted) = wanted {
            self.unchanged(key, wanted, &file)?;
        }
        let size = file.metadata().map_err(failed)?.len();
        let length = range
            .end
            .checked_sub(range.start)
            .filter(|_| range.end <= size);
        let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else {
            return Err(outside(range, size, self.at(key)));
        };
        let mut bytes = vec![0; length];
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        let read = file.read_exact(&mut bytes);
        if let Some(wanted) = wanted {
            self.unchanged(key, wanted, &file)?;
        }
        read.map_err(failed)?;
        Ok(bytes.into())
    }

    fn write(
        &self,
        key: &str,
        bytes: &[u8],
        condition: &Condition,
    ) -> Result<String, StorageError> {
        let action = "PutObject";
        let path = self.file(action, key)?;
        let failed = |error: io::Error| self.failed(action, key, &error);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(failed)?;
        // The lock is held until this function returns.
        let (_lock, now) = match condition {
            Condition::Always => (None, None),
            Condition::Absent | Condition::Matches(_) => {
                let lock = File::create(folder.join(format!("{OWN}lock"))).map_err(failed)?;
                lock.lock().map_err(failed)?;
                let now = match self.read(key) {
                    Ok(object) => Some(object.etag),
                    Err(StorageError::NotFound { .. }) => None,
                    Err(error) => return Err(error),
                };
                (Some(lock), now)
            }
        };
        match (condition, now) {
            (Condition::Always, _) | (Condition::Absent, None) => {}
            (Condition::Matches(wanted), Some(now)) if *wanted == now => {}
            (Condition::Matches(_), None) => {
                return Err(StorageError::NotFound {
                    action,
                    at: self.at(key),
                });
            }
            (Condition::Absent | Condition::Matches(_), Some(_)) => {
                return Err(StorageError::Precondition {
                    action,
                    at: self.at(key),
                });
            }
        }
        replace(folder, &path, |file| file.write_all(bytes)).map_err(failed)?;
        Ok(etag(bytes))
    }

    fn remove(&self, key: &str) -> Result<(), StorageError> {
        let path = self.file("DeleteObject", key)?;
        match fs::remove_file(path).map_err(|error| self.failed("DeleteObject", key, &error)) {
            Err(StorageError::NotFound { .. }) => Ok(()),
            done => done,
        }
    }

    fn duplicate(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let source = self.file("CopyObject", from)?;
        let target = self.file("CopyObject", to)?;
        let mut source =
            File::open(source).map_err(|error| self.failed("CopyObject", from, &error))?;
        let failed = |error: io::Error| self.failed("CopyObject", to, &error);
        let folder = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(failed)?;
        replace(folder, &target, |file| {
            io::copy(&mut source, file).map(|_| ())
        })
        .map_err(failed)
    }

    fn entries(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError> {
        let action = "ListObjects";
        if !self.root.is_dir() {
            return Err(StorageError::NoSuchBucket {
                action,
                at: self.describe(),
            });
        }
        // Everything below the prefix lives in the folder that its last slash names.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let start = if folder.is_empty() {
            self.root.clone()
        } else {
            self.file(action, folder)?
        };
        let failed = |error: io::Error| self.failed(action, prefix, &error);
        let mut walk = Walk {
            root: &self.root,
            real_root: fs::canonicalize(&self.root).map_err(failed)?,
            prefix,
            above: Vec::new(),
            found: Vec::new(),
        };
        walk.folder(&start).map_err(failed)?;
        let mut found = walk.found;
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }
}

/// A listing in progress.
struct Walk<'a> {
    root: &'a Path,
    real_root: PathBuf,
    prefix: &'a str,
    /// Device and inode of the folders that are open: a link back to one of them is a loop.
    above: Vec<(u64, u64)>,
    found: Vec<ObjectMeta>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        // It may vanish as well.
        let Ok(here) = fs::metadata(folder) else {
            return Ok(());
        };
        self.above.push(identity(&here));
        for entry in entries {
            let path = entry?.path();
            let Some(key) = path.strip_prefix(self.root).ok().and_then(Path::to_str) else {
                continue;
            };
            if key
                .rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with(OWN))
            {
                continue;
            }
            // A file may vanish between the listing and the look at it.
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            let listed = key.starts_with(self.prefix);
            if metadata.is_dir() {
                if (listed || self.prefix.starts_with(key)) && !self.is_elsewhere(&path, &metadata)
                {
                    self.folder(&path)?;
                }
            // A pipe or a device is no object, and reading one may never end.
            } else if metadata.is_file() && listed {
                let modified = since_epoch(&metadata)?.as_millis();
                self.found.push(ObjectMeta {
                    key: key.to_owned(),
                    size: metadata.len(),
                    etag: version(&metadata)?,
                    modified_ms: i64::try_from(modified).unwrap_or(i64::MAX),
                });
            }
        }
        self.above.pop();
        Ok(())
    }

    /// Whether the files of a folder are listed under another name: the folder is one that is open
    /// already, reached by a link, or a link to one that this listing comes to by itself. Names
    /// that start with `.` or `_` do not count as such: tables leave them out.
    fn is_elsewhere(&self, path: &Path, metadata: &Metadata) -> bool {
        if self.above.contains(&identity(metadata)) {
            return true;
        }
        if !path.is_symlink() {
            return false;
        }
        let real = fs::canonicalize(path).ok();
        let below = real
            .as_deref()
            .and_then(|real| real.strip_prefix(&self.real_root).ok())
            .and_then(Path::to_str);
        below.is_some_and(|key| {
            key.starts_with(self.prefix) && !key.split('/').any(|part| part.starts_with(['.', '_']))
        })
    }
}

/// Device and inode of a file or folder.
fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn since_epoch(metadata: &Metadata) -> io::Result<Duration> {
    let modified = metadata.modified()?;
    Ok(modified.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The version of a file by what is known without reading it. What stands behind the semicolon, the
/// file's identity, may differ after the folder was mounted anew; what stands before it does not.
fn version(metadata: &Metadata) -> io::Result<String> {
    let (device, inode) = identity(metadata);
    let changed = since_epoch(metadata)?.as_nanos();
    Ok(format!(
        "\"{}-{changed};{device:x}-{inode:x}\"",
        metadata.len()
    ))
}

/// Whether a path lies below a folder once all links are followed. Of a path that does not exist
/// yet, the existing part is checked.
pub fn lies_within(path: &Path, folder: &Path) -> bool {
    let steps_back = |path: &Path| {
        path.components()
            .any(|part| matches!(part, Component::ParentDir))
    };
    let Ok(folder) = folder.canonicalize() else {
        return false;
    };
    if !path.is_absolute() || steps_back(path) {
        return false;
    }
    for part in path.ancestors() {
        // A dangling link exists as a link: a file created there would be created elsewhere.
        match fs::symlink_metadata(part) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(_) => return false,
            Ok(_) => {
                return part
                    .canonicalize()
                    .is_ok_and(|part| part.starts_with(&folder));
            }
        }
    }
    false
}

/// Writes a temporary file, makes it durable, and gives it its name in one step.
fn replace(
    folder: &Path,
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = folder.join(format!("{OWN}{}", ulid::Ulid::generate()));
    let written = File::create_new(&temporary).and_then(|mut file| {
        fill(&mut file)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&temporary);
        return renamed;
    }
    // A rename is durable once its directory is.
    File::open(folder)?.sync_all()
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{:032x}\"", xxhash_rust::xxh3::xxh3_128(bytes))
}

/// Runs blocking file I/O beside the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            let (action, at, detail) = ("file I/O", "file://".to_owned(), error.to_string());
            Err(StorageError::Unavailable { action, at, detail })
        })
}

impl ObjectStore for DirStore {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Object> {
        let (store, key) = (self.clone(), key.to_owned());
        Box::pin(blocking(move || store.read(&key)))
    }

    fn begin<'a>(&'a self, key: &'a str, len: u64) -> StoreFuture<'a, Begin> {
        let (store, key) = (self.clone(), key.to_owned());
        Box::pin(blocking(move || store.first(&key, len)))
    }

    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        let (store, key) = (self.clone(), key.to_owned());
        Box::pin(blocking(move || store.read_range(&key, None, &range)))
    }

    fn get_range_of<'a>(
        &'a self,
        key: &'a str,
        version: &'a str,
        range: Range<u64>,
    ) -> StoreFuture<'a, Bytes> {
        let (store, key, version) = (self.clone(), key.to_owned(), version.to_owned());
        Box::pin(blocking(move || {
            store.read_range(&key, Some(&version), &range)
        }))
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
        condition: Condition,
    ) -> StoreFuture<'a, String> {
        let (store, key) = (self.clone(), key.to_owned());
        Box::pin(blocking(move || store.write(&key, &bytes, &condition)))
    }

    fn delete<'a>(&'a self, key: &'a str) -> StoreFuture<'a, ()> {
        let (store, key) = (self.clone(), key.to_owned());
        Box::pin(blocking(move || store.remove(&key)))
    }

    /// The listed versions distinguish a changed file from an unchanged one, but differ from those
    /// of [`ObjectStore::get`].
    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.to_owned());
        Box::pin(blocking(move || store.entries(&prefix)))
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> StoreFuture<'a, ()> {
        let (store, from, to) = (self.clone(), from.to_owned(), to.to_owned());
        Box::pin(blocking(move || store.duplicate(&from, &to)))
    }

    fn describe(&self) -> String {
        format!("file://{}", self.root.display())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_that_a_link_leads_to_outside_the_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (scratch, secret) = (dir.path().join("scratch"), dir.path().join("secret"));
        fs::create_dir_all(scratch.join("table")).unwrap();
        fs::write(&secret, "key").unwrap();
        fs::write(scratch.join("table/rows"), "rows").unwrap();
        symlink(&secret, scratch.join("table/link")).unwrap();
        symlink(dir.path().join("none"), scratch.join("table/nowhere")).unwrap();
        let open = DirStore::new(scratch.join("table"));
        assert_eq!(open.read("link").unwrap().bytes, "key");
        let confined = open.within(&scratch);
        assert_eq!(confined.read("rows").unwrap().bytes, "rows");
        for key in ["link", "nowhere", "nowhere/x"] {
            let refused = confined.file("GetObject", key);
            assert!(
                matches!(refused, Err(StorageError::AccessDenied { .. })),
                "{key}: {refused:?}"
            );
        }
        assert!(confined.file("PutObject", "new/file").is_ok());
    }

    #[test]
    fn a_path_lies_within_a_folder_or_not_whatever_its_spelling() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        symlink("/proc/self", folder.join("me")).unwrap();
        let lies = |path: &str| lies_within(Path::new(path), folder);
        let at = folder.display();
        for path in [format!("{at}"), format!("{at}/a/b"), format!("{at}//a/./b")] {
            assert!(lies(&path), "{path}");
        }
        for path in [
            "/proc/self/environ".to_owned(),
            "/".to_owned(),
            String::new(),
            "a".to_owned(),
            format!("{at}2/a"),
            format!("{at}/../a"),
            format!("{at}/a/../../b"),
            format!("{at}/me/environ"),
        ] {
            assert!(!lies(&path), "{path}");
        }
    }
}
