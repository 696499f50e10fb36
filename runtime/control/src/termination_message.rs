//! The termination message of the container: what Kubernetes shows of a process that ended.

use std::{fs, path::Path};

/// Where Kubernetes reads a container's last words from.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// Kubernetes keeps this many bytes of it.
const TERMINATION_LIMIT: usize = 4096;

/// Leaves `message` as the container's last words, where the platform offers a place for them.
pub fn write_termination_message(message: &str) {
    write_message_at(Path::new(TERMINATION_LOG), message);
}

fn write_message_at(path: &Path, message: &str) {
    // Never create the file: outside a pod there is none.
    if !path.exists() {
        return;
    }
    let mut end = message.len().min(TERMINATION_LIMIT);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    if let Err(error) = fs::write(path, &message[..end]) {
        tracing::debug!(%error, "cannot write {}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_cut_at_a_character_and_never_create_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("termination-log");
        write_message_at(&file, "lost");
        assert!(!file.exists());
        fs::write(&file, "").unwrap();
        write_message_at(&file, &"ä".repeat(TERMINATION_LIMIT));
        let left = fs::read_to_string(&file).unwrap();
        assert_eq!(left.len(), TERMINATION_LIMIT);
    }
}
