//! A range of bytes that a manifest needs.

use streamkeeper_protocol::manifest::{BlockRef, Manifest, ObjectRange};

/// A run with its blocks, or staged rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span<'a> {
    pub(crate) object: &'a str,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) crc32c: u32,
    /// None, or all of it.
    pub(crate) blocks: &'a [BlockRef],
}

/// Everything a manifest needs, by object.
pub(crate) fn spans(manifest: &Manifest) -> Vec<Span<'_>> {
    fn span<'a>(range: &'a ObjectRange, blocks: &'a [BlockRef]) -> Span<'a> {
        Span {
            object: &range.object,
            offset: range.offset,
            len: range.len,
            crc32c: range.crc32c,
            blocks,
        }
    }
    let states = manifest.operators.iter().flat_map(|of| &of.states);
    let runs = states
        .flat_map(|state| &state.runs)
        .map(|run| span(&run.at, &run.blocks));
    let staged = manifest
        .committables
        .iter()
        .filter_map(|committable| Some(span(committable.staged.as_ref()?, &[])));
    let mut all: Vec<_> = runs.chain(staged).collect();
    all.sort_by_key(|span| span.object);
    all
}
