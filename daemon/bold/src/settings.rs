//! The settings of the stages that may be left out, as configurations and manifests write them.
//!
//! A stage is on when its settings are there. They decide the signal, so a model states those it
//! was trained with, and a session must have the same. What differs from session to session (the
//! reference volume, the files of nuisance masks) is not part of them.

use serde::{Deserialize, Serialize};

use crate::{
    denoise::{DenoiseOptions, MotionRegressors},
    realign::RealignOptions,
};

/// The settings of all stages that may be left out, in the order of the path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageSettings {
    /// Slice timing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice_timing: Option<SliceTimingSettings>,
    /// Motion correction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realign: Option<RealignSettings>,
    /// Smoothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smooth: Option<SmoothSettings>,
    /// Regression of noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denoise: Option<DenoiseSettings>,
}

impl StageSettings {
    /// Whether a stage needs whole volumes, not only the voxels of the mask.
    #[must_use]
    pub fn need_whole_volumes(&self) -> bool {
        self.slice_timing.is_some() || self.realign.is_some() || self.smooth.is_some()
    }
}

/// An axis of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// The first axis.
    X,
    /// The second axis.
    Y,
    /// The third axis, along which most scans are sliced.
    #[default]
    Z,
}

impl Axis {
    /// Position of the axis in a matrix: 0, 1, 2.
    #[must_use]
    pub fn position(self) -> usize {
        match self {
            Self::X => 0,
            Self::Y => 1,
            Self::Z => 2,
        }
    }

    /// Name of the axis, in lower case.
    #[must_use]
    pub fn name(self) -> char {
        ['x', 'y', 'z'][self.position()]
    }
}

/// Who states the slice times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SliceTimesFrom {
    /// These settings.
    #[default]
    Settings,
    /// The adapter, in the header of each run.
    Adapter,
}

impl SliceTimesFrom {
    fn is_settings(&self) -> bool {
        *self == Self::Settings
    }
}

/// Settings of [`crate::slice_timing`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SliceTimingSettings {
    /// Who states the times.
    #[serde(skip_serializing_if = "SliceTimesFrom::is_settings")]
    pub from: SliceTimesFrom,
    /// Seconds from the start of a volume to the acquisition of each slice, in the order of the
    /// matrix. Empty if the adapter states them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times_s: Vec<f64>,
    /// The axis of the slices. If the adapter states the times, it states the axis too.
    pub axis: Axis,
}

/// Settings of [`crate::realign`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RealignSettings {
    /// Full width at half maximum of the Gaussian before the estimate, in mm.
    pub fwhm_mm: f64,
    /// Distance between the points that are compared, in mm.
    pub separation_mm: f64,
}

impl Default for RealignSettings {
    fn default() -> Self {
        let RealignOptions { fwhm_mm, separation_mm, .. } = RealignOptions::default();
        Self { fwhm_mm, separation_mm }
    }
}

impl From<RealignSettings> for RealignOptions {
    fn from(settings: RealignSettings) -> Self {
        let RealignSettings { fwhm_mm, separation_mm } = settings;
        Self { fwhm_mm, separation_mm, ..Self::default() }
    }
}

/// Settings of [`crate::smooth`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmoothSettings {
    /// Full width at half maximum of the Gaussian, in mm.
    pub fwhm_mm: f64,
}

/// Settings of [`crate::denoise`]; see [`DenoiseOptions`] for each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DenoiseSettings {
    /// Whether a straight line is removed.
    pub linear: bool,
    /// Shortest period of the cosines that are removed, in s; without it there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_pass_s: Option<f64>,
    /// Which motion regressors are removed.
    pub motion: MotionRegressors,
    /// Number of nuisance masks whose means are removed.
    pub n_nuisance: usize,
    /// Whether a design is kept in.
    pub keeps_design: bool,
    /// Weight of a volume relative to the one after it; 1 forgets nothing.
    pub forget: f64,
    /// Whether the volume keeps its mean.
    pub keep_mean: bool,
    /// Expected size of drift, in s.d. of the noise.
    pub drift_size: f64,
    /// Expected size of the effect of 1 mm of motion, in s.d. of the noise.
    pub motion_size: f64,
    /// Expected size of the effect of 1 % of a nuisance mask, in s.d. of the noise.
    pub nuisance_size: f64,
    /// Expected size of the response to the design, in s.d. of the noise.
    pub kept_in_size: f64,
}

impl Default for DenoiseSettings {
    fn default() -> Self {
        let options = DenoiseOptions::default();
        Self {
            linear: options.linear,
            high_pass_s: options.high_pass_s,
            motion: options.motion,
            n_nuisance: 0,
            keeps_design: false,
            forget: options.forget,
            keep_mean: options.keep_mean,
            drift_size: options.drift_size,
            motion_size: options.motion_size,
            nuisance_size: options.nuisance_size,
            kept_in_size: options.kept_in_size,
        }
    }
}

impl From<DenoiseSettings> for DenoiseOptions {
    fn from(settings: DenoiseSettings) -> Self {
        Self {
            linear: settings.linear,
            high_pass_s: settings.high_pass_s,
            motion: settings.motion,
            nuisance: settings.n_nuisance > 0,
            n_kept_in: usize::from(settings.keeps_design),
            forget: settings.forget,
            keep_mean: settings.keep_mean,
            drift_size: settings.drift_size,
            motion_size: settings.motion_size,
            nuisance_size: settings.nuisance_size,
            kept_in_size: settings.kept_in_size,
        }
    }
}
