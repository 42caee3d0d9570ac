//! Agreeing: the settings of the session, if configuration, mask and model do not contradict each
//! other.
//!
//! A setting that the configuration leaves out is taken from the model; a setting that neither
//! defines has a default. When both define it with different values, the session does not start
//! and the error names both values.

use std::num::NonZeroUsize;

use corticast_bold::{
    gap_fill::MissingVolumes,
    normalise::{FrozenMean, Mode, NormaliseOptions},
    spatial_mask::SpatialMask,
    volume::ShiftInterpolation,
};
use corticast_models::manifest::Manifest;

use super::error::PlanError;
use crate::config::Config;

/// Delay when neither configuration nor model define one: the peak of the canonical response,
/// minus the time in which the signal is still rising.
const DEFAULT_HRF_DELAY_S: f64 = 4.0;

/// Warm-up when neither configuration nor model define one.
const DEFAULT_WARM_UP_VOLUMES: u32 = 6;

/// Baseline when neither configuration nor model define one.
const DEFAULT_BASELINE_VOLUMES: u32 = 10;

/// How volumes are prepared, agreed between session, mask and model.
#[derive(Clone, Debug)]
pub struct SignalOptions {
    /// Seconds from a stimulus to its BOLD response.
    pub hrf_delay_s: f64,
    /// How volumes are shifted to the time of the stimulus.
    pub shift: ShiftInterpolation,
    /// Volumes per window.
    pub window_volumes: NonZeroUsize,
    /// Volumes at the start of a run that are not used.
    pub discard_volumes: u32,
    /// What replaces a missing volume.
    pub missing: MissingVolumes,
    /// Longest gap that is filled, in volumes.
    pub max_fill_volumes: u32,
    /// Volumes in the baseline of DVARS.
    pub quality_baseline_volumes: u32,
    /// How BOLD becomes z-scores.
    pub normalise: NormaliseOptions,
}

/// The settings of the session, if configuration, mask and model agree.
///
/// # Errors
///
/// Fails on the first setting on which they disagree.
pub(super) fn agree(
    config: &Config,
    mask: &SpatialMask,
    manifest: Option<&Manifest>,
) -> Result<SignalOptions, PlanError> {
    if let Some(facts) = manifest.map(|manifest| &manifest.mask) {
        mask.space().check_is(&facts.space).map_err(PlanError::Space)?;
        same("number of voxels", mask.n_voxel(), facts.n_voxel)?;
        same("hash of the mask", mask.hash(), facts.hash.as_str())?;
    }
    let signal = &config.signal;
    let trained = manifest.map(|manifest| &manifest.signal);
    let normalise = &config.normalise;
    let learnt = manifest.map(|manifest| &manifest.normalise);
    let hrf_delay_s = match (signal.hrf_delay_s, trained.map(|t| t.hrf_delay_s)) {
        (Some(found), Some(expected)) if (found - expected).abs() > 1e-6 => {
            return Err(PlanError::Disagreement {
                what: "`hrf_delay_s`",
                found: format!("{found} s"),
                expected: format!("{expected} s"),
            });
        }
        (Some(asked), _) => asked,
        (None, trained) => trained.unwrap_or(DEFAULT_HRF_DELAY_S),
    };
    let mode = pick("normalise `mode`", normalise.mode, learnt.map(|l| l.mode), Mode::default())?;
    Ok(SignalOptions {
        hrf_delay_s,
        shift: pick(
            "`shift`",
            signal.shift,
            trained.map(|t| t.shift),
            ShiftInterpolation::Nearest,
        )?,
        window_volumes: pick(
            "`window_volumes`",
            signal.window_volumes,
            trained.map(|t| t.window_volumes),
            NonZeroUsize::MIN,
        )?,
        discard_volumes: signal.discard_volumes,
        missing: signal.missing,
        max_fill_volumes: signal.max_fill_volumes,
        quality_baseline_volumes: signal.quality_baseline_volumes,
        normalise: NormaliseOptions {
            mode,
            warm_up_volumes: pick(
                "`warm_up_volumes`",
                normalise.warm_up_volumes,
                learnt.and_then(|l| l.warm_up_volumes),
                DEFAULT_WARM_UP_VOLUMES,
            )?,
            baseline_volumes: pick(
                "`baseline_volumes`",
                normalise.baseline_volumes,
                learnt.and_then(|l| l.baseline_volumes.map(std::num::NonZeroU32::get)),
                DEFAULT_BASELINE_VOLUMES,
            )?,
            frozen_mean: pick(
                "`frozen_mean`",
                normalise.frozen_mean,
                learnt.and_then(|l| l.frozen_mean),
                FrozenMean::default(),
            )?,
            across_voxels: pick(
                "`across_voxels`",
                normalise.across_voxels,
                learnt.map(|l| l.across_voxels),
                false,
            )?,
            statistics: learnt.and_then(|l| l.statistics.clone()),
        },
    })
}

/// The configured value, else the value that the model was trained with, else the default.
///
/// # Errors
///
/// Fails when the configuration and the model give different values.
fn pick<T: PartialEq + std::fmt::Debug>(
    what: &'static str,
    asked: Option<T>,
    trained: Option<T>,
    default: T,
) -> Result<T, PlanError> {
    match (asked, trained) {
        (Some(found), Some(expected)) if found != expected => Err(PlanError::Disagreement {
            what,
            found: format!("{found:?}").to_lowercase(),
            expected: format!("{expected:?}").to_lowercase(),
        }),
        (Some(asked), _) => Ok(asked),
        (None, trained) => Ok(trained.unwrap_or(default)),
    }
}

fn same<T: PartialEq + std::fmt::Display>(
    what: &'static str,
    found: T,
    expected: T,
) -> Result<(), PlanError> {
    if found == expected {
        return Ok(());
    }
    Err(PlanError::Disagreement { what, found: found.to_string(), expected: expected.to_string() })
}
