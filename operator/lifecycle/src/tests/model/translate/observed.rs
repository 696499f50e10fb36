//! What a pass of the real operator would see of a world.

use std::collections::BTreeMap;

use streamkeeper_api::v1alpha1::StreamJob;
use streamkeeper_protocol::{
    head::OperationResult,
    job_api::{
        CheckpointFailures, JobError, JobPhase, Operation, Preflight, PreflightVerdict, Report,
    },
};

use crate::{
    Fact, Observed, PodFacts, Refusal, RevisionFacts, StatefulSetFacts, Waiting,
    plan::required_reads::required_reads,
    tests::model::{
        translate::{Answer, RECORDS, SQL, Sight, UID, ago, head, key, word},
        world::{Kind, Outcome, Pod, Revision, Role, small},
    },
};

pub(super) fn observed(job: &StreamJob, sight: &Sight) -> Observed {
    let asked = required_reads(job);
    let mut revisions = BTreeMap::new();
    for (at, (known, answer)) in sight.revisions.iter().zip(&sight.answers).enumerate() {
        let revision = small(at as u64 + 1);
        if known.record.is_none() && known.is_gone() {
            continue;
        }
        let mut facts = RevisionFacts {
            record: known
                .record
                .map(|content| RECORDS[usize::from(content)].clone()),
            stateful_set: known.set.map(|replicas| StatefulSetFacts {
                replicas: replicas.into(),
                deleting: false,
            }),
            service: known.extras,
            config_map: known.extras,
            pods: pods(revision, known),
            ..RevisionFacts::default()
        };
        if let Some(answer) = answer {
            facts.report = Fact::Known(report(revision, answer));
            if asked.preflight == Some((revision.into(), None)) {
                facts.preflight = Fact::Known(preflight(revision, known, answer));
            }
        }
        revisions.insert(u64::from(revision), facts);
    }
    let head = match (asked.head, &sight.head) {
        (true, Some(record)) => Fact::Known(record.as_ref().map(head)),
        (false, _) | (_, None) => Fact::unknown("not read"),
    };
    let operation = asked.operation.and_then(|(revision, text)| {
        let answer = sight.answers[usize::try_from(revision).ok()?.checked_sub(1)?].as_ref()?;
        let wanted = key(&text);
        let in_head = sight.head.iter().flatten().flat_map(|head| head.operations);
        let known = answer
            .operation
            .into_iter()
            .chain(in_head.flatten().map(|(known, _, result)| (known, result)))
            .find(|(known, _)| *known == wanted);
        Some(known.map(|(_, result)| Operation {
            key: text,
            kind: Kind::Stop.kind(),
            result: outcome(result),
        }))
    });
    Observed {
        sql: Fact::Known(SQL.to_owned()),
        revisions,
        head,
        not_looked: sight
            .told
            .then(|| "the operator does not look there".to_owned()),
        operation: operation.map_or_else(|| Fact::unknown("no answer"), Fact::Known),
        refusal: sight.refusal.map(|(key, incompatible)| Refusal {
            key: word(key),
            code: if incompatible {
                "WrongRevision"
            } else {
                "NotRunning"
            }
            .to_owned(),
            message: "it was refused".to_owned(),
        }),
        unapplied: None,
        ..Observed::default()
    }
}

pub(in crate::tests::model) fn outcome(outcome: Outcome) -> OperationResult {
    match outcome {
        Outcome::Running => OperationResult::Running,
        Outcome::Done => OperationResult::Done {
            checkpoint: Some(5),
            uri: None,
        },
        Outcome::Failed => OperationResult::Failed {
            why: "the store did not answer".to_owned(),
        },
    }
}

fn pods(revision: u8, known: &Revision) -> Vec<PodFacts> {
    let seen = known.pods.iter().enumerate();
    seen.filter(|(_, pod)| **pod != Pod::Absent)
        .map(|(ordinal, pod)| PodFacts {
            name: format!("delays-r{revision}-{ordinal}"),
            uid: format!("pod-{revision}-{ordinal}"),
            ordinal: u32::try_from(ordinal).unwrap(),
            ready: *pod == Pod::Up,
            deleting: *pod == Pod::Leaving,
            restarts: if *pod == Pod::Sick { 5 } else { 0 },
            waiting: (*pod == Pod::Sick).then(|| Waiting {
                reason: "CrashLoopBackOff".to_owned(),
                message: "back-off".to_owned(),
            }),
            node_lost_since: match pod {
                Pod::Lost => Some(ago(false).0),
                Pod::LostLong => Some(ago(true).0),
                Pod::Absent | Pod::Starting | Pod::Up | Pod::Sick | Pod::Leaving => None,
            },
            ..PodFacts::default()
        })
        .collect()
}

fn report(revision: u8, answer: &Answer) -> Report {
    let phase = match answer.role {
        _ if !answer.compiles => JobPhase::Failed,
        Role::Standby => JobPhase::Standby,
        Role::Waiting => JobPhase::WaitingForWorkers,
        Role::Running => JobPhase::Running,
        Role::Stopped => JobPhase::Stopped,
        Role::Failed => JobPhase::Failed,
    };
    let error = match phase {
        JobPhase::Failed if answer.compiles => Some("RestoreFailed"),
        JobPhase::Failed => Some("InvalidSQL"),
        _ => None,
    };
    Report {
        job_uid: UID.to_owned(),
        revision: revision.into(),
        attempt: (answer.attempt > 0).then_some(answer.attempt.into()),
        phase,
        parallelism: answer.workers.into(),
        workers: Vec::new(),
        last_checkpoint: None,
        checkpoint_failures: CheckpointFailures::default(),
        restored_from: None,
        restarts: 0,
        last_failure: None,
        pauses: Vec::new(),
        records_in: 0,
        records_out: 0,
        records_in_attempt: u64::from(answer.saved),
        checkpoints_in_attempt: u64::from(answer.saved),
        error: error.map(|reason| JobError {
            reason: reason.to_owned(),
            message: "what is wrong with it".to_owned(),
        }),
        plan_hash: None,
        version: "0.1.0".to_owned(),
    }
}

fn preflight(revision: u8, known: &Revision, answer: &Answer) -> Preflight {
    let workers = usize::from(known.set.unwrap_or(1));
    let up = known.pods.iter().filter(|pod| **pod == Pod::Up).count();
    let verdict = if !answer.compiles {
        PreflightVerdict::InvalidSql
    } else if up >= workers {
        PreflightVerdict::Compatible
    } else {
        PreflightVerdict::Pending
    };
    Preflight {
        verdict,
        revision: revision.into(),
        message: "what the check found".to_owned(),
        checked_against: None,
        from: None,
        states: Vec::new(),
        checked_bytes: None,
    }
}
