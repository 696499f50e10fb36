//! Builders of records for the tests of decisions.

use streamkeeper_protocol::head::{
    ClaimDecision, Claimant, Head, Ids, LastCheckpoint, Order, claim,
};
use streamkeeper_protocol::job_api::PromoteFrom;

pub(crate) fn claimant(job_uid: &str, revision: u64) -> Claimant<'_> {
    Claimant {
        job_uid,
        revision,
        plan_hash: "plan-1",
        max_parallelism: 128,
        workers: 2,
        pod: "",
    }
}

pub(crate) fn ids() -> Ids<'static> {
    Ids {
        nonce: "nonce-2",
        token: "token-2",
        lineage: "lineage-2",
    }
}

/// HEAD after the first claim, by revision 1 of StreamJob `a`.
pub(crate) fn first() -> Head {
    let order = Order::Promoted {
        key: "start",
        from: &PromoteFrom::Empty,
        running_owner: None,
    };
    let ids = Ids {
        nonce: "nonce-1",
        token: "token-1",
        lineage: "lineage-1",
    };
    match claim(None, &claimant("a", 1), order, ids) {
        ClaimDecision::Create(head) => head,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn checkpoint(number: u64, needs_commit: bool) -> LastCheckpoint {
    LastCheckpoint {
        checkpoint: number,
        manifest: format!("root/chk/{number:012}/1/manifest.json"),
        needs_commit,
        committed: false,
        completed_ms: 1_700_000_000_000,
        written_bytes: 10,
        total_bytes: 100,
        duration_ms: 5,
    }
}

/// HEAD with restore point 1, nothing to commit.
pub(crate) fn with_checkpoint() -> Head {
    first()
        .change()
        .publish(checkpoint(1, false), "plan-1", 3)
        .unwrap()
        .0
        .seal("nonce-c")
        .unwrap()
}
