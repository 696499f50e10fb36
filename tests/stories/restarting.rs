//! A job that fails and begins again.

use streamkeeper_harness::{kubelet::Exit, script::Script, story::Story};

use super::upgrading::running;

async fn a_job_that_waits_before_another_try_says_so_and_goes_on(story: &mut Story) {
    running(story).await;
    let fails = Script {
        fails_with: Some(("", "worker 1 panicked at row 7")),
        ..Script::default()
    };
    story.world().jobs.rewrite("delays", &fails);
    story
        .until("it waits for another try", |story| {
            story.condition("delays", "Reconciling").1 == "Restarting"
        })
        .await;
    assert_eq!(story.condition("delays", "Ready").0, "False");
    assert_eq!(
        story.message("delays", "Ready"),
        "the job failed and is restarted after a pause: worker 1 panicked at row 7"
    );
    story.world().jobs.rewrite("delays", &Script::default());
    story.ready("delays").await;
    let restarts = story.status("delays").restarts.expect("restarts");
    assert!(restarts.count > 0, "{restarts:?}");
}

async fn without_an_operator_the_job_takes_checkpoints_and_restores(story: &mut Story) {
    running(story).await;
    story.stop_operator();
    story.next_checkpoint("delays").await;
    story.kill("delays-r1-1", Exit::error("killed"));
    story
        .until("the job runs again", |story| {
            story.head("delays").is_some_and(|head| head.attempt == 2)
        })
        .await;
    story.next_checkpoint("delays").await;
    story.start_operator();
    story.ready("delays").await;
    assert_eq!(
        story.status("delays").restarts.expect("restarts").count,
        1,
        "what happened meanwhile is counted"
    );
}

stories![
    a_job_that_waits_before_another_try_says_so_and_goes_on,
    without_an_operator_the_job_takes_checkpoints_and_restores,
];
