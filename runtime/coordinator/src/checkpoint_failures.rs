//! Checkpoints that fail one after the other.

use streamkeeper_protocol::job_api::CheckpointFailures;

/// Counts them: each checkpoint once, however often its shares and its output are sent again.
#[derive(Debug, Default)]
pub(crate) struct FailedCheckpoints {
    told: CheckpointFailures,
    /// Newest checkpoint that counts.
    counted: Option<u64>,
}

impl FailedCheckpoints {
    /// A checkpoint is in trouble, or has failed.
    pub(crate) fn count(&mut self, checkpoint: u64, why: String) {
        // News of an older one, whose share is still being sent, are no news.
        if self.counted.is_some_and(|counted| counted > checkpoint) {
            return;
        }
        self.told.last = Some(why);
        if self.counted != Some(checkpoint) {
            self.told.consecutive += 1;
            self.counted = Some(checkpoint);
        }
    }

    /// A checkpoint is complete, or its output is committed after all.
    pub(crate) fn end(&mut self) {
        *self = Self::default();
    }

    /// What is told of it.
    pub(crate) fn told(&self) -> &CheckpointFailures {
        &self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_counts_once_however_often_its_share_is_sent_again() {
        let mut failing = FailedCheckpoints::default();
        for again in 0..20 {
            failing.count(7, format!("try {again}"));
        }
        assert_eq!(failing.told().consecutive, 1);
        assert_eq!(failing.told().last.as_deref(), Some("try 19"));
        failing.count(8, "timed out".to_owned());
        failing.count(7, "still sent".to_owned());
        assert_eq!(failing.told().consecutive, 2);
        assert_eq!(failing.told().last.as_deref(), Some("timed out"));
        failing.end();
        assert_eq!(failing.told(), &CheckpointFailures::default());
        failing.count(9, "not committed".to_owned());
        assert_eq!(failing.told().consecutive, 1);
    }
}
