//! Agreeing: the settings of the session, if configuration, mask and model do not contradict each
//! other.
//!
//! A setting that the configuration leaves out is taken from the model; a setting that neither
//! defines has a default. When both define it with different values, the session does not start
//! and the error names both values.

use std::{num::NonZeroUsize, path::PathBuf};

use corticast_bold::{
    gap_fill::MissingVolumes,
    normalise::{FrozenMean, Mode, NormaliseOptions},
    space::VoxelSpace,
    spatial_mask::SpatialMask,
    volume::ShiftInterpolation,
};
use corticast_models::manifest::{Manifest, MaskFacts};

use super::{error::PlanError, stages::StagePlan};
use crate::config::{Config, QualityConfig};

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
    /// The stages that may be left out.
    pub stages: StagePlan,
    /// Thresholds of quality control.
    pub quality: QualityConfig,
}

impl SignalOptions {
    /// The kept-in regressors at a volume that starts here, seconds since the start of volume index
    /// 0: 1 while the response to a block of the design lasts, else 0. Empty without a design.
    #[must_use]
    pub fn kept_in(&self, acquisition_time_s: f64) -> Vec<f64> {
        if !self.stages.settings.denoise.is_some_and(|denoise| denoise.keeps_design) {
            return Vec::new();
        }
        let time_s = acquisition_time_s - self.hrf_delay_s;
        let is_on = self
            .stages
            .design
            .iter()
            .any(|event| event.onset_s <= time_s && time_s < event.onset_s + event.duration_s);
        vec![f64::from(u8::from(is_on))]
    }
}

/// The mask of the session: the model's, in the voxel order of the model, or one that makes the
/// outputs of the model's mask of another scan. Then its grid is today's, and the file names the
/// model's mask by hash.
///
/// # Errors
///
/// Fails on the first property that differs.
pub(super) fn of_model(
    mask: SpatialMask,
    stands_for: Option<&str>,
    facts: &MaskFacts,
) -> Result<SpatialMask, PlanError> {
    if mask.hash() == facts.hash {
        // The hash covers the space, so a manifest that states another one contradicts itself.
        mask.space().check_is(&facts.space).map_err(PlanError::Space)?;
        same("number of voxels", mask.n_voxel(), facts.n_voxel)?;
        return Ok(mask);
    }
    let as_trained = mask.in_space(&facts.space);
    if let Ok(as_trained) = &as_trained
        && as_trained.hash() == facts.hash
    {
        return Ok(as_trained.clone());
    }
    if let Some(found) = stands_for {
        same("number of voxels", mask.n_voxel(), facts.n_voxel)?;
        let expected = facts.hash.as_str();
        same("hash of the mask that the matrix stands for", found, expected)?;
        return Ok(mask);
    }
    let as_trained = as_trained.map_err(PlanError::Space)?;
    same("number of voxels", as_trained.n_voxel(), facts.n_voxel)?;
    same("hash of the mask", as_trained.hash(), facts.hash.as_str())?;
    Ok(as_trained)
}

/// The settings of the session, if configuration and model agree.
///
/// # Errors
///
/// Fails on the first setting on which they disagree.
pub(super) fn agree(
    config: &Config,
    space: &VoxelSpace,
    manifest: Option<&Manifest>,
    rois: &[PathBuf],
) -> Result<SignalOptions, PlanError> {
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
        stages: StagePlan::make(config, space, manifest, rois)?,
        quality: config.quality.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// All voxels of a scan that lies this far from the isocentre.
    fn mask(x_mm: f64, n_z: usize) -> SpatialMask {
        let rows = [[3.0, 0.0, 0.0, x_mm], [0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]];
        let affine = [rows[0], rows[1], rows[2], [0.0, 0.0, 0.0, 1.0]];
        SpatialMask::whole(VoxelSpace::new([2, 2, n_z], affine).unwrap())
    }

    fn facts(mask: &SpatialMask) -> MaskFacts {
        let (hash, space) = (mask.hash().to_owned(), mask.space().clone());
        MaskFacts { hash, n_voxel: mask.n_voxel(), space }
    }

    #[test]
    fn another_scan_needs_a_mask_that_stands_for_the_models() {
        let (model, today) = (facts(&mask(0.0, 2)), mask(5.0, 2));
        assert!(matches!(of_model(today.clone(), None, &model), Err(PlanError::Space(_))));
        of_model(today.clone(), Some(&model.hash), &model).unwrap();
        of_model(mask(0.0, 2), None, &model).unwrap();
    }

    #[test]
    fn the_models_mask_in_another_voxel_order_gets_the_models() {
        let model = mask(0.0, 2);
        let affine = [[0., 0., -3., 3.], [3., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 0., 1.]];
        let stored = VoxelSpace::new([2, 2, 2], affine).unwrap();
        let found = of_model(SpatialMask::whole(stored), None, &facts(&model)).unwrap();
        assert_eq!((found.hash(), found.space()), (model.hash(), model.space()));
    }

    #[test]
    fn a_mask_that_stands_for_another_models_is_refused() {
        let (model, today) = (facts(&mask(0.0, 2)), mask(5.0, 2));
        let error = of_model(today.clone(), Some(today.hash()), &model).unwrap_err().to_string();
        assert!(error.starts_with("hash of the mask that the matrix stands for: "), "{error}");
        let error = of_model(mask(5.0, 3), Some(&model.hash), &model).unwrap_err();
        let expected = "number of voxels: the model was trained with 8, the session has 12";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_model_that_was_trained_with_the_matrix_itself_is_fine() {
        let today = mask(5.0, 2);
        of_model(today.clone(), Some("of an older model"), &facts(&today)).unwrap();
    }
}
