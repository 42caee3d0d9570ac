//! What a report says is wrong with a recording, up to the end of its run.

use std::path::Path;

use crate::recording::{
    fault::{Fault, FaultKind, Faults},
    segments,
};

/// A place in a recording: number of the segment, and byte.
pub(super) type Place = (u32, u64);

/// Number of a file of a recording.
pub(super) fn segment_number(file: &Path) -> u32 {
    segments::parse(file).map_or(0, |(_, number)| number)
}

/// What is damaged before a place, and where files were cut by a kill; all of them without a place.
/// A report names files and no folders.
pub(super) fn faults_before(faults: &Faults, end: Option<Place>) -> (Vec<String>, Vec<String>) {
    let place = |fault: &Fault| match fault.kind {
        FaultKind::Cut { at } | FaultKind::Io { at, .. } => (segment_number(&fault.path), at),
        FaultKind::Damaged { from, .. } => (segment_number(&fault.path), from),
        FaultKind::Missing | FaultKind::Foreign => (segment_number(&fault.path), 0),
    };
    let before = faults.iter().filter(|fault| end.is_none_or(|end| place(fault) < end));
    let named = |fault: &&Fault| {
        let name = fault.path.file_name().unwrap_or_default();
        Fault { path: name.into(), kind: fault.kind.clone() }.to_string()
    };
    let (cuts, damage): (Vec<_>, Vec<_>) =
        before.partition(|fault| matches!(fault.kind, FaultKind::Cut { .. }));
    (damage.iter().map(named).collect(), cuts.iter().map(named).collect())
}
