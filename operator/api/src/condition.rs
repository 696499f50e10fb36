//! Condition types, reasons, and how they change.
//!
//! The rules of kstatus hold: `Reconciling` and `Stalled` are present only when True and never
//! together; every condition carries the generation it speaks of; the transition time moves only
//! when the status does.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// Types of conditions.
pub mod kind {
    /// The spec is realised: the job runs as written, is suspended as asked, or has completed.
    pub const READY: &str = "Ready";
    /// Records flow now.
    pub const RUNNING: &str = "Running";
    /// Checkpoints complete in time.
    pub const CHECKPOINTS_HEALTHY: &str = "CheckpointsHealthy";
    /// The job is suspended with its state kept.
    pub const SUSPENDED: &str = "Suspended";
    /// The operator looks into the store of the job; present only when False: its own configuration
    /// does not allow that.
    pub const STORAGE_READ: &str = "StorageRead";
    /// The operator is on its way to the spec; present only when True.
    pub const RECONCILING: &str = "Reconciling";
    /// The operator cannot reach the spec without help; present only when True.
    pub const STALLED: &str = "Stalled";
}

/// Why the operator is not done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Reconciling {
    Provisioning,
    Preparing,
    HandingOver,
    Verifying,
    Restarting,
    Restoring,
    Rescaling,
    RollingBack,
    Suspending,
    Resuming,
    Deleting,
}

/// Why the operator cannot go on without help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Stalled {
    InvalidSpec,
    InvalidSql,
    StateIncompatible,
    StateInUse,
    StorageAccessDenied,
    StorageUnreachable,
    SnapshotNotFound,
    RestoreFailed,
    BadRecord,
    SavepointFailed,
    UpgradeRolledBack,
    ImagePullFailed,
    Unschedulable,
    QuotaExceeded,
    CrashLooping,
    SinkCommitLost,
    UnsupportedVersion,
    ProgressDeadlineExceeded,
}

impl Reconciling {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::Provisioning,
        Self::Preparing,
        Self::HandingOver,
        Self::Verifying,
        Self::Restarting,
        Self::Restoring,
        Self::Rescaling,
        Self::RollingBack,
        Self::Suspending,
        Self::Resuming,
        Self::Deleting,
    ];

    /// The reason as it stands in the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "Provisioning",
            Self::Preparing => "Preparing",
            Self::HandingOver => "HandingOver",
            Self::Verifying => "Verifying",
            Self::Restarting => "Restarting",
            Self::Restoring => "Restoring",
            Self::Rescaling => "Rescaling",
            Self::RollingBack => "RollingBack",
            Self::Suspending => "Suspending",
            Self::Resuming => "Resuming",
            Self::Deleting => "Deleting",
        }
    }
}

impl Stalled {
    /// Every reason.
    pub const ALL: [Self; 18] = [
        Self::InvalidSpec,
        Self::InvalidSql,
        Self::StateIncompatible,
        Self::StateInUse,
        Self::StorageAccessDenied,
        Self::StorageUnreachable,
        Self::SnapshotNotFound,
        Self::RestoreFailed,
        Self::BadRecord,
        Self::SavepointFailed,
        Self::UpgradeRolledBack,
        Self::ImagePullFailed,
        Self::Unschedulable,
        Self::QuotaExceeded,
        Self::CrashLooping,
        Self::SinkCommitLost,
        Self::UnsupportedVersion,
        Self::ProgressDeadlineExceeded,
    ];

    /// The reason as it stands in the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::InvalidSql => "InvalidSQL",
            Self::StateIncompatible => "StateIncompatible",
            Self::StateInUse => "StateInUse",
            Self::StorageAccessDenied => "StorageAccessDenied",
            Self::StorageUnreachable => "StorageUnreachable",
            Self::SnapshotNotFound => "SnapshotNotFound",
            Self::RestoreFailed => "RestoreFailed",
            Self::BadRecord => "BadRecord",
            Self::SavepointFailed => "SavepointFailed",
            Self::UpgradeRolledBack => "UpgradeRolledBack",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::Unschedulable => "Unschedulable",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::CrashLooping => "CrashLooping",
            Self::SinkCommitLost => "SinkCommitLost",
            Self::UnsupportedVersion => "UnsupportedVersion",
            Self::ProgressDeadlineExceeded => "ProgressDeadlineExceeded",
        }
    }

    /// The reason with this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// Status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    /// As it stands in the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Longest message of a condition; what is longer is cut.
