//! Named steps at which a test lets the process die.
//!
//! `STREAMKEEPER_FAILPOINT=name[:count]` aborts the process when it passes the step for the
//! count-th time (1 by default). Without the variable a step costs one load.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Environment variable that names the step.
pub const VARIABLE: &str = "STREAMKEEPER_FAILPOINT";

/// All subtasks of a worker froze their state; nothing is written.
pub const CHECKPOINT_FROZEN: &str = "checkpoint-frozen";
/// A worker's data object is stored; the coordinator does not know.
pub const CHECKPOINT_STORED: &str = "checkpoint-stored";
/// A worker was told to commit; nothing is committed.
pub const COMMIT_ASKED: &str = "commit-asked";
/// A worker has committed some of its output, not all.
pub const COMMIT_HALF: &str = "commit-half";
/// A worker has committed everything; the coordinator does not know.
pub const COMMIT_DONE: &str = "commit-done";
/// The coordinator has the shares of all workers; no manifest is written.
pub const SHARES_COMPLETE: &str = "shares-complete";
/// The manifest is written; HEAD does not name it.
pub const MANIFEST_WRITTEN: &str = "manifest-written";
/// HEAD names the checkpoint; no worker was told to commit.
pub const HEAD_WRITTEN: &str = "head-written";
/// All workers have committed; HEAD does not say so.
pub const COMMITS_CONFIRMED: &str = "commits-confirmed";
/// The final checkpoint is complete and committed; HEAD names no successor.
pub const HAND_OVER_READY: &str = "hand-over-ready";
/// HEAD names the successor; the successor was not told.
pub const HANDED_OVER: &str = "handed-over";

/// HEAD names a stop's savepoint and the stop that asked for it; nothing is copied.
pub const STOP_PINNED: &str = "stop-pinned";
/// A stop's savepoint is complete; HEAD does not say that the job has stopped.
pub const STOP_SAVED: &str = "stop-saved";

/// A savepoint's objects are copied among the job's; no manifest names them.
pub const SAVEPOINT_COPIED: &str = "savepoint-copied";
/// The manifest of that copy is written; HEAD does not name it.
pub const SAVEPOINT_IMPORTED: &str = "savepoint-imported";
/// HEAD names it, and no process knows yet.
pub const SAVEPOINT_CLAIMED: &str = "savepoint-claimed";

struct Armed {
    name: String,
    left: AtomicU64,
}

/// Dies here if the environment says so.
pub fn pass(name: &str) {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| std::env::var(VARIABLE).ok().and_then(|value| parse(&value)));
    let Some(armed) = armed.as_ref().filter(|armed| armed.name == name) else {
        return;
    };
    if armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        tracing::error!(step = name, "dying, as {VARIABLE} says");
        std::process::abort();
    }
}

fn parse(value: &str) -> Option<Armed> {
    let (name, count) = value.split_once(':').unwrap_or((value, "1"));
    let count = count.parse().ok().filter(|count| *count > 0)?;
    Some(Armed {
        name: name.to_owned(),
        left: AtomicU64::new(count),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_may_follow_the_name() {
        let armed = parse("commit-asked:3").unwrap();
        assert_eq!(
            (armed.name.as_str(), armed.left.into_inner()),
            ("commit-asked", 3)
        );
        assert_eq!(parse("commit-asked").unwrap().left.into_inner(), 1);
        assert!(parse("commit-asked:0").is_none() && parse("commit-asked:x").is_none());
        pass("a step that nobody armed");
    }
}
