//! Compares the states that a plan keeps with the states that a manifest holds.

use std::fmt::Write as _;

use super::{CatalogEntry, Fit, StateVerdict, newest};
use crate::{
    key_group::KEY_HASH,
    manifest::{Manifest, OperatorState, StateDescriptor, StateKind, StateRef},
    types::{DataType, LogicalType},
};

/// Returns a verdict for every state of the plan, in its order, and then for those that only the
/// manifest has. Problems of the whole job (key groups, key hash) come first, with an empty
/// `state_uid`.
pub fn check(
    catalog: &[CatalogEntry],
    max_parallelism: u16,
    manifest: &Manifest,
) -> Vec<StateVerdict> {
    let mut verdicts: Vec<StateVerdict> = whole(max_parallelism, manifest).into_iter().collect();
    for entry in catalog {
        let written = find(manifest, &entry.state_uid, &entry.descriptor.name);
        verdicts.push(StateVerdict {
            state_uid: entry.state_uid.clone(),
            label: entry.label.clone(),
            state: entry.descriptor.name.clone(),
            fit: written.map_or(Fit::New, |written| {
                fit(&entry.descriptor, &written.descriptor)
            }),
        });
    }
    let states = |operator: &'_ OperatorState| -> Vec<StateVerdict> {
        let kept = |state: &&StateRef| {
            let name = &state.descriptor.name;
            catalog.iter().any(|entry| {
                entry.state_uid == operator.state_uid && entry.descriptor.name == *name
            })
        };
        let dropped = operator.states.iter().filter(|state| !kept(state));
        let verdict = |state: &StateRef| StateVerdict {
            state_uid: operator.state_uid.clone(),
            label: operator.label.clone(),
            state: state.descriptor.name.clone(),
            fit: Fit::Dropped,
        };
        dropped.map(verdict).collect()
    };
    verdicts.extend(manifest.operators.iter().flat_map(states));
    verdicts
}

/// Whether a plan with these verdicts may start: nothing is incompatible, and nothing is dropped
/// unless that is allowed. The error is a message for users: every state that prevents the start,
/// and what to do.
pub fn summary(verdicts: &[StateVerdict], allow_dropped: bool) -> Result<(), String> {
    let mut why = String::new();
    for verdict in verdicts {
        let name = match (verdict.label.as_str(), verdict.state.as_str()) {
            ("", state) => state.to_owned(),
            (label, state) => format!("state '{state}' of {label}"),
        };
        let line = match &verdict.fit {
            Fit::Incompatible { why } => format!("{name}: {why}"),
            Fit::Dropped if !allow_dropped => format!(
                "{name} ({}) is in the checkpoint but not in the new query: its content would be lost; \
                 keep that part of the query, or run the new query as a StreamJob of its own",
                verdict.state_uid
            ),
            Fit::Dropped | Fit::Exact | Fit::Evolve { .. } | Fit::New => continue,
        };
        let separator = if why.is_empty() { "" } else { "; " };
        // Writing to a String does not fail.
        let _ = write!(why, "{separator}{line}");
    }
    if why.is_empty() { Ok(()) } else { Err(why) }
}

fn find<'a>(manifest: &'a Manifest, state_uid: &str, name: &str) -> Option<&'a StateRef> {
    let operators = manifest
        .operators
        .iter()
        .filter(|operator| operator.state_uid == state_uid);
    operators
        .flat_map(|operator| &operator.states)
        .find(|state| state.descriptor.name == name)
}

fn whole(max_parallelism: u16, manifest: &Manifest) -> Option<StateVerdict> {
    let why = if manifest.key_hash != KEY_HASH {
        format!(
            "keys are spread by '{}', this release knows '{KEY_HASH}': use the release that wrote it",
            manifest.key_hash
        )
    } else if manifest.max_parallelism != max_parallelism {
        format!(
            "the checkpoint has {} key groups, the job is to run with {max_parallelism}: maxParallelism \
             cannot change while there is state; set it back, or start a new job",
            manifest.max_parallelism
        )
    } else {
        return None;
    };
    let (state_uid, label) = (String::new(), String::new());
    Some(StateVerdict {
        state_uid,
        label,
        state: "key groups".to_owned(),
        fit: Fit::Incompatible { why },
    })
}

fn fit(planned: &StateDescriptor, written: &StateDescriptor) -> Fit {
    match incompatibility(planned, written) {
        Some(why) => Fit::Incompatible { why },
        None => match evolution(planned, written) {
            steps if steps.is_empty() => Fit::Exact,
            steps => Fit::Evolve { steps },
        },
    }
}

