//! What protects the pods of a job. Its NetworkPolicy: there before the pods, one for all
//! revisions, restored, removed. And its budgets for evictions.

use serde_json::{Value, json};
use streamkeeper_harness::{
    api_server::kinds::{DISRUPTION_BUDGETS, NETWORK_POLICIES},
    cluster::text,
    story::{NAMESPACE, Story},
};

const POLICY: &str = "delays-workers";

fn policy(story: &Story) -> Option<Value> {
    let world = story.world();
    world
        .store
        .get(&NETWORK_POLICIES, NAMESPACE, POLICY)
        .cloned()
}

fn what_it_says(story: &Story) -> Value {
    policy(story).expect("a policy")["spec"].clone()
}

async fn running(story: &mut Story) {
    story.create("delays", json!({ "sql": { "text": "x" } }));
    story.ready("delays").await;
}

async fn the_policy_of_a_job_is_there_before_its_pods_and_goes_with_the_job(story: &mut Story) {
    running(story).await;
    let effects = story.effects();
    let first = |what: &str| effects.iter().position(|effect| effect.starts_with(what));
    let created = first("create networking.k8s.io/networkpolicies");
    assert!(
        created.is_some() && created < first("create apps/statefulsets"),
        "{effects:?}"
    );
    let found = policy(story).unwrap();
    let uid = story.job("delays").metadata.uid;
    assert_eq!(json!(uid), found["metadata"]["ownerReferences"][0]["uid"]);

    // Another revision, the same policy.
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.rolled_out("delays", 2).await;
    assert_eq!(policy(story), Some(found));

    story.delete("delays");
    story
        .until("nothing of the job is left", |story| {
            story.find("delays").is_none() && policy(story).is_none()
        })
        .await;
}

async fn a_policy_that_was_deleted_or_edited_is_restored(story: &mut Story) {
    running(story).await;
    let before = what_it_says(story);
    let uids = story.pod_uids("delays", 1, 1);
    story.remove_network_policy(POLICY);
    story
        .until("the policy is back", |story| policy(story).is_some())
        .await;
    assert_eq!(what_it_says(story), before);

    let open =
        json!({ "spec": { "ingress": [{}], "podSelector": { "matchLabels": { "x": "y" } } } });
    story.edit_network_policy(POLICY, &open);
    assert_ne!(what_it_says(story), before);
    story
        .until("the policy says what it said", |story| {
            what_it_says(story) == before
        })
        .await;

    // Without the label the operator's watch does not see it any more.
    let label = "app.kubernetes.io/managed-by";
    let bare = json!({ "metadata": { "labels": { label: null } }, "spec": { "ingress": [{}] } });
    story.edit_network_policy(POLICY, &bare);
    story
        .until("the policy is found again", |story| {
            what_it_says(story) == before
        })
        .await;
    assert_eq!(
        policy(story).unwrap()["metadata"]["labels"][label],
        "streamkeeper"
    );
    story.ready("delays").await;
    assert_eq!(story.pod_uids("delays", 1, 1), uids, "pods were restarted");
}

async fn a_policy_that_is_not_the_operators_is_not_touched_and_the_job_says_so(story: &mut Story) {
    story.create_network_policy(POLICY);
    story.create("delays", json!({ "sql": { "text": "x" } }));
    let message = story.stalled("delays", "InvalidSpec").await;
    assert!(
        message.contains("NetworkPolicy delays-workers exists and was not made for this StreamJob"),
        "{message}"
    );
    assert!(story.pods().is_empty(), "nothing starts unprotected");
    assert_eq!(what_it_says(story), json!({ "podSelector": {} }));
    story.remove_network_policy(POLICY);
    story.ready("delays").await;
}

async fn an_operator_that_is_told_so_removes_its_policies_and_makes_none(story: &mut Story) {
    running(story).await;
    let settings = story.network.take();
    story.restart_operator(|_| {});
    story
        .until("the policy is gone", |story| policy(story).is_none())
        .await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.rolled_out("delays", 2).await;
    assert_eq!(policy(story), None);
    // And back: jobs that run already get one.
    story.network = settings;
    story.restart_operator(|_| {});
    story
        .until("the policy is back", |story| policy(story).is_some())
        .await;
}

fn budgets(story: &Story) -> Vec<String> {
    let all = story.world().store.all(&DISRUPTION_BUDGETS);
    let named = all
        .iter()
        .map(|budget| text(budget, "/metadata/name").to_owned());
    named.collect()
}

async fn each_revision_has_a_budget_for_evictions_as_long_as_it_has_pods(story: &mut Story) {
    running(story).await;
    assert_eq!(budgets(story), ["delays-r1"]);
    let budget = story.world().store.all(&DISRUPTION_BUDGETS)[0].clone();
    assert_eq!(
        budget["spec"]["maxUnavailable"], 1,
        "a single worker may be evicted"
    );
    assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    let pod = story.pod("delays-r1-0");
    for (label, value) in budget["spec"]["selector"]["matchLabels"]
        .as_object()
        .unwrap()
    {
        assert_eq!(&pod["metadata"]["labels"][label], value);
    }
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.rolled_out("delays", 2).await;
    story
        .until("only the budget of the new revision is left", |story| {
            budgets(story) == ["delays-r2"]
        })
        .await;
    story.remove_budget("delays-r2");
    story
        .until("it is back", |story| budgets(story) == ["delays-r2"])
        .await;
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    story
        .until("nothing is left to protect", |story| {
            budgets(story).is_empty()
        })
        .await;
    story.edit("delays", json!({ "suspend": false }));
    story.ready("delays").await;
    assert_eq!(budgets(story).len(), 1);
    story.restart_operator(|settings| settings.disruption_budgets = false);
    story
        .until("budgets that are not wanted go", |story| {
            budgets(story).is_empty()
        })
        .await;
}

stories!(
    the_policy_of_a_job_is_there_before_its_pods_and_goes_with_the_job,
    a_policy_that_was_deleted_or_edited_is_restored,
    a_policy_that_is_not_the_operators_is_not_touched_and_the_job_says_so,
    an_operator_that_is_told_so_removes_its_policies_and_makes_none,
    each_revision_has_a_budget_for_evictions_as_long_as_it_has_pods,
);
