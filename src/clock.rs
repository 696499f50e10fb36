//! The only place that asks what time it is.

use k8s_openapi::jiff::Timestamp;

/// Now, to the millisecond.
#[expect(clippy::disallowed_methods, reason = "this is the clock; everything else is given the time")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
