//! Files that tests compare with and can rewrite.

use std::{env, fs, path::PathBuf};

/// A path below `tests/`.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// A file below `tests/`.
pub(crate) fn read(name: &str) -> String {
    let path = path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares with a file below `tests/`, or writes it.
pub(crate) fn same(name: &str, text: &str) {
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(path(name), text).unwrap();
        return;
    }
    let golden = fs::read_to_string(path(name)).unwrap_or_default();
    if golden == text {
        return;
    }
    let line = golden
        .lines()
        .zip(text.lines())
        .take_while(|(was, is)| was == is)
        .count();
    let nth = |text: &str| text.lines().nth(line).unwrap_or("<end>").to_owned();
    panic!(
        "{name} differs first in line {}:\n  was {}\n  is  {}\nlook at the change with: UPDATE_GENERATED=1 cargo test -p streamkeeper-sql && git diff runtime/sql/tests",
        line + 1,
        nth(&golden),
        nth(text)
    );
}
