//! Names of the objects of state layout v1. The only place that builds one.

/// Keys below one job's root, `<prefix>/<namespace>/<name>` inside the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePaths {
    root: String,
}

impl StatePaths {
    /// Paths of a job below a storage prefix (no leading or trailing slash; may be empty).
    pub fn new(prefix: &str, namespace: &str, job: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        let root = if prefix.is_empty() {
            format!("{namespace}/{job}")
        } else {
            format!("{prefix}/{namespace}/{job}")
        };
        Self { root }
    }

    /// Paths below exactly this root, as for a local run.
    pub fn at(root: &str) -> Self {
        Self {
            root: root.trim_matches('/').to_owned(),
        }
    }

    /// The job's root.
    pub fn root(&self) -> &str {
        &self.root
    }

    fn below(&self, rest: &str) -> String {
        if self.root.is_empty() {
            rest.to_owned()
        } else {
            format!("{}/{rest}", self.root)
        }
    }

    /// The authority; changed only by compare-and-swap.
    pub fn head(&self) -> String {
        self.below("HEAD.json")
    }

    /// Manifest of a checkpoint, written once by one attempt.
    pub fn manifest(&self, checkpoint: u64, attempt: u64) -> String {
        self.below(&format!("chk/{checkpoint:012}/{attempt}/manifest.json"))
    }

    /// Manifest of a savepoint that becomes this checkpoint; `unique` is a ULID, because the writer
    /// does not own the attempt yet.
    pub fn imported_manifest(&self, checkpoint: u64, attempt: u64, unique: &str) -> String {
        self.below(&format!(
            "chk/{checkpoint:012}/{attempt}/manifest-{unique}.json"
        ))
    }

    /// Prefix of all manifests.
    pub fn manifests(&self) -> String {
        self.below("chk/")
    }

    /// Runs of one worker in one checkpoint; `unique` is a ULID, so that nothing is ever
    /// overwritten.
    pub fn data(&self, checkpoint: u64, attempt: u64, worker: u32, unique: &str) -> String {
        self.below(&format!(
            "data/{checkpoint:012}-{attempt}-{worker}-{unique}"
        ))
    }

    /// Prefix of all data objects.
    pub fn data_prefix(&self) -> String {
        self.below("data/")
    }

    /// Checkpoint and attempt encoded in the key of a data object or manifest of this job, if it is
    /// one.
    pub fn checkpoint_of(&self, key: &str) -> Option<(u64, u64)> {
        if let Some(rest) = key.strip_prefix(&self.data_prefix()) {
            let mut parts = rest.split('-');
            return Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?));
        }
        let mut parts = key.strip_prefix(&self.manifests())?.split('/');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// The plan with this hash.
    pub fn plan(&self, plan_hash: &str) -> String {
        self.below(&format!("plan/{plan_hash}.json"))
    }

    /// Copy of a past HEAD, for people.
    pub fn history(&self, seq: u64) -> String {
        self.below(&format!("history/{seq:012}.json"))
    }

    /// Folder of a named savepoint of this job when the request names no other place.
    pub fn savepoint(&self, name: &str) -> String {
        self.below(&format!("savepoints/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_frozen() {
        let paths = StatePaths::new("/state/", "flights", "delays");
        assert_eq!(paths.head(), "state/flights/delays/HEAD.json");
        assert_eq!(
            paths.manifest(7, 3),
            "state/flights/delays/chk/000000000007/3/manifest.json"
        );
        assert_eq!(
            paths.data(7, 3, 1, "01J"),
            "state/flights/delays/data/000000000007-3-1-01J"
        );
        assert_eq!(
            paths.checkpoint_of(&paths.data(7, 3, 1, "01J")),
            Some((7, 3))
        );
        assert_eq!(paths.checkpoint_of(&paths.manifest(7, 3)), Some((7, 3)));
        let imported = paths.imported_manifest(7, 3, "01J");
        assert_eq!(
            imported,
            "state/flights/delays/chk/000000000007/3/manifest-01J.json"
        );
        assert_eq!(paths.checkpoint_of(&imported), Some((7, 3)));
        assert_eq!(paths.checkpoint_of(&paths.head()), None);
        assert_eq!(StatePaths::at("").head(), "HEAD.json");
    }
}
