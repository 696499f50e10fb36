//! Marks beside guards, so that a test can take a guard away and see that some claim fails.
//!
//! `guard!("name": condition)` is the condition. On a thread where a test took `name` away it holds
//! always. `guard!("name": value, else other)` is the value, and `other` where a test took it away.
//!
//! The switch is the `cfg(test)` of the crate that writes `guard!`: a program outside of unit tests
//! is never compiled with it, so no image can take a guard away.

use std::{
    cell::Cell,
    fs, io, panic,
    path::{Path, PathBuf},
    sync::Once,
};

/// A condition or a value that a test can take away by its name.
#[macro_export]
macro_rules! guard {
    ($name:literal: $value:expr, else $other:expr) => {
        if cfg!(test) && $crate::is_away($name) {
            $other
        } else {
            $value
        }
    };
    ($name:literal: $holds:expr) => {
        ($crate::holds($holds) || (cfg!(test) && $crate::is_away($name)))
    };
}

thread_local! {
    static AWAY: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Returns the condition. A call keeps the condition and its use apart, so that no lint proposes to
/// turn the words of a guard around.
pub const fn holds(condition: bool) -> bool {
    condition
}

/// Whether this thread took a guard away.
pub fn is_away(name: &str) -> bool {
    AWAY.get() == Some(name)
}

/// Calls `act` on this thread with one guard taken away.
pub fn without<R>(name: &'static str, act: impl FnOnce() -> R) -> R {
    AWAY.set(Some(name));
    let result = act();
    AWAY.set(None);
    result
}

/// Whether a claim fails with one guard taken away. The panic of the claim is not printed.
pub fn fails_without(name: &'static str, claim: fn()) -> bool {
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

/// Names of the guards that are marked in the Rust files below a folder, in the order of the files.
/// Two guards of one name are an error, and so is a mark without a name.
pub fn marked(folder: &Path) -> io::Result<Vec<&'static str>> {
    let mut names = Vec::new();
    for file in sources(folder)? {
        let text = fs::read_to_string(&file)?;
        for mark in text.split("guard!(").skip(1) {
            let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
            let name = mark
                .split('"')
                .nth(1)
                .ok_or_else(|| invalid(format!("{}: a guard has no name", file.display())))?;
            if names.contains(&name) {
                return Err(invalid(format!("two guards are named `{name}`")));
            }
            names.push(Box::leak(name.to_owned().into_boxed_str()));
        }
    }
    Ok(names)
}

/// All Rust files below a folder, in order.
fn sources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{fails_without, is_away, without};

    #[test]
    fn a_guard_is_away_only_where_and_while_a_test_took_it_away() {
        let small = |number: u32| guard!("small": number < 10);
        assert!(small(9) && !small(10));
        assert!(without("small", || small(10)));
        assert!(!without("another", || small(10)));
        assert!(!small(10) && !is_away("small"));
        assert_eq!(guard!("least": 1, else 2), 1);
        assert_eq!(without("least", || guard!("least": 1, else 2)), 2);
    }

    #[test]
    fn a_claim_fails_only_without_the_guard_that_it_stands_on() {
        fn claim() {
            assert!(!guard!("even": 3 % 2 == 0));
        }
        assert!(fails_without("even", claim));
        assert!(!fails_without("odd", claim));
    }
}
