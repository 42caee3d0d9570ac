//! The sections of the stages that may be left out: `[slice_timing]`, `[realign]`, `[smooth]` and
//! `[denoise]`.
//!
//! A stage is on when its section is there, or when the model was trained with it. What decides the
//! signal ([`corticast_bold::settings::StageSettings`]) must be as the model was trained; files and
//! the reference volume belong to the session.

use std::path::PathBuf;

use corticast_bold::{
    denoise::MotionRegressors,
    settings::{Axis, DenoiseSettings, RealignSettings, SliceTimesFrom, SmoothSettings},
};
use serde::{Deserialize, Serialize};

/// `[slice_timing]`: each slice as if it had been acquired at the start of its volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SliceTimingConfig {
    /// `"adapter"`: the times that the adapter states for each run. So without any other key, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<SliceTimesFrom>,
    /// Seconds from the start of a volume to the acquisition of each slice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times_s: Option<Vec<f64>>,
    /// BIDS sidecar (`.json`) whose `SliceTiming` is used instead of `times_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<PathBuf>,
    /// The axis of the matrix along which the slices lie.
    pub axis: Axis,
}

/// Which volume others are realigned to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reference {
    /// The first used volume of each run.
    #[default]
    Run,
    /// The first used volume of the session's first run.
    Session,
}

/// `[realign]`: motion correction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RealignConfig {
    /// Which volume others are realigned to, without `image`.
    pub reference: Reference,
    /// Image of one volume (`.nii`, `.nii.gz`) that all volumes are realigned to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
    /// Image of one volume of the day on which mask and model were made, in the mask's space. The
    /// reference of each run is found in it, and volumes are resliced into its space; matrix and
    /// affine of the run may be others. Not with `image`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_image: Option<PathBuf>,
    /// Full width at half maximum of the Gaussian before the estimate, in mm.
    pub fwhm_mm: f64,
    /// Distance between the points that are compared, in mm.
    pub separation_mm: f64,
}

impl Default for RealignConfig {
    fn default() -> Self {
        let RealignSettings { fwhm_mm, separation_mm } = RealignSettings::default();
        let (image, model_image) = (None, None);
        Self { reference: Reference::default(), image, model_image, fwhm_mm, separation_mm }
    }
}

impl RealignConfig {
    /// What must be as the model was trained.
    #[must_use]
    pub fn settings(&self) -> RealignSettings {
        RealignSettings { fwhm_mm: self.fwhm_mm, separation_mm: self.separation_mm }
    }
}

/// `[smooth]`: Gaussian smoothing.
pub type SmoothConfig = SmoothSettings;

/// `[denoise]`: regression of drift, motion and nuisance signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DenoiseConfig {
    /// Whether a straight line is removed.
    pub linear: bool,
    /// Shortest period of the cosines that are removed, in s; without it there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_pass_s: Option<f64>,
    /// Which motion regressors are removed: `none`, `6` or `24`.
    pub motion: MotionRegressors,
    /// Images (`.nii`, `.nii.gz`) of regions whose mean signal is removed.
    pub nuisance: Vec<PathBuf>,
    /// `events.tsv` whose blocks stay in the signal: any event is on, everything else off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub design: Option<PathBuf>,
    /// Weight of a volume relative to the one after it; 1 forgets nothing.
    pub forget: f64,
    /// Whether the volume keeps its mean, for a normalisation that takes it out.
    pub keep_mean: bool,
    /// Expected size of drift, in s.d. of the noise.
    pub drift_size: f64,
    /// Expected size of the effect of 1 mm of motion, in s.d. of the noise.
    pub motion_size: f64,
    /// Expected size of the effect of 1 % of a nuisance mask, in s.d. of the noise.
    pub nuisance_size: f64,
    /// Expected size of the response to the design, in s.d. of the noise.
    pub design_size: f64,
}

impl Default for DenoiseConfig {
    fn default() -> Self {
        let settings = DenoiseSettings::default();
        Self {
            linear: settings.linear,
            high_pass_s: settings.high_pass_s,
            motion: settings.motion,
            nuisance: Vec::new(),
            design: None,
            forget: settings.forget,
            keep_mean: settings.keep_mean,
            drift_size: settings.drift_size,
            motion_size: settings.motion_size,
            nuisance_size: settings.nuisance_size,
            design_size: settings.kept_in_size,
        }
    }
}

impl DenoiseConfig {
    /// What must be as the model was trained.
    #[must_use]
    pub fn settings(&self) -> DenoiseSettings {
        DenoiseSettings {
            linear: self.linear,
            high_pass_s: self.high_pass_s,
            motion: self.motion,
            n_nuisance: self.nuisance.len(),
            keeps_design: self.design.is_some(),
            forget: self.forget,
            keep_mean: self.keep_mean,
            drift_size: self.drift_size,
            motion_size: self.motion_size,
            nuisance_size: self.nuisance_size,
            kept_in_size: self.design_size,
        }
    }
}
