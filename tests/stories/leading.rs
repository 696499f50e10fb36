//! Several replicas of the operator and one Lease.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use serde_json::json;
use streamkeeper_harness::story::{Election, Story, tell};

use super::upgrading::running;

const LEASE: Duration = Duration::from_secs(15);
const ELECTION: Election = Election {
    lease: LEASE,
    bound: true,
    in_pods: true,
};

/// A job that runs, a leader, and a replica that stands by.
async fn two_replicas(story: &mut Story, election: Election) {
    story.elect(election);
    running(story).await;
    story.start_another_operator();
    story.pass(Duration::from_secs(5)).await;
    assert_eq!(story.leader().as_deref(), Some("streamkeeper-0"));
}

async fn upgrade(story: &mut Story) {
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.rolled_out("delays", 2).await;
}

/// Waits until another replica leads. Returns how long that took.
async fn followed(story: &mut Story) -> SignedDuration {
    let began = story.now();
    story
        .until("the other replica leads", |story| {
            story.leader().as_deref() == Some("streamkeeper-1")
        })
        .await;
    story.now().duration_since(began)
}

async fn a_replica_that_stands_by_writes_nothing(story: &mut Story) {
    two_replicas(story, ELECTION).await;
    upgrade(story).await;
    let work = story.work();
    assert!(!work.is_empty());
    let others: Vec<_> = work
        .iter()
        .filter(|(_, author, _)| author != "streamkeeper-0")
        .collect();
    assert!(others.is_empty(), "{others:#?}");
}

async fn a_leader_that_ends_well_is_followed_within_five_seconds(story: &mut Story) {
    two_replicas(story, ELECTION).await;
    let (began, ()) = (story.now(), story.terminate_operator().await);
    followed(story).await;
    let took = story.now().duration_since(began);
    assert!(took < SignedDuration::from_secs(5), "{took:#}");
    upgrade(story).await;
}

async fn a_leader_that_ends_in_the_middle_of_an_upgrade_leaves_it_to_the_next(story: &mut Story) {
    two_replicas(story, ELECTION).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.effect("create apps/statefulsets delays-r2").await;
    story.terminate_operator().await;
    story.rolled_out("delays", 2).await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!((head.revision, head.attempt), (2, 2), "one hand-over");
}

async fn a_leader_that_dies_is_followed_when_its_lease_is_over(story: &mut Story) {
    two_replicas(story, ELECTION).await;
    story.crash_first_operator();
    let took = followed(story).await;
    // The look before its last renewal, the duration, and the next look.
    assert!(
        took <= SignedDuration::from_secs(15 + 2 + 1),
        "after {took:#}"
    );
    upgrade(story).await;
}

/// The leader dies in the middle of an upgrade, and its container starts again after a second.
/// Returns how long no replica led.
async fn started_again(story: &mut Story, election: Election) -> SignedDuration {
    two_replicas(story, election).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.effect("create apps/statefulsets delays-r2").await;
    let (began, dead) = (story.now(), story.leading_process());
    story.crash_first_operator();
    story.pass(Duration::from_secs(1)).await;
    story.start_operator();
    story
        .until("another process leads", |story| {
            story.leading_process() != dead
        })
        .await;
    story.now().duration_since(began)
}

async fn a_leader_that_starts_again_in_its_pod_goes_on_within_five_seconds(story: &mut Story) {
    let took = started_again(story, ELECTION).await;
    assert_eq!(story.leader().as_deref(), Some("streamkeeper-0"));
    assert!(took < SignedDuration::from_secs(5), "{took:#}");
    story.rolled_out("delays", 2).await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!((head.revision, head.attempt), (2, 2), "one hand-over");
}

/// The negative control.
#[test]
fn a_leader_that_does_not_know_its_pod_waits_until_its_lease_is_over() {
    let nowhere = Election {
        in_pods: false,
        ..ELECTION
    };
    let took = tell(async |story| started_again(story, nowhere).await);
    assert!(took > SignedDuration::from_secs(10), "{took:#}");
}

async fn clocks_that_differ_by_an_hour_do_not_matter(story: &mut Story) {
    for hours in [1, -1] {
        story.stop_operator();
        story.clock_ahead = SignedDuration::ZERO;
        story.elect(ELECTION);
        story
            .until("the first replica leads", |story| {
                story.leader().as_deref() == Some("streamkeeper-0")
            })
            .await;
        story.clock_ahead = SignedDuration::from_hours(hours);
        story.start_another_operator();
        story
            .stays("the first replica leads", 20 * LEASE, |story| {
                story.leader().as_deref() == Some("streamkeeper-0")
            })
            .await;
    }
}

async fn an_api_server_that_is_away_for_longer_than_the_lease_costs_no_more_than_that(
    story: &mut Story,
) {
    two_replicas(story, ELECTION).await;
    story.connect_operator(false);
    followed(story).await;
    story.connect_operator(true);
    story.pass(Duration::from_secs(30)).await;
    assert_eq!(story.leader().as_deref(), Some("streamkeeper-1"));
    upgrade(story).await;
}

/// Cuts the leader off in the middle of an upgrade, with a write on its way, and mends the network
/// once another one leads. Returns what the first one wrote after that.
async fn late_writes(story: &mut Story, bound: bool) -> Vec<String> {
    let short = Election {
        lease: Duration::from_secs(6),
        bound,
        ..ELECTION
    };
    two_replicas(story, short).await;
    story.world().effects.clear();
    story.edit("delays", json!({ "image": "runtime:2" }));
    story
        .effect("update streamkeeper.dev/streamjobs/status delays")
        .await;
    story.connect_operator(false);
    followed(story).await;
    let since = story.now();
    story.pass(Duration::from_secs(2)).await;
    story.connect_operator(true);
    story.rolled_out("delays", 2).await;
    story.pass(Duration::from_mins(1)).await;
    story
        .work()
        .into_iter()
        .filter(|(at, author, _)| *at >= since && author == "streamkeeper-0")
        .map(|(_, _, effect)| effect)
        .collect()
}

async fn a_leader_that_was_cut_off_writes_nothing_once_another_one_leads(story: &mut Story) {
    let late = late_writes(story, true).await;
    assert!(late.is_empty(), "{late:#?}");
    let head = story.head("delays").expect("a HEAD");
    assert_eq!((head.revision, head.attempt), (2, 2), "one hand-over");
}

/// The negative control.
#[test]
fn writes_that_are_not_held_to_the_lease_come_late() {
    let late = tell(async |story| late_writes(story, false).await);
    assert!(!late.is_empty());
}

stories![
    a_replica_that_stands_by_writes_nothing,
    a_leader_that_ends_well_is_followed_within_five_seconds,
    a_leader_that_ends_in_the_middle_of_an_upgrade_leaves_it_to_the_next,
    a_leader_that_dies_is_followed_when_its_lease_is_over,
    a_leader_that_starts_again_in_its_pod_goes_on_within_five_seconds,
    clocks_that_differ_by_an_hour_do_not_matter,
    an_api_server_that_is_away_for_longer_than_the_lease_costs_no_more_than_that,
    a_leader_that_was_cut_off_writes_nothing_once_another_one_leads,
];
