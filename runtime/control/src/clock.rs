//! The process clock: the only place of this crate that reads the time.

/// Milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "the process clock")]
pub fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

/// A monotonous instant.
pub fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
