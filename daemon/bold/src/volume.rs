//! The types of a volume along the signal path.
//!
//! [`StoredVolume`](crate::decode::StoredVolume) → [`MaskedVolume`] → [`NormalisedVolume`] →
//! [`Window`]. A model takes only a `Window`, and a `Window` consists of normalised volumes only.
//!
//! Stages that need the neighbours of a voxel (realign, smooth) work on a whole [`Volume`], between
//! the first two.

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::time::TrIndex;

/// Whether volumes were measured or filled in.
///
/// Ordered from best to worst: a window takes the worst value of its volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MadeFrom {
    /// All volumes were acquired.
    Measured,
    /// At least one missing volume was interpolated between its neighbours.
    Interpolated,
    /// At least one missing volume was replaced by the one before it.
    Held,
}

/// BOLD of all voxels, for one volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Position in the run.
    pub tr: TrIndex,
    /// Start of acquisition, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// Voxels along x, y, z.
    pub matrix: [usize; 3],
    /// Signal in scanner units, x fastest: `index = x + nx·(y + ny·z)`. Shape `[n_voxel]`.
    pub signal: Vec<f32>,
}

/// Largest magnitude of a signal that stages for whole volumes take: sums of squares of more would
/// not fit into f32 or f64.
const MAX_SIGNAL: f32 = 1e30;

/// Why a stage for whole volumes could not use a volume.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum UnusableVolume {
    /// The volume has another matrix than its run.
    #[error("{tr} has {n_voxel} voxels and the matrix {found:?}, expected the matrix {expected:?}")]
    Matrix {
        /// Which volume.
        tr: TrIndex,
        /// Voxels found.
        n_voxel: usize,
        /// Voxels along x, y, z that the volume names.
        found: [usize; 3],
        /// Voxels along x, y, z of the run.
        expected: [usize; 3],
    },
    /// A voxel is NaN, infinite or absurdly large.
    #[error(
        "{tr} has the signal {signal} at voxel {voxel_index}, expected a number of at most 1e30"
    )]
    NotFinite {
        /// Which volume.
        tr: TrIndex,
        /// First such voxel, in the order of the volume.
        voxel_index: usize,
        /// Its signal.
        signal: f32,
    },
}

impl Volume {
    /// Checks that the volume has this matrix and that its signal is finite.
    pub(crate) fn check(&self, expected: [usize; 3]) -> Result<(), UnusableVolume> {
        let (tr, n_voxel) = (self.tr, self.signal.len());
        if self.matrix != expected || n_voxel != expected.iter().product::<usize>() {
            return Err(UnusableVolume::Matrix { tr, n_voxel, found: self.matrix, expected });
        }
        match unusable_voxel(&self.signal) {
            None => Ok(()),
            Some(voxel_index) => {
                let signal = self.signal[voxel_index];
                Err(UnusableVolume::NotFinite { tr, voxel_index, signal })
            }
        }
    }
}

/// The first voxel whose signal is NaN, infinite or absurdly large.
pub(crate) fn unusable_voxel(signal: &[f32]) -> Option<usize> {
    let is_usable = |signal: &f32| signal.abs() <= MAX_SIGNAL;
    // Without an early end this is one vector instruction per voxels, and usually all are fine.
    let all = signal.iter().fold(true, |all, signal| all & is_usable(signal));
    if all { None } else { signal.iter().position(|signal| !is_usable(signal)) }
}

/// The rigid transform that takes a volume to the reference volume.
///
/// RAS+ axes, rotations about the world origin: a point `p` of the volume, in mm, lies at
/// `R·p + t` in the reference, with `R = Rx(rot_x)·Ry(rot_y)·Rz(rot_z)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Motion {
    /// Translation along x (right), y (anterior), z (superior), in mm.
    pub translation_mm: [f64; 3],
    /// Rotation about x, y, z, in radians.
    pub rotation_rad: [f64; 3],
}

/// What a volume carries for the regression of noise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confounds {
    /// Motion to the reference volume; `None` without realignment.
    pub motion: Option<Motion>,
    /// Mean signal of each nuisance mask, in scanner units, in the order of the configuration.
    pub nuisance: Vec<f32>,
}

/// BOLD at the voxels of a mask, for one volume.
#[derive(Clone, Debug)]
pub struct MaskedVolume {
    /// Position in the run.
    pub tr: TrIndex,
    /// Start of acquisition, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// Signal in scanner units, in mask order. Shape `[n_voxel]`.
    pub bold: Array1<f32>,
    /// Whether the volume was acquired or filled in.
    pub made_from: MadeFrom,
    /// For the stage `denoise`; empty behind it.
    pub confounds: Confounds,
}

/// Normalised BOLD at the voxels of a mask, for one volume.
#[derive(Clone, Debug)]
pub struct NormalisedVolume {
    /// Position in the run.
    pub tr: TrIndex,
    /// Start of acquisition, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// z-scores (scanner units with `mode = "none"`), in mask order. Shape `[n_voxel]`.
    pub bold: Array1<f32>,
    /// Whether the volume was acquired or filled in.
    pub made_from: MadeFrom,
}

/// How volumes are aligned with the time of a stimulus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShiftInterpolation {
    /// The volume as acquired; the stimulus time is the volume's time minus the delay.
    Nearest,
    /// Interpolated between the two volumes that bracket the delayed time; one result per TR, on
    /// the grid `k·TR`.
    Linear,
}

/// Normalised BOLD that belongs to one stimulus.
#[derive(Clone, Debug)]
pub struct Window {
    /// Newest volume used in the window.
    pub tr: TrIndex,
    /// Start of acquisition of that volume, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// When the stimulus of the window's first row was shown, seconds since the start of volume
    /// index 0.
    pub stimulus_time_s: f64,
    /// z-scores, oldest first. Shape `[n_tr, n_voxel]`.
    pub bold: Array2<f32>,
    /// The worst value of its volumes.
    pub made_from: MadeFrom,
    /// How its rows were aligned with the stimulus.
    pub interpolation: ShiftInterpolation,
}
