//! Marks beside guards, so that a test can take them away one at a time and see that something
//! notices.
//!
//! `guard!("name": condition)` is the condition; whoever took `name` away sees it hold always.
//! `guard!("name": value, else other)` is the value, and the other for whoever took it away.
//! Outside of tests both are what stands behind the colon; nothing else is compiled.
//!
//! The operator's crate includes this file too: `cfg(test)` is each crate's own, so a crate between
//! them could not tell.

#[cfg(not(test))]
macro_rules! guard {
    ($name:literal: $value:expr, else $other:expr) => {
        $value
    };
    ($name:literal: $holds:expr) => {
        $crate::guard::holds($holds)
    };
}

/// Keeps a condition and what is made of it apart, so that no lint asks to turn a guard's words
/// around.
#[cfg(not(test))]
pub(crate) const fn holds(condition: bool) -> bool {
    condition
}

#[cfg(test)]
macro_rules! guard {
    ($name:literal: $value:expr, else $other:expr) => {
        if $crate::guard::is_away($name) {
            $other
        } else {
            $value
        }
    };
    ($name:literal: $holds:expr) => {
        ($holds || $crate::guard::is_away($name))
    };
}

#[cfg(test)]
#[allow(unused_imports, reason = "each crate takes what it needs")]
pub(crate) use tests::{fails_without, is_away, marked, without};

#[cfg(test)]
#[allow(dead_code, reason = "each crate takes what it needs")]
mod tests {
    use std::{
        cell::Cell,
        fs, panic,
        path::{Path, PathBuf},
        sync::Once,
    };

    thread_local! {
        static AWAY: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// Whether this thread took a guard away.
    pub(crate) fn is_away(name: &str) -> bool {
        AWAY.get() == Some(name)
    }

    /// Does something on this thread with one guard taken away.
    pub(crate) fn without<R>(name: &'static str, act: impl FnOnce() -> R) -> R {
        AWAY.set(Some(name));
        let result = act();
        AWAY.set(None);
        result
    }

    /// Whether a claim fails with one guard taken away. What it says is not printed.
    pub(crate) fn fails_without(name: &'static str, claim: fn()) -> bool {
        static QUIET: Once = Once::new();
        QUIET.call_once(|| {
            let loud = panic::take_hook();
            panic::set_hook(Box::new(move |why| {
                if AWAY.get().is_none() {
                    loud(why);
                }
            }));
        });
        without(name, || panic::catch_unwind(claim).is_err())
    }

    /// Names of the guards that are marked in the files below a folder of this crate.
    pub(crate) fn marked(folder: &str) -> Vec<&'static str> {
        let mut names = Vec::new();
        for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            for mark in text.split("guard!(").skip(1) {
                let name = mark.split('"').nth(1).unwrap();
                let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
                assert!(!names.contains(&name), "two guards are named `{name}`");
                names.push(name);
            }
        }
        names
    }

    /// All files below a folder that are Rust, in order.
    fn sources(folder: &Path) -> Vec<PathBuf> {
        let mut entries: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        let below = |path: PathBuf| match path.extension() {
            _ if path.is_dir() => sources(&path),
            Some(end) if end == "rs" => vec![path],
            _ => Vec::new(),
        };
        entries.into_iter().flat_map(below).collect()
    }
}
