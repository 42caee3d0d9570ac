//! The files of the stages: images in the space of the mask, regions, slice times, blocks.

use std::path::{Path, PathBuf};

use corticast_bold::{
    settings::{SliceTimesFrom, SliceTimingSettings},
    space::VoxelSpace,
    spatial_mask::{SparseRows, SpatialMask},
    turn::Turn,
};
use corticast_images::{
    events::{self, Event},
    text,
};

use crate::{
    config::stages::SliceTimingConfig,
    plan::{
        error::{OTHER_GRID, PlanError},
        mask_file::{self, Image},
    },
};

/// Reads the blocks of a design.
pub(super) fn blocks(path: &Path) -> Result<Vec<Event>, PlanError> {
    events::read(path).map_err(|error| PlanError::Stage(format!("[denoise] design: {error}")))
}

/// Checks what is known of slice times without a TR. `matrix` is the mask's; `is_of_run` unless
/// volumes are resliced into the mask's space.
pub(super) fn check_slice_times(
    on: &SliceTimingSettings,
    matrix: [usize; 3],
    is_of_run: bool,
) -> Result<(), PlanError> {
    /// Longest TR.
    const MAX_S: f64 = 60.0;
    let wrong = |reason: String| Err(PlanError::Stage(format!("[slice_timing]: {reason}")));
    if on.from == SliceTimesFrom::Adapter {
        return Ok(());
    }
    let (axis, name) = (on.axis.position(), on.axis.name());
    let (found, expected) = (on.times_s.len(), matrix[axis]);
    if found == 0 || (found != expected && is_of_run) {
        return wrong(format!(
            "there are {found} slice times, expected {expected}: one for each slice along {name} \
             of the mask's matrix {matrix:?}"
        ));
    }
    let mut times = on.times_s.iter().enumerate();
    match times.find(|(_, time)| !(0.0..MAX_S).contains(*time)) {
        Some((slice, time)) => wrong(format!(
            "the time of slice {slice} is {time} s, expected at least 0 s and less than the TR; \
             slice times are in s, not in ms"
        )),
        None => Ok(()),
    }
}

/// The slice times of a section, from itself or from a BIDS sidecar; or that the adapter states them.
pub(super) fn slice_times(section: &SliceTimingConfig) -> Result<SliceTimingSettings, PlanError> {
    let times_s = match (&section.times_s, &section.sidecar, section.from) {
        (Some(times_s), None, None) => times_s.clone(),
        (None, Some(path), None) => sidecar_times(path)?,
        (None, None, None | Some(SliceTimesFrom::Adapter)) => {
            let from = SliceTimesFrom::Adapter;
            return Ok(SliceTimingSettings { from, ..SliceTimingSettings::default() });
        }
        _ => {
            return Err(PlanError::Stage(
                "[slice_timing] needs one of `times_s`, `sidecar` and `from = \"adapter\"`"
                    .to_owned(),
            ));
        }
    };
    Ok(SliceTimingSettings { times_s, axis: section.axis, ..SliceTimingSettings::default() })
}

/// `SliceTiming` of a BIDS sidecar, in seconds.
fn sidecar_times(path: &Path) -> Result<Vec<f64>, PlanError> {
    /// Largest sidecar that is read.
    const MAX_BYTES: u64 = 16 << 20;
    let wrong = |reason: String| PlanError::Stage(format!("{}: {reason}", path.display()));
    let text = text::read(path, MAX_BYTES).map_err(|error| PlanError::Stage(error.to_string()))?;
    let sidecar: serde_json::Value = text::json(&text).map_err(wrong)?;
    let times = sidecar.get("SliceTiming").ok_or_else(|| {
        wrong("no `SliceTiming`, expected one time in seconds for each slice".to_owned())
    })?;
    serde_json::from_value(times.clone())
        .map_err(|error| wrong(format!("`SliceTiming`: {error}, expected numbers")))
}

/// The values of an image that must be on this grid, in the voxel order of the grid. `what` names
/// its key in errors.
pub(super) fn in_space(what: &str, path: &Path, space: &VoxelSpace) -> Result<Vec<f32>, PlanError> {
    let unusable = |reason: String| PlanError::Stage(format!("cannot use {what}: {reason}"));
    let Image { space: found, values } =
        mask_file::read_image(path).map_err(|error| unusable(error.to_string()))?;
    let turn = Turn::between(&found, space).map_err(|mismatch| {
        let path = path.display();
        unusable(format!("{path} is not on the grid of the mask: {mismatch}; {OTHER_GRID}"))
    })?;
    Ok(turn.values(values))
}

/// A sparse matrix that gives the mean signal of each region. `None` without regions.
pub(super) fn means(
    files: &[(&str, &PathBuf)],
    space: &VoxelSpace,
) -> Result<Option<SpatialMask>, PlanError> {
    if files.is_empty() {
        return Ok(None);
    }
    let [nx, ny, nz] = space.matrix();
    let mut rows = SparseRows { indptr: vec![0], indices: vec![], weights: vec![] };
    for (what, path) in files {
        let values = in_space(what, path, space)?;
        let invalid = |reason: &str| {
            PlanError::Stage(format!("cannot use {what}: {}: {reason}", path.display()))
        };
        if values.iter().any(|value| !value.is_finite() || *value < 0.0) {
            return Err(invalid("a weight is negative or no number, expected 0 or more"));
        }
        let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
        if sum <= 0.0 {
            return Err(invalid("every voxel is 0, expected a region"));
        }
        for x in 0..nx {
            for y in 0..ny {
                for z in 0..nz {
                    let weight = f64::from(values[x + nx * (y + ny * z)]) / sum;
                    if weight > 0.0 {
                        rows.indices.push(((x * ny + y) * nz + z) as u32);
                        rows.weights.push(weight as f32);
                    }
                }
            }
        }
        rows.indptr.push(rows.indices.len() as u32);
    }
    let mask = SpatialMask::from_rows(space.clone(), rows);
    Ok(Some(mask.map_err(|error| PlanError::Stage(format!("cannot use the regions: {error}")))?))
}
