//! What happens next to jobs and snapshots, decided by two pure functions, [`plan`] and
//! [`plan_snapshot`](snapshots::plan_snapshot). No I/O, no clock, no state of its own: facts in,
//! plan out.
//!
//! In reading order:
//! * [`observed`]: the facts about a job; each is `Known` or `Unknown`, and a missing fact never
//!   starts anything.
//! * [`settings`], [`allowed_places`]: the operator's configuration, as far as decisions depend on
//!   it. [`grant`](mod@grant): where in object stores the operator may act with its own
//!   credentials.
//! * [`revision`]: the content of a revision, as its ControllerRevision keeps it.
//! * [`plan`](mod@plan): input and output of a decision: who has the job, what the spec asks for,
//!   which effects follow.
//! * `decide`: the function [`plan()`] itself.
//! * [`transitions`]: the transitions of a job, their steps and the legal edges between them.
//! * [`snapshots`]: how a StreamSnapshot is taken, kept and removed.
//! * `upkeep`: what is due in every state: lost nodes, leftovers, NetworkPolicy, disruption budget.
//! * `status`: what the status says: observations, failures, conditions.
//!
//! The proofs stand apart, in `tests`: a grid of all steps and facts, a model of operator,
//! coordinators and pods, and a run of both without each guard.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod allowed_places;
mod decide;
pub mod grant;
pub mod observed;
pub mod plan;
pub mod revision;
pub mod settings;
pub mod snapshots;
mod status;
#[cfg(test)]
mod tests;
pub mod transitions;
mod upkeep;

pub use self::{
    allowed_places::AllowedPlaces,
    decide::plan,
    grant::{Grant, NotAllowed, grant},
    observed::{
        facts::{
            Fact, HeldNode, Observed, PodFacts, PolicyFacts, Refusal, RevisionFacts, SnapshotFacts,
            StatefulSetFacts, Terminated, Unapplied, Unknown, Waiting,
        },
        from_kubernetes::{
            Child, Children, KeptPod, KeptPolicy, KeptRecord, lost_nodes, revision_of,
        },
        head_from_pods::told_head,
    },
    plan::action::{Action, Event, EventKind, JobCall, Plan, Trigger},
    plan::input::Input,
    plan::required_reads::{RequiredReads, required_reads},
    revision::{
        record::{Content, RevisionRecord, Tls},
        storage::ResolvedStorage,
    },
    settings::Settings,
    upkeep::lost_node::is_outage,
};