/// What to do about a state that does not fit.
const REMEDY: &str = "keep that part of the query as it was, or run the new query as a StreamJob \
                      of its own, which starts empty";

fn incompatibility(planned: &StateDescriptor, written: &StateDescriptor) -> Option<String> {
    if written.kind != planned.kind {
        let (was, is) = (kind(written.kind), kind(planned.kind));
        return Some(format!(
            "it holds {was}, the new query keeps {is}; {REMEDY}"
        ));
    }
    let newest = newest(planned.kind);
    if written.version > newest {
        return Some(format!(
            "it was written in version {}, this release reads up to version {newest}: use a newer image",
            written.version
        ));
    }
    if !alike(&planned.key, &written.key) {
        let (was, is) = (types(&written.key), types(&planned.key));
        return Some(format!(
            "its key was {was}, the new query groups by {is}; {REMEDY}"
        ));
    }
    let fields = |descriptor: &StateDescriptor| -> Vec<(String, LogicalType)> {
        descriptor
            .value
            .iter()
            .map(|field| (field.name.clone(), field.ty.clone()))
            .collect()
    };
    let (was, is) = (fields(written), fields(planned));
    let same_names = was
        .iter()
        .map(|field| &field.0)
        .eq(is.iter().map(|field| &field.0));
    let same_types = was
        .iter()
        .zip(&is)
        .all(|(was, is)| same(&was.1.data, &is.1.data));
    if !same_names || !same_types {
        return Some(format!(
            "its fields were ({}), now they are ({}); {REMEDY}",
            list(&was),
            list(&is)
        ));
    }
    for planned in &planned.accumulators {
        let Some(written) = written
            .accumulators
            .iter()
            .find(|written| written.uid == planned.uid)
        else {
            continue;
        };
        if !alike(&planned.columns, &written.columns) {
            return Some(format!(
                "{} was kept as {} {}, the new query needs {} {}, and one cannot be made of the other; {REMEDY}",
                written.label,
                written.label,
                types(&written.columns),
                planned.label,
                types(&planned.columns)
            ));
        }
    }
    None
}

fn evolution(planned: &StateDescriptor, written: &StateDescriptor) -> Vec<String> {
    let uids = |descriptor: &StateDescriptor| -> Vec<String> {
        descriptor
            .accumulators
            .iter()
            .map(|accumulator| accumulator.uid.clone())
            .collect()
    };
    let (was, is) = (uids(written), uids(planned));
    let added = planned
        .accumulators
        .iter()
        .filter(|accumulator| !was.contains(&accumulator.uid));
    let added =
        added.map(|accumulator| format!("add {}, starting from no rows", accumulator.label));
    let dropped = written
        .accumulators
        .iter()
        .filter(|accumulator| !is.contains(&accumulator.uid));
    let dropped = dropped.map(|accumulator| format!("drop {}", accumulator.label));
    let mut steps: Vec<String> = added.chain(dropped).collect();
    if steps.is_empty() && was != is {
        steps.push("reorder the aggregates".to_owned());
    }
    steps
}

fn alike(planned: &[LogicalType], written: &[LogicalType]) -> bool {
    // NULL is encoded in every key and accumulator, so nullability does not matter.
    planned.len() == written.len()
        && planned
            .iter()
            .zip(written)
            .all(|(a, b)| same(&a.data, &b.data))
}

/// Whether values of both types have the same encoding and meaning in state.
fn same(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::Decimal { scale: a, .. }, DataType::Decimal { scale: b, .. }) => a == b,
        (DataType::Timestamp { precision: a }, DataType::Timestamp { precision: b })
        | (DataType::TimestampLtz { precision: a }, DataType::TimestampLtz { precision: b }) => {
            (*a <= 3) == (*b <= 3)
        }
        (a, b) if a.is_string() && b.is_string() => true,
        (a, b) => a == b,
    }
}

fn kind(kind: StateKind) -> &'static str {
    match kind {
        StateKind::Groups => "groups",
        StateKind::WindowSlices => "windows",
        StateKind::Splits => "positions of a source",
    }
}

fn types(types: &[LogicalType]) -> String {
    let names: Vec<String> = types.iter().map(|ty| ty.data.to_string()).collect();
    format!("({})", names.join(", "))
}

fn list(fields: &[(String, LogicalType)]) -> String {
    let names: Vec<String> = fields
        .iter()
        .map(|(name, ty)| format!("{name} {}", ty.data))
        .collect();
    names.join(", ")
}
