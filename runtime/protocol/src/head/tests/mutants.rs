//! Every guard in the rules of HEAD is taken away once; a claim must fail for it, or the guard is
//! idle or a claim is missing. `cargo test --workspace --lib a_guard_of_head -- --nocapture` shows
//! which claim does.

use std::path::Path;

use streamkeeper_guard::{fails_without, marked};

use super::{change, claim, golden, model};

macro_rules! claims {
    ($($module:ident::$name:ident),+ $(,)?) => {
        const CLAIMS: &[(&str, fn())] = &[$((stringify!($name), $module::$name)),+];
    };
}

claims![
    claim::the_whole_table_of_claims,
    claim::a_live_head_of_another_job_changes_hands_only_if_a_person_named_its_owner,
    claim::a_savepoint_becomes_an_ordinary_checkpoint_and_numbers_go_on,
    claim::the_newest_state_that_was_left_behind_is_pinned_until_another_is,
    claim::a_copy_under_another_number_is_refused,
    claim::a_restore_that_was_carried_out_is_not_carried_out_again,
    claim::a_first_claim_starts_from_nothing_with_a_new_lineage,
    claim::an_order_that_was_followed_already_is_no_new_order,
    claim::other_key_groups_are_refused_once_there_is_state,
    claim::a_restart_keeps_the_workers_of_a_rescale_and_a_new_revision_brings_its_own,
    claim::what_a_dead_coordinator_was_doing_has_failed_but_a_named_savepoint_goes_on,
    claim::a_stop_with_its_savepoint_goes_on_after_a_restart_and_fails_for_another_revision,
    claim::a_displaced_pod_never_claims_again_and_a_restarted_container_does,
    change::a_checkpoint_replaces_the_restore_point_and_the_oldest_is_dropped,
    change::nothing_goes_on_before_the_sinks_have_committed,
    change::a_hand_over_needs_a_restore_point_and_a_greater_revision,
    change::a_job_that_does_not_run_changes_nothing_but_may_be_released,
    change::an_idempotency_key_stands_for_one_call_only,
    change::a_savepoint_pins_its_checkpoint_until_it_is_complete,
    change::a_refused_write_is_ours_again_or_a_fence,
    change::head_stays_small_and_never_forgets_what_is_in_progress,
    change::too_many_operations_in_progress_are_refused_as_busy,
    golden::fields_and_formats_of_newer_writers_are_read_as_long_as_they_say_so,
    model::no_short_interleaving_makes_two_owners,
];

#[test]
fn a_guard_of_head_that_is_taken_away_is_missed_by_some_claim() {
    let guards = marked(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/head"))).unwrap();
    assert!(
        guards.len() >= 25,
        "only {} guards are marked",
        guards.len()
    );
    let mut idle = Vec::new();
    for guard in guards {
        match CLAIMS
            .iter()
            .position(|(_, claim)| fails_without(guard, *claim))
        {
            Some(at) => println!("{guard:<52} {} (after {at} others)", CLAIMS[at].0),
            None => idle.push(guard),
        }
    }
    assert!(idle.is_empty(), "nothing notices without: {idle:#?}");
}
