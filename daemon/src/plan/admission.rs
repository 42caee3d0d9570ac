//! Admission: whether a run may start.
//!
//! The run must lie on the grid of the mask, in any voxel order, unless its volumes are resliced. It
//! must have the TR of the model, and the rest of the session must fit the disk. Otherwise the run is
//! refused, with both values in the message.

use std::{path::Path, sync::Arc};

use corticast_bold::{run::RunHeader, space::VoxelSpace, time::RepetitionTime, turn::Turn};

use super::error::OTHER_GRID;
use crate::config::{Config, recording::DiskCheck};

/// Size of a recording over the size of its volumes: noise hardly compresses, and messages and
/// results add a little.
const OVERHEAD: f64 = 1.05;
/// Bytes per voxel, as scanners send it.
const BYTES_PER_VOXEL: f64 = 2.0;
/// Bytes that must stay free for everything else on the disk.
const RESERVE_BYTES: f64 = 256.0 * 1024.0 * 1024.0;

/// Decides whether a run may start, from its header and the number of runs before it. The error is
/// the reason for refusing it.
pub type Admission = Arc<dyn Fn(&RunHeader, usize) -> Result<(), String> + Send + Sync>;

/// Free bytes on the disk of a file, which need not exist yet. `None` when the system does not
/// report it.
pub type FreeBytes = fn(&Path) -> Option<u64>;

/// Admits the runs that were acquired in this space, if one is given, with the TR of the model.
pub(super) fn fits(space: Option<VoxelSpace>, trained: Option<RepetitionTime>) -> Admission {
    Arc::new(move |header: &RunHeader, _| admit(header, space.as_ref(), trained))
}

fn admit(
    header: &RunHeader,
    space: Option<&VoxelSpace>,
    trained: Option<RepetitionTime>,
) -> Result<(), String> {
    if let Some(space) = space {
        Turn::between(&header.space, space).map_err(|mismatch| {
            format!("the scan's grid differs from the mask's: {mismatch}; {OTHER_GRID}")
        })?;
    }
    match trained {
        Some(trained) if !header.repetition_time.agrees_with(trained) => Err(format!(
            "the scan's TR is {}, the model was trained with {trained}",
            header.repetition_time
        )),
        _ => Ok(()),
    }
}

/// Admits the runs that `fits` admits if the disk has room for this run and all expected later
/// runs, with `result_bytes` beside each volume.
pub(super) fn with_disk_check(
    fits: Admission,
    config: &Config,
    result_bytes: usize,
    free_bytes: FreeBytes,
) -> Admission {
    let (recording, session) = (config.recording.clone(), config.session.clone());
    Arc::new(move |header, n_before| {
        fits(header, n_before)?;
        let n_started = u32::try_from(n_before).unwrap_or(u32::MAX).saturating_add(1);
        let n_more = session.expected_runs.saturating_sub(n_started);
        let needed = needed_bytes(header, session.expected_volumes, n_more, result_bytes);
        if let Some(file) = &recording.file
            && let Some(shortage) = shortage(file, needed, free_bytes)
        {
            match recording.disk_check {
                DiskCheck::Refuse => return Err(shortage),
                DiskCheck::Warn => tracing::warn!("{shortage}"),
            }
        }
        Ok(())
    })
}

/// Bytes that the rest of the session needs: this run and `n_more_runs` like it, with
/// `result_bytes` beside each volume. A run has `expected_volumes` if its header gives no number.
fn needed_bytes(
    header: &RunHeader,
    expected_volumes: u32,
    n_more_runs: u32,
    result_bytes: usize,
) -> f64 {
    let n_volumes = f64::from(header.n_volumes.unwrap_or(expected_volumes));
    let volume_bytes = header.space.n_voxel() as f64 * BYTES_PER_VOXEL + result_bytes as f64;
    volume_bytes * OVERHEAD * n_volumes * f64::from(1 + n_more_runs) + RESERVE_BYTES
}

/// The message for the operator when the disk is too small. `None` when it is large enough.
fn shortage(path: &Path, needed_bytes: f64, free_bytes: FreeBytes) -> Option<String> {
    let free = free_bytes(path)? as f64;
    (free < needed_bytes).then(|| {
        format!(
            "the disk of {} has {:.2} GB free, the rest of the session needs {:.2} GB; make room, \
             or set disk_check = \"warn\" in [recording]",
            path.display(),
            free / 1e9,
            needed_bytes / 1e9
        )
    })
}
