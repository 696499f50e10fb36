//! The API server's bad days, and jobs that would take every turn of the operator.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::jiff::SignedDuration;
use serde_json::json;
use streamkeeper_harness::{
    api_server::Refusal,
    interference::{Fate, Interference},
    story::{Story, tell},
};

use super::upgrading::running;

const MINUTE: Duration = Duration::from_mins(1);

async fn an_api_server_that_is_down_for_ten_minutes_costs_the_job_nothing(story: &mut Story) {
    running(story).await;
    let (attempt, uids) = (
        story.head("delays").expect("a HEAD").attempt,
        story.pod_uids("delays", 1, 2),
    );
    story.api_server_is_down(true);
    for _ in 0..10 {
        story.next_checkpoint("delays").await;
        story.pass(MINUTE).await;
    }
    assert_eq!(story.head("delays").expect("a HEAD").attempt, attempt);
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.api_server_is_down(false);
    assert_eq!(story.pod_uids("delays", 1, 2), uids);
    story.rolled_out("delays", 2).await;
}

async fn an_api_server_that_goes_down_in_the_middle_of_an_upgrade_finds_it_finished_once_it_is_back(
    story: &mut Story,
) {
    running(story).await;
    for (n, call) in [
        "create apps/controllerrevisions",
        "create apps/statefulsets",
        "call hand-over",
        "delete apps/statefulsets",
    ]
    .into_iter()
    .enumerate()
    {
        story.world().effects.clear();
        let before = story.runner("delays").expect("it runs");
        let image = format!("runtime:{}", n + 2);
        story.edit("delays", json!({ "image": image }));
        story.effect(call).await;
        story.api_server_is_down(true);
        story.pass(2 * MINUTE).await;
        story.api_server_is_down(false);
        story
            .until("the new revision runs", |story| {
                story.runner("delays") == Some(before + 1)
            })
            .await;
        story.ready("delays").await;
    }
    let status = story.status("delays");
    assert_eq!(status.history.len(), 5, "{:#?}", status.history);
}

/// When the operator asked for something, in order.
fn times(story: &Story, effect: &str) -> Vec<SignedDuration> {
    let work = story.work();
    let asked: Vec<_> = work
        .iter()
        .filter(|(_, _, what)| what.starts_with(effect))
        .map(|(at, _, _)| *at)
        .collect();
    asked
        .windows(2)
        .map(|pair| pair[1].duration_since(pair[0]))
        .collect()
}

async fn an_api_server_with_too_much_to_do_is_left_alone_for_as_long_as_it_asks(story: &mut Story) {
    let call = "create apps/statefulsets delays-r1";
    let busy = Fate::Refused(Refusal::too_many_requests());
    story.interfere(Interference::next(2, call, busy));
    running(story).await;
    let waits = times(story, call);
    assert_eq!(waits.len(), 2, "{waits:?}");
    assert!(
        waits.iter().all(|wait| wait.as_secs() >= 3),
        "it asked for three seconds: {waits:?}"
    );
}

async fn every_kind_of_bad_answer_is_survived_in_every_transition(story: &mut Story) {
    let server = Fate::Refused(Refusal::internal_error());
    let busy = Fate::Refused(Refusal::too_many_requests());
    let conflict = Fate::Refused(Refusal::conflict("it", "somebody else was faster"));
    let fates = [server, busy, conflict, Fate::RequestLost, Fate::AnswerLost];
    for (n, fate) in fates.iter().enumerate() {
        // Every seventh call or so.
        for spare in (0..60).step_by(7) {
            story.interfere(Interference {
                spare,
                ..Interference::nth(0, fate.clone())
            });
        }
        if n == 0 {
            running(story).await;
        } else {
            let image = format!("runtime:{}", n + 1);
            story.edit("delays", json!({ "image": image }));
        }
        story.ready("delays").await;
        story.edit("delays", json!({ "workers": { "replicas": 3 } }));
        story.ready("delays").await;
        story.edit(
            "delays",
            json!({ "workers": { "replicas": 2 }, "suspend": true }),
        );
        story
            .until("it is suspended", |story| {
                story.condition("delays", "Suspended").0 == "True"
            })
            .await;
        story.edit("delays", json!({ "suspend": false }));
        story.ready("delays").await;
    }
    story.world().interferences.clear();
    story.next_checkpoint("delays").await;
}

/// How long a job takes from its creation to Ready, and another from an edit to Ready.
async fn how_long(story: &mut Story) -> (SignedDuration, SignedDuration) {
    let began = story.now();
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    story.ready("delays").await;
    let started = story.now();
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.ready("delays").await;
    (
        started.duration_since(began),
        story.now().duration_since(started),
    )
}

fn undisturbed() -> (SignedDuration, SignedDuration) {
    tell(async |story| how_long(story).await)
}

