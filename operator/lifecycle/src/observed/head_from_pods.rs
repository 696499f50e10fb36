//! HEAD as pods of a job tell it, where the operator does not look into the store itself.
//!
//! It is as good as what a coordinator saw a moment ago. Nothing depends on its being the latest: a
//! start from nothing, or from HEAD, is judged by the write with which the coordinator claims HEAD.

use streamkeeper_protocol::{head::Head, job_api::SeenHead};

use crate::observed::facts::Fact;

/// A coordinator that stands by reads HEAD every second. What was seen longer ago is not told of
/// any more.
const FRESH_MS: u64 = 15_000;

/// What the answers of coordinators add up to: the newest record that one of them saw a short while
/// ago. HEAD is missing only if one pod saw that and no pod saw a HEAD.
pub fn told_head(
    answers: impl IntoIterator<Item = Result<SeenHead, String>>,
) -> Fact<Option<Head>> {
    let mut newest: Option<Option<Head>> = None;
    let mut why = "no pod of the job answers yet".to_owned();
    for answer in answers {
        match answer {
            Ok(seen) if seen.age_ms > FRESH_MS => {
                why = format!("a pod of the job saw HEAD {} s ago", seen.age_ms / 1000);
            }
            Ok(seen) => {
                let later = match (&newest, &seen.head) {
                    (None, _) | (Some(None), Some(_)) => true,
                    (Some(Some(known)), Some(head)) => head.seq > known.seq,
                    (Some(_), None) => false,
                };
                if later {
                    newest = Some(seen.head);
                }
            }
            Err(refused) => why = refused,
        }
    }
    match newest {
        Some(head) => Fact::Known(head),
        None => Fact::unknown(format!(
            "the operator does not look into the store of the job, and its pods do not say what HEAD holds: {why}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64) -> Head {
        let text = include_str!("../../../../runtime/protocol/tests/golden/head-v1.json");
        let mut head = Head::parse(text.as_bytes()).unwrap();
        head.seq = seq;
        head
    }

    fn saw(age_ms: u64, seq: Option<u64>) -> SeenHead {
        let head = seq.map(head);
        SeenHead { age_ms, head }
    }

    #[test]
    fn the_newest_head_that_was_seen_a_moment_ago_is_believed_and_silence_is_not_absence() {
        let seq = |answers: Vec<SeenHead>| match told_head(answers.into_iter().map(Ok)) {
            Fact::Known(head) => Some(head.map(|head| head.seq)),
            Fact::Unknown(_) => None,
        };
        assert_eq!(seq(vec![saw(0, Some(7)), saw(900, Some(9))]), Some(Some(9)));
        assert_eq!(seq(vec![saw(0, None), saw(900, Some(9))]), Some(Some(9)));
        assert_eq!(seq(vec![saw(900, Some(9)), saw(0, None)]), Some(Some(9)));
        assert_eq!(seq(vec![saw(900, None)]), Some(None));
        assert_eq!(seq(vec![]), None);
        let refused = told_head([Err("404".to_owned())]);
        assert!(matches!(refused, Fact::Unknown(_)), "{refused:?}");
        assert_eq!(seq(vec![saw(FRESH_MS + 1, None)]), None);
        assert_eq!(
            seq(vec![saw(FRESH_MS + 1, Some(9)), saw(1, Some(7))]),
            Some(Some(7))
        );
    }
}
