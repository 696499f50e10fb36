//! A source with its positions, its rate and its idleness.

use std::collections::{BTreeMap, BTreeSet};

use streamkeeper_connectors::{
    ConnectorError,
    batch::{BATCH_ROWS, Batch},
    source::{Polled, Source, SplitState},
};
use streamkeeper_protocol::{compatibility::splits_descriptor, manifest::RunKind, plan::Settings};
use streamkeeper_state::{Entry, FrozenState};

use super::rate_limiter::RateLimiter;
use crate::EngineError;

/// Splits as a checkpoint's `splits` state holds them.
pub fn splits_of(operator: &str, entries: Vec<Entry>) -> Result<Vec<SplitState>, EngineError> {
    entries
        .into_iter()
        .filter_map(|entry| entry.value.map(|value| (entry.key_group, entry.key, value)))
        .map(|(key_group, key, position)| {
            let split = String::from_utf8(key.into_vec()).map_err(|error| EngineError::State {
                operator: operator.to_owned(),
                state: "splits".to_owned(),
                detail: format!("the name of a split is not UTF-8: {error}"),
            })?;
            Ok(SplitState {
                split,
                key_group,
                position: position.into_vec(),
            })
        })
        .collect()
}

/// Result of a read.
#[derive(Debug)]
pub(super) enum Drawn {
    /// Rows.
    Rows(Batch),
    /// Nothing yet.
    Nothing,
    /// Nothing, and from now on its watermark need not be waited for.
    Idle,
    /// Nothing more.
    End,
}

/// A source inside a subtask.
pub(super) struct SourceTask {
    source: Box<dyn Source>,
    /// Last known position of every split of this subtask.
    splits: BTreeMap<(u16, String), Vec<u8>>,
    /// Changed since the last freeze.
    dirty: BTreeSet<(u16, String)>,
    pace: Option<RateLimiter>,
    idle_after_ms: Option<u64>,
    /// Time since which the source has returned nothing.
    quiet_since_ms: Option<u64>,
    pub(super) idle: bool,
    pub(super) ended: bool,
}

impl SourceTask {
    pub(super) fn new(
        source: Box<dyn Source>,
        restored: Vec<SplitState>,
        settings: &Settings,
        subtasks: u32,
        now_ms: u64,
    ) -> Self {
        let splits = restored
            .into_iter()
            .map(|split| ((split.key_group, split.split), split.position))
            .collect();
        Self {
            source,
            splits,
            dirty: BTreeSet::new(),
            pace: settings
                .source_rows_per_second
                .filter(|rows| *rows > 0)
                .map(|rows| RateLimiter::share_of(rows, subtasks, now_ms)),
            idle_after_ms: settings.source_idle_timeout_ms.filter(|after| *after > 0),
            quiet_since_ms: None,
            idle: false,
            ended: false,
        }
    }

    /// Reads once.
    pub(super) fn draw(&mut self, now_ms: u64) -> Result<Drawn, ConnectorError> {
        if self.pace.as_mut().is_some_and(|pace| pace.hurries(now_ms)) {
            self.pace = None;
        }
        let rows = self
            .pace
            .as_mut()
            .map_or(BATCH_ROWS, |pace| pace.allowance(now_ms).min(BATCH_ROWS));
        if rows == 0 {
            return Ok(Drawn::Nothing);
        }
        match self.source.poll(rows)? {
            Polled::Rows(batch) if batch.is_empty() => Ok(self.quiet(now_ms)),
            Polled::Rows(batch) => {
                self.quiet_since_ms = None;
                if let Some(pace) = &mut self.pace {
                    pace.spend(batch.len());
                }
                Ok(Drawn::Rows(batch))
            }
            // A source that has nothing left to read now may yet find rows that are older than what
            // other subtasks have found meanwhile. To go on without it could lose rows, so that is
            // the user's choice alone (`table.exec.source.idle-timeout`).
            Polled::Pending | Polled::Idle => Ok(self.quiet(now_ms)),
            Polled::End => Ok(Drawn::End),
        }
    }

    fn quiet(&mut self, now_ms: u64) -> Drawn {
        let since = *self.quiet_since_ms.get_or_insert(now_ms);
        if self
            .idle_after_ms
            .is_some_and(|after| now_ms.saturating_sub(since) >= after)
        {
            Drawn::Idle
        } else {
            Drawn::Nothing
        }
    }

    /// Notes that the source is not polled now, so that the pause does not make it idle.
    pub(super) fn rest(&mut self) {
        if !self.idle {
            self.quiet_since_ms = None;
        }
    }

    /// When to try again, if not before something wakes the subtask.
    pub(super) fn next_ms(&self, now_ms: u64) -> Option<u64> {
        if self.ended {
            return None;
        }
        let paced = self.pace.as_ref().map(|pace| pace.next_ms(now_ms));
        let falls_idle = self
            .quiet_since_ms
            .zip(self.idle_after_ms)
            .filter(|_| !self.idle)
            .map(|(since, after)| since.saturating_add(after));
        paced.into_iter().chain(falls_idle).min()
    }

    /// Records it skipped so far.
    pub(super) fn skipped(&self) -> u64 {
        self.source.skipped_records()
    }

    /// Values that did not fit their column so far.
    pub(super) fn misfits(&self) -> u64 {
        self.source.misfit_values()
    }

    /// Positions for a checkpoint.
    pub(super) fn freeze(&mut self, full: bool) -> FrozenState {
        for split in self.source.changed_splits() {
            let key = (split.key_group, split.split);
            self.splits.insert(key.clone(), split.position);
            self.dirty.insert(key);
        }
        let entry = |key: &(u16, String), position: &Vec<u8>| Entry {
            key_group: key.0,
            key: key.1.as_bytes().into(),
            value: Some(position.as_slice().into()),
        };
        let entries = if full {
            self.splits
                .iter()
                .map(|(key, position)| entry(key, position))
                .collect()
        } else {
            self.dirty
                .iter()
                .filter_map(|key| self.splits.get(key).map(|position| entry(key, position)))
                .collect()
        };
        self.dirty.clear();
        FrozenState {
            descriptor: splits_descriptor(),
            kind: if full { RunKind::Base } else { RunKind::Delta },
            chunks: vec![entries],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Never has anything.
    struct Silent;

    impl Source for Silent {
        fn poll(&mut self, _max_rows: usize) -> Result<Polled, ConnectorError> {
            Ok(Polled::Pending)
        }

        fn changed_splits(&mut self) -> Vec<SplitState> {
            Vec::new()
        }
    }

    #[test]
    fn a_source_becomes_idle_only_while_it_is_polled() {
        let settings = Settings {
            source_idle_timeout_ms: Some(50),
            ..Settings::default()
        };
        let mut source = SourceTask::new(Box::new(Silent), Vec::new(), &settings, 1, 0);
        let is_idle = |source: &mut SourceTask, now_ms: u64| {
            matches!(source.draw(now_ms).unwrap(), Drawn::Idle)
        };
        assert!(!is_idle(&mut source, 0));
        source.rest();
        assert!(
            !is_idle(&mut source, 100),
            "it waited for room, not for rows"
        );
        assert_eq!(source.next_ms(100), Some(150));
        assert!(!is_idle(&mut source, 149));
        assert!(is_idle(&mut source, 150));
    }
}