#[test]
fn a_job_that_fails_every_pass_does_not_delay_the_others() {
    let alone = undisturbed();
    let beside = tell(async |story| {
        let no = Fate::Refused(Refusal::internal_error());
        for n in 0..50 {
            let calls = format!("create apps/controllerrevisions hostile-{n}");
            story.interfere(Interference::next(usize::MAX, &calls, no.clone()));
            story.create(
                &format!("hostile-{n}"),
                json!({ "sql": { "text": "SELECT 1" } }),
            );
        }
        story.pass(MINUTE).await;
        let took = how_long(story).await;
        let work = story.work();
        let asked = work
            .iter()
            .filter(|(_, _, what)| what.starts_with("create apps/controllerrevisions hostile-7-"));
        assert!(asked.count() < 20, "it is tried later and later");
        took
    });
    let slack = SignedDuration::from_secs(1);
    assert!(
        beside.0 <= alone.0 + slack && beside.1 <= alone.1 + slack,
        "alone {alone:?}, beside fifty that fail {beside:?}"
    );
}

/// How long one job takes beside 300 jobs of four other namespaces whose store never responds.
fn beside_the_deaf(shares: bool) -> (SignedDuration, SignedDuration) {
    tell(async |story| {
        story.shares = shares;
        story.restart_operator(|_| {});
        for n in 0..300 {
            let namespace = format!("deaf-{}", n % 4);
            story.world().jobs.deaf.insert(namespace.clone());
            let spec = json!({ "sql": { "text": "SELECT 1" } });
            story.create_in(&namespace, &format!("deaf-{n}"), spec);
        }
        // All of them are waited for.
        story.pass(MINUTE).await;
        how_long(story).await
    })
}

#[test]
fn hundreds_of_jobs_whose_store_never_answers_do_not_delay_another_namespace() {
    let alone = undisturbed();
    let slack = SignedDuration::from_secs(1);
    let beside = beside_the_deaf(true);
    assert!(
        beside.0 <= alone.0 + slack && beside.1 <= alone.1 + slack,
        "alone {alone:?}, beside 300 that are deaf {beside:?}"
    );
    let without = beside_the_deaf(false);
    assert!(
        without.0 > alone.0 + 5 * slack,
        "the control: without shares the deaf take all turns: alone {alone:?}, beside them {without:?}"
    );
}

#[test]
fn a_job_that_changes_every_ten_milliseconds_does_not_delay_the_others_nor_write_without_end() {
    let alone = undisturbed();
    let beside = tell(async |story| {
        story.create("hostile", json!({ "sql": { "text": "SELECT 1" } }));
        story.ready("hostile").await;
        let storm = story.storm("hostile", Duration::from_millis(10));
        story.pass(MINUTE).await;
        let took = how_long(story).await;
        let before = story.work().len();
        story.pass(MINUTE).await;
        let work = story.work();
        let writes = work[before..]
            .iter()
            .filter(|(_, _, what)| what.contains("hostile"))
            .count();
        assert!(
            writes <= 6 * 4 * 60,
            "{writes} writes in a minute for 6000 changes"
        );
        storm.abort();
        story.ready("hostile").await;
        took
    });
    let slack = SignedDuration::from_secs(1);
    assert!(
        beside.0 <= alone.0 + slack && beside.1 <= alone.1 + slack,
        "alone {alone:?}, beside one that storms {beside:?}"
    );
}

#[test]
fn a_job_as_large_as_the_rules_allow_does_not_delay_the_others() {
    let alone = undisturbed();
    let beside = tell(async |story| {
        let text = format!("SELECT '{}'", "x".repeat(200_000));
        story.create("hostile", json!({ "sql": { "text": text } }));
        story.pass(MINUTE).await;
        how_long(story).await
    });
    let slack = SignedDuration::from_secs(1);
    assert!(
        beside.0 <= alone.0 + slack && beside.1 <= alone.1 + slack,
        "alone {alone:?}, beside a huge one {beside:?}"
    );
}

// Elsewhere: spotify/flink-on-k8s-operator#656, GoogleCloudPlatform/flink-on-k8s-operator#375,
// FLINK-35192.
async fn a_settled_job_costs_one_write_a_minute_and_a_suspended_one_none(story: &mut Story) {
    running(story).await;
    story.pass(2 * MINUTE).await;
    story.world().effects.clear();
    story.pass(30 * MINUTE).await;
    let effects = story.effects();
    let kinds: BTreeSet<&str> = effects.iter().map(String::as_str).collect();
    assert!(
        kinds
            .iter()
            .all(|effect| *effect == "update streamkeeper.dev/streamjobs/status delays"),
        "{kinds:?}"
    );
    assert!(
        effects.len() <= 31,
        "{} writes in 30 minutes",
        effects.len()
    );

    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    story.pass(2 * MINUTE).await;
    story.world().effects.clear();
    story.pass(30 * MINUTE).await;
    assert_eq!(story.effects(), Vec::<String>::new());
}

stories![
    an_api_server_that_is_down_for_ten_minutes_costs_the_job_nothing,
    an_api_server_that_goes_down_in_the_middle_of_an_upgrade_finds_it_finished_once_it_is_back,
    an_api_server_with_too_much_to_do_is_left_alone_for_as_long_as_it_asks,
    every_kind_of_bad_answer_is_survived_in_every_transition,
    a_settled_job_costs_one_write_a_minute_and_a_suspended_one_none,
];
