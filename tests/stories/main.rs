//! Stories: the real controller in a world of its own, from what a user does to what a user sees.
//! Time moves only while every task waits, so hours pass in milliseconds and nothing depends on the
//! speed of the machine.
//!
//! * [`starting`], [`upgrading`], [`rolling_back`], [`scaling`], [`stopping`], [`failing`],
//!   [`restarting`]: what happens to jobs. [`keys`]: their certificates. [`protecting`]: their
//!   NetworkPolicies. [`temporary_failures`]: failures that pass.
//! * [`gitops`]: what Argo CD and Flux make of it.
//! * [`snapshots`], [`retaining`], [`restoring`]: snapshots, how long they stay, and going back to
//!   them.
//! * [`forgetting`]: what the operator remembers.
//! * [`leading`]: several replicas of the operator. [`lagging`]: caches that are late.
//!   [`storming`]: an API server that is slow, down or overloaded.
//! * [`crashing`]: the operator ends before and after every one of its calls.
//! * [`elsewhere`]: problems that users of other operators reported.
//! * [`poison`]: objects that cannot be read. [`accepted`]: every object that the API server
//!   accepts can be read.
//! * [`chains`]: edits drawn at random.
//! * [`documented_reasons`]: the reasons and events of all stories are those of `docs/events.md`.
//! * [`rbac`]: all of that needs exactly what the chart grants.
//! * [`self_testing`]: what `helm test` says when something is wrong.
//!
//! `STORY_LOG=debug cargo test --test stories NAME -- --nocapture` shows what the operator thinks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    unreachable_pub,
    missing_debug_implementations,
    reason = "tests"
)]

use std::{collections::BTreeSet, sync::LazyLock};

use streamkeeper_harness::{
    story::{Story, Telling, tell},
    world::Use,
};

/// A story and its name.
type Entry = (&'static str, fn(&mut Story) -> Telling<'_>);

/// What a story leaves behind.
struct Trace {
    story: &'static str,
    /// What the operator needed to be allowed.
    uses: BTreeSet<Use>,
    /// What it told people.
    told: BTreeSet<String>,
}

/// The traces of all stories, which are told once for all tests that ask.
static TRACES: LazyLock<Vec<Trace>> = LazyLock::new(|| {
    let trace = |(name, story): Entry| {
        tell(async |world| {
            story(world).await;
            Trace {
                story: name,
                uses: world.uses(),
                told: world.world().told.clone(),
            }
        })
    };
    all().into_iter().map(trace).collect()
});

/// Makes a test of each story, and a list of all of them.
macro_rules! stories {
    ($($name:ident),+ $(,)?) => {
        /// All stories of this module.
        pub fn all() -> Vec<crate::Entry> {
            vec![$((stringify!($name), |story| Box::pin($name(story)))),+]
        }

        mod told {
            $(#[test]
            fn $name() {
                streamkeeper_harness::story::tell(async |story| super::$name(story).await);
            })+
        }
    };
}

mod accepted;
mod chains;
mod crashing;
mod deleting;
mod disturbed;
mod documented_reasons;
mod editing;
mod elsewhere;
mod failing;
mod forgetting;
mod gitops;
mod keys;
mod lagging;
mod leading;
mod placing;
mod poison;
mod protecting;
mod rbac;
mod restarting;
mod restoring;
mod retaining;
mod rolling_back;
mod scaling;
mod self_testing;
mod snapshots;
mod starting;
mod stopping;
mod storming;
mod temporary_failures;
mod upgrading;

/// Every story but those about crashes, which ask for nothing else.
fn all() -> Vec<Entry> {
    [
        starting::all(),
        upgrading::all(),
        editing::all(),
        rolling_back::all(),
        scaling::all(),
        stopping::all(),
        deleting::all(),
        failing::all(),
        disturbed::all(),
        restarting::all(),
        forgetting::all(),
        gitops::all(),
        snapshots::all(),
        retaining::all(),
        restoring::all(),
        leading::all(),
        lagging::all(),
        placing::all(),
        poison::all(),
        storming::all(),
        keys::all(),
        protecting::all(),
        temporary_failures::all(),
        elsewhere::all(),
    ]
    .concat()
}
