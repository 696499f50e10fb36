//! How much memory there is, and what part of it sinks may fill.

use std::path::Path;

use streamkeeper_protocol::plan::SINK_BUFFER_BYTES;

/// Where a container finds its own limit: version 2 of cgroups, then version 1.
const LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// Version 1 says so, rounded to pages, where there is no limit.
const NO_LIMIT: u64 = i64::MAX as u64 - (1 << 20);

/// What a sink may always keep.
const LEAST: u64 = 8 << 20;

/// Sinks take this part of the memory together. Their rows lie in memory several times while a
/// checkpoint is written: in the buffer that doubles as it grows, in the object that is uploaded,
/// and until they are committed.
const SHARE: u64 = 8;

/// The memory limit of the container of this process, bytes; none outside containers.
pub(super) fn limit() -> Option<u64> {
    LIMITS
        .iter()
        .find_map(|path| read(Path::new(path)))
        .and_then(|text| parse(&text))
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The bytes in a file of cgroups; none for `max`.
fn parse(text: &str) -> Option<u64> {
    let bytes: Option<u64> = text.trim().parse().ok();
    bytes.filter(|bytes| (1..NO_LIMIT).contains(bytes))
}

/// What each subtask of a sink keeps in memory at most, bytes, where a worker of this limit runs
/// `slots` subtasks of `sinks` sinks.
pub(super) fn sink_buffer(limit: Option<u64>, slots: u32, sinks: usize) -> u64 {
    let Some(limit) = limit else {
        return SINK_BUFFER_BYTES;
    };
    let buffers = u64::from(slots).max(1).saturating_mul(sinks.max(1) as u64);
    (limit / SHARE.saturating_mul(buffers)).clamp(LEAST, SINK_BUFFER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn sinks_share_an_eighth_of_the_memory() {
        assert_eq!(sink_buffer(Some(2 * GIB), 1, 1), 256 * MIB);
        assert_eq!(sink_buffer(Some(2 * GIB), 4, 1), 64 * MIB);
        assert_eq!(sink_buffer(Some(2 * GIB), 4, 2), 32 * MIB);
    }

    #[test]
    fn a_sink_has_room_for_some_batches_and_never_more_than_without_a_limit() {
        assert_eq!(sink_buffer(Some(64 * MIB), 8, 8), 8 * MIB);
        assert_eq!(sink_buffer(Some(1 << 50), 1, 1), SINK_BUFFER_BYTES);
        assert_eq!(sink_buffer(None, 64, 64), SINK_BUFFER_BYTES);
        assert_eq!(sink_buffer(Some(GIB), 0, 0), 128 * MIB);
        assert_eq!(sink_buffer(Some(GIB), u32::MAX, usize::MAX), 8 * MIB);
    }

    #[test]
    fn a_limit_is_a_number_and_its_absence_has_two_names() {
        assert_eq!(parse("1073741824\n"), Some(GIB));
        for none in ["max\n", "9223372036854771712\n", "0", "", "soon"] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