pub const MESSAGE_LIMIT: usize = 2048;

/// A text as a sentence that another can follow: what ends in a mark of its own gets no full stop.
pub fn sentence(text: &str) -> String {
    let stop = if text.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{text}{stop}")
}

/// Sets a condition. The transition time moves only when the status does; conditions stay sorted by
/// type.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    truth: Truth,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let mut message = message.to_owned();
    if message.len() > MESSAGE_LIMIT {
        let cut = (0..=MESSAGE_LIMIT - 3)
            .rev()
            .find(|&at| message.is_char_boundary(at))
            .unwrap_or(0);
        message.truncate(cut);
        message.push_str("...");
    }
    let old = conditions.iter().find(|condition| condition.type_ == kind);
    let since = old
        .filter(|old| old.status == truth.as_str())
        .map_or(Time(now), |old| old.last_transition_time.clone());
    let new = Condition {
        type_: kind.to_owned(),
        status: truth.as_str().to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since,
    };
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(new);
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
}

/// What an object's conditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is as its spec says.
    Ready,
    /// It is on its way there.
    Reconciling,
    /// It needs help to get there.
    Stalled,
}

/// Sets [`kind::READY`], [`kind::RECONCILING`] and [`kind::STALLED`] together, as the rules of
/// kstatus want them.
pub fn settle(
    conditions: &mut Vec<Condition>,
    state: State,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let ready = match state {
        State::Ready => Truth::True,
        State::Reconciling | State::Stalled => Truth::False,
    };
    set(
        conditions,
        kind::READY,
        ready,
        reason,
        message,
        generation,
        now,
    );
    for (kind, held_in) in [
        (kind::RECONCILING, State::Reconciling),
        (kind::STALLED, State::Stalled),
    ] {
        if state == held_in {
            set(
                conditions,
                kind,
                Truth::True,
                reason,
                message,
                generation,
                now,
            );
        } else {
            clear(conditions, kind);
        }
    }
}

/// Removes a condition, if present.
pub fn clear(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|condition| condition.type_ != kind);
}

/// The condition of a type, if present.
pub fn get<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether a condition is present and True.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    get(conditions, kind).is_some_and(|condition| condition.status == Truth::True.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_has_one_mark_at_its_end() {
        let ended = ["no room", "no room.", "did you mean SUM?"].map(sentence);
        assert_eq!(ended, ["no room.", "no room.", "did you mean SUM?"]);
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            kind::READY,
            Truth::False,
            "Preparing",
            "one",
            Some(1),
            at(10),
        );
        set(
            &mut conditions,
            kind::READY,
            Truth::False,
            "Verifying",
            "two",
            Some(2),
            at(20),
        );
        let ready = get(&conditions, kind::READY).unwrap();
        assert_eq!(
            (
                ready.last_transition_time.0,
                ready.message.as_str(),
                ready.observed_generation
            ),
            (at(10), "two", Some(2))
        );
        set(
            &mut conditions,
            kind::READY,
            Truth::True,
            "Running",
            "three",
            Some(2),
            at(30),
        );
        assert_eq!(
            get(&conditions, kind::READY)
                .unwrap()
                .last_transition_time
                .0,
            at(30)
        );
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            kind::READY,
            Truth::True,
            "Running",
            &"ä".repeat(3000),
            None,
            Timestamp::UNIX_EPOCH,
        );
        assert!(
            conditions[0].message.len() <= MESSAGE_LIMIT && conditions[0].message.ends_with("...")
        );
    }

    #[test]
    fn every_stalled_reason_is_found_by_its_name() {
        for reason in Stalled::ALL {
            assert_eq!(Stalled::named(reason.as_str()), Some(reason));
        }
    }
}
