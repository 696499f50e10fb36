//! Which row numbers come next, and positions.

use serde::{Deserialize, Serialize};

use crate::{
    ConnectorError,
    source::{SourceContext, SplitState},
};

const POSITION_FORMAT: u32 = 1;

/// Position of a split as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    v: u32,
    /// Rows of the split handed out.
    rows: u64,
    /// When row 0 was due, milliseconds since the epoch.
    origin_ms: i64,
}

#[derive(Debug)]
struct Split {
    key_group: u16,
    /// Rows handed out.
    rows: u64,
    /// Rows in all.
    length: u64,
    changed: bool,
}

impl Split {
    fn is_open(&self) -> bool {
        self.rows < self.length
    }
}

/// The splits of one subtask.
#[derive(Debug)]
pub(super) struct Splits {
    all: Vec<Split>,
    /// Key groups of the job: the stride of a split.
    stride: u64,
    origin_ms: i64,
}

fn name(key_group: u16) -> String {
    format!("rows-{key_group}")
}

impl Splits {
    pub(super) fn new(context: &SourceContext, rows: Option<u64>) -> Result<Self, ConnectorError> {
        let job_rows = rows.unwrap_or(u64::MAX);
        let stride = u64::from(context.max_parallelism().max(1));
        let mut splits: Vec<_> = context
            .assignment
            .groups_of(context.subtask)
            .map(|key_group| {
                let first = u64::from(key_group);
                let length = job_rows.saturating_sub(first).div_ceil(stride);
                Split {
                    key_group,
                    rows: 0,
                    length,
                    changed: true,
                }
            })
            .collect();
        let mut origin_ms: Option<i64> = None;
        for state in context
            .restored
            .iter()
            .filter(|state| context.owns(state.key_group))
        {
            let unreadable = |detail: String| ConnectorError::Option {
                table: context.table.name.clone(),
                option: None,
                detail: format!("the stored position of split '{}' {detail}", state.split),
            };
            let position: Position = serde_json::from_slice(&state.position)
                .map_err(|error| unreadable(format!("cannot be read: {error}")))?;
            if position.v > POSITION_FORMAT || state.split != name(state.key_group) {
                return Err(unreadable(
                    "was written by another version or connector".to_owned(),
                ));
            }
            if let Ok(at) = splits.binary_search_by_key(&state.key_group, |split| split.key_group) {
                splits[at].rows = position.rows;
                splits[at].changed = false;
            }
            origin_ms = Some(origin_ms.unwrap_or(i64::MAX).min(position.origin_ms));
        }
        Ok(Self {
            all: splits,
            stride,
            origin_ms: origin_ms.unwrap_or(context.now_ms),
        })
    }

    pub(super) fn origin_ms(&self) -> i64 {
        self.origin_ms
    }

    /// Whether no split has rows left.
    pub(super) fn at_end(&self) -> bool {
        !self.all.iter().any(Split::is_open)
    }

    /// Appends the numbers of the next rows, at most `most`: of the splits that are furthest
    /// behind, evenly, until they reach the others.
    pub(super) fn advance(&mut self, most: usize, numbers: &mut Vec<u64>) {
        let open = self
            .all
            .iter()
            .filter(|split| split.is_open())
            .map(|split| split.rows);
        let Some(behind) = open.clone().min() else {
            return;
        };
        let meets = open.filter(|rows| *rows > behind).min();
        let members: Vec<usize> = (0..self.all.len())
            .filter(|&at| self.all[at].rows == behind && self.all[at].is_open())
            .take(most)
            .collect();
        let steps = u64::try_from(most / members.len().max(1))
            .unwrap_or(1)
            .max(1);
        let until = behind.saturating_add(steps).min(meets.unwrap_or(u64::MAX));
        for row in behind..until {
            for &at in &members {
                let split = &mut self.all[at];
                if split.is_open() {
                    numbers.push(row * self.stride + u64::from(split.key_group));
                    split.rows = row + 1;
                    split.changed = true;
                }
            }
        }
    }

    pub(super) fn take_changed(&mut self) -> Vec<SplitState> {
        let origin_ms = self.origin_ms;
        let changed = self.all.iter_mut().filter(|split| split.changed);
        changed
            .map(|split| {
                split.changed = false;
                let position = Position {
                    v: POSITION_FORMAT,
                    rows: split.rows,
                    origin_ms,
                };
                SplitState {
                    split: name(split.key_group),
                    key_group: split.key_group,
                    // A record of three numbers always has a JSON form.
                    position: serde_json::to_vec(&position).unwrap_or_default(),
                }
            })
            .collect()
    }
}
