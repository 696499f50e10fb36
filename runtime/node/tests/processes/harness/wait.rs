//! Waiting for a condition.

use std::time::Duration;

use tokio::time::Instant;

/// Longest wait for something that takes a second or two; reached only when it will not happen.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(40);

/// Looks until there is an answer; without one in time, says what was seen last.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, String> {
    let deadline = Instant::now() + limit;
    loop {
        let seen = match look().await {
            Ok(answer) => return Ok(answer),
            Err(seen) => seen,
        };
        if Instant::now() >= deadline {
            return Err(format!("not within {limit:?}: {what}; last seen: {seen}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same for what must happen.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    match within(PATIENCE, what, look).await {
        Ok(answer) => answer,
        Err(message) => panic!("{message}"),
    }
}
