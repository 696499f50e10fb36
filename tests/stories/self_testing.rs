//! What `helm test` says when something is wrong.

use std::time::Duration;

use streamkeeper_api::v1alpha1::SnapshotPhase;
use streamkeeper_harness::{script::Script, story::tell};

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn the_self_test_says_what_is_wrong_when_a_job_does_not_start() {
    let error = tell(async |story| {
        let missing = Script {
            missing_image: true,
            ..Script::default()
        };
        story.script("runtime:1", missing);
        let error = story
            .run_self_test(10 * MINUTE)
            .await
            .expect_err("no image");
        assert!(story.find("self-test").is_none(), "it leaves nothing");
        error.to_string()
    });
    assert!(
        error.contains("Ready and a checkpoint") && error.contains("ImagePull"),
        "{error}"
    );
}

#[test]
fn a_self_test_that_takes_too_long_says_what_it_had_done() {
    let error = tell(async |story| {
        let error = story
            .run_self_test(Duration::from_secs(20))
            .await
            .expect_err("no time");
        assert!(story.find("self-test").is_none(), "it leaves nothing");
        error.to_string()
    });
    assert!(
        error.starts_with("not done within 20 s; the last that went well: "),
        "{error}"
    );
}

#[test]
fn a_self_test_whose_job_takes_no_checkpoint_after_the_way_back_fails() {
    let error = tell(async |story| {
        let silent = Script {
            no_checkpoints: true,
            ..Script::default()
        };
        let error = story
            .run_self_test_while(10 * MINUTE, |story| {
                if story.snapshot_phase("self-test") == Some(SnapshotPhase::Completed) {
                    story.world().jobs.script("runtime:1", silent.clone());
                }
            })
            .await
            .expect_err("no checkpoint");
        error.to_string()
    });
    let said = "waited 120 s for a checkpoint after the way back to the snapshot";
    assert!(error.starts_with(said), "{error}");
}
