//! The stages that may be left out: their settings, agreed with the model, and their files.
//!
//! A section that is left out is taken from the model. The files of a stage belong to the session,
//! so a model that was trained with nuisance masks or a design needs a section that names them.

use std::path::{Path, PathBuf};

use corticast_bold::{
    denoise::{Denoise, DenoiseInputs, DenoiseOptions},
    realign::{Realign, ReferenceImage},
    settings::{Axis, SliceTimingSettings, StageSettings},
    slice_timing::SliceTiming,
    smooth::Smooth,
    space::VoxelSpace,
    spatial_mask::{SparseRows, SpatialMask},
    time::RepetitionTime,
    turn::Turn,
};
use corticast_images::{
    events::{self, Event},
    text,
};
use corticast_models::manifest::Manifest;

use super::{
    error::{OTHER_GRID, PlanError},
    feedback::files::sha256,
    mask_file::{self, Image, MaskFileError},
};
use crate::config::{
    Config,
    stages::{Reference, SliceTimingConfig},
};

/// What the stages that may be left out do, and what they need.
#[derive(Clone, Debug, Default)]
pub struct StagePlan {
    /// The agreed settings.
    pub settings: StageSettings,
    /// The signal of the image that volumes are realigned to, x fastest; its space is the mask's.
    pub reference_image: Option<Vec<f32>>,
    /// Without an image: whether the reference of the first run is kept for later runs.
    pub reference: Reference,
    /// Regions: one row for each nuisance mask, then one for each region of the feedback. The
    /// outputs are mean signals.
    pub regions: Option<SpatialMask>,
    /// Blocks of the design that is kept in.
    pub design: Vec<Event>,
}

impl StagePlan {
    /// Agrees on the settings and reads the files. `rois` are the regions of the feedback.
    pub(super) fn make(
        config: &Config,
        space: &VoxelSpace,
        manifest: Option<&Manifest>,
        rois: &[PathBuf],
    ) -> Result<Self, PlanError> {
        let asked = StageSettings {
            slice_timing: config.slice_timing.as_ref().map(slice_times).transpose()?,
            realign: config.realign.as_ref().map(|section| section.settings()),
            smooth: config.smooth,
            denoise: config.denoise.as_ref().map(|section| section.settings()),
        };
        let settings = match manifest {
            None => asked,
            Some(manifest) => agreed(asked, &manifest.stages)?,
        };
        let nuisance = config.denoise.as_ref().map_or(&[][..], |section| &section.nuisance);
        let needed = settings.denoise.map_or(0, |denoise| denoise.n_nuisance);
        if needed != nuisance.len() {
            return Err(PlanError::Stage(format!(
                "the model was trained with {needed} nuisance masks; name them in `nuisance` of \
                 [denoise]"
            )));
        }
        let design = config.denoise.as_ref().and_then(|section| section.design.as_ref());
        if settings.denoise.is_some_and(|denoise| denoise.keeps_design) && design.is_none() {
            return Err(PlanError::Stage(
                "the model was trained with a design that is kept in; name its events.tsv in \
                 `design` of [denoise]"
                    .to_owned(),
            ));
        }
        let realign = config.realign.as_ref();
        let image = realign.and_then(|section| section.image.as_deref());
        let files: Vec<&PathBuf> = nuisance.iter().chain(rois).collect();
        Ok(Self {
            settings,
            reference_image: image.map(|path| in_space(path, space)).transpose()?,
            reference: realign.map(|section| section.reference).unwrap_or_default(),
            regions: means(&files, space)?,
            design: design.map(|path| blocks(path)).transpose()?.unwrap_or_default(),
        })
    }

    /// The stage that realigns volumes of this space; `None` if it is off.
    ///
    /// # Errors
    ///
    /// Fails when the stage does not fit the space or the reference image.
    pub fn realign(&self, space: &VoxelSpace) -> Result<Option<Realign>, PlanError> {
        let image = self.reference_image.as_deref();
        let image = image.map(|signal| ReferenceImage { space, signal });
        let stage = self.settings.realign.map(|on| Realign::new(on.into(), space, image));
        stage.transpose().map_err(|error| PlanError::Stage(format!("[realign]: {error}")))
    }

    /// The stage that smooths volumes of this space; `None` if it is off.
    ///
    /// # Errors
    ///
    /// Fails when the width is out of range.
    pub fn smooth(&self, space: &VoxelSpace) -> Result<Option<Smooth>, PlanError> {
        let stage = self.settings.smooth.map(|on| Smooth::new(on.fwhm_mm, space));
        stage.transpose().map_err(|error| PlanError::Stage(format!("[smooth]: {error}")))
    }

    /// The stage that interpolates slices in time; `None` if it is off.
    ///
    /// # Errors
    ///
    /// Fails when the times do not fit the matrix or the TR.
    pub fn slice_timing(
        &self,
        matrix: [usize; 3],
        repetition_time: RepetitionTime,
    ) -> Result<Option<SliceTiming>, PlanError> {
        let Some(on) = &self.settings.slice_timing else { return Ok(None) };
        let axis = match on.axis {
            Axis::X => 0,
            Axis::Y => 1,
            Axis::Z => 2,
        };
        let stage = SliceTiming::new(&on.times_s, axis, matrix, repetition_time);
        stage.map(Some).map_err(|error| PlanError::Stage(format!("[slice_timing]: {error}")))
    }

    /// Number of nuisance masks: so many of the regions come first.
    #[must_use]
    pub fn n_nuisance(&self) -> usize {
        self.settings.denoise.map_or(0, |on| on.n_nuisance)
    }

    /// The stage that denoises so many voxels; `None` if it is off. `keep_mean`: instead of the
    /// setting.
    ///
    /// # Errors
    ///
    /// Fails when a setting is out of range, or motion regressors are on without realignment.
    pub fn denoise(
        &self,
        n_voxel: usize,
        keep_mean: Option<bool>,
    ) -> Result<Option<Denoise>, PlanError> {
        let Some(on) = self.settings.denoise else { return Ok(None) };
        let options = DenoiseOptions::from(on);
        let keep_mean = keep_mean.unwrap_or(options.keep_mean);
        let realigned = self.settings.realign.is_some();
        let inputs = DenoiseInputs { n_voxel, realigned, n_nuisance: on.n_nuisance };
        let stage = Denoise::new(DenoiseOptions { keep_mean, ..options }, inputs);
        stage.map(Some).map_err(|error| PlanError::Stage(format!("[denoise]: {error}")))
    }

    /// Hashes of the files that decide the signal. They belong to the session, not to the model.
    #[must_use]
    pub fn files(&self) -> toml::Table {
        let mut files = toml::Table::new();
        let mut add = |key: &str, value: String| files.insert(key.to_owned(), value.into());
        if let Some(regions) = &self.regions {
            add("regions", regions.hash().to_owned());
        }
        if self.settings.realign.is_some() {
            let reference = match (&self.reference_image, self.reference) {
                (Some(signal), _) => {
                    let bytes: Vec<u8> = signal.iter().flat_map(|v| v.to_le_bytes()).collect();
                    sha256(&bytes)
                }
                (None, Reference::Run) => "run".to_owned(),
                (None, Reference::Session) => "session".to_owned(),
            };
            add("reference", reference);
        }
        if !self.design.is_empty() {
            let lines = self.design.iter().map(|event| {
                format!("{}\t{}\t{}\n", event.onset_s, event.duration_s, event.trial_type)
            });
            add("design", sha256(lines.collect::<String>().as_bytes()));
        }
        files
    }

    /// Checks that every stage can be made.
    ///
    /// # Errors
    ///
    /// Fails with the first stage that does not fit.
    pub(super) fn check(
        &self,
        mask: &SpatialMask,
        repetition_time: Option<RepetitionTime>,
    ) -> Result<(), PlanError> {
        self.realign(mask.space())?;
        self.smooth(mask.space())?;
        self.denoise(mask.n_voxel(), None)?;
        match repetition_time {
            Some(repetition_time) => {
                self.slice_timing(mask.space().matrix(), repetition_time).map(drop)
            }
            None => Ok(()),
        }
    }
}

/// Reads the blocks of a design.
fn blocks(path: &Path) -> Result<Vec<Event>, PlanError> {
    events::read(path).map_err(|error| PlanError::Stage(format!("[denoise] design: {error}")))
}

/// Each stage as asked for, else as the model was trained.
fn agreed(asked: StageSettings, trained: &StageSettings) -> Result<StageSettings, PlanError> {
    fn same<T: PartialEq + Clone + serde::Serialize>(
        what: &'static str,
        asked: Option<T>,
        trained: Option<&T>,
    ) -> Result<Option<T>, PlanError> {
        let shown = |settings: &T| {
            let table = toml::to_string(settings).unwrap_or_default();
            table.trim_end().replace('\n', ", ")
        };
        match (asked, trained) {
            (Some(found), Some(expected)) if found != *expected => Err(PlanError::Disagreement {
                what,
                found: shown(&found),
                expected: shown(expected),
            }),
            (Some(found), None) => Err(PlanError::Disagreement {
                what,
                found: shown(&found),
                expected: "no such stage".to_owned(),
            }),
            (_, trained) => Ok(trained.cloned()),
        }
    }
    Ok(StageSettings {
        slice_timing: same("[slice_timing]", asked.slice_timing, trained.slice_timing.as_ref())?,
        realign: same("[realign]", asked.realign, trained.realign.as_ref())?,
        smooth: same("[smooth]", asked.smooth, trained.smooth.as_ref())?,
        denoise: same("[denoise]", asked.denoise, trained.denoise.as_ref())?,
    })
}

/// The slice times of a section, from itself or from a BIDS sidecar.
fn slice_times(section: &SliceTimingConfig) -> Result<SliceTimingSettings, PlanError> {
    let times_s = match (&section.times_s, &section.sidecar) {
        (Some(times_s), None) => times_s.clone(),
        (None, Some(path)) => sidecar_times(path)?,
        _ => {
            return Err(PlanError::Stage(
                "[slice_timing] needs either `times_s` or `sidecar`".to_owned(),
            ));
        }
    };
    Ok(SliceTimingSettings { times_s, axis: section.axis })
}

/// `SliceTiming` of a BIDS sidecar, in seconds.
fn sidecar_times(path: &Path) -> Result<Vec<f64>, PlanError> {
    /// Largest sidecar that is read.
    const MAX_BYTES: u64 = 16 << 20;
    let wrong = |reason: String| PlanError::Stage(format!("{}: {reason}", path.display()));
    let text = text::read(path, MAX_BYTES).map_err(|error| PlanError::Stage(error.to_string()))?;
    let sidecar: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let times = sidecar.get("SliceTiming").ok_or_else(|| {
        wrong("no `SliceTiming`, expected one time in seconds for each slice".to_owned())
    })?;
    serde_json::from_value(times.clone())
        .map_err(|error| wrong(format!("`SliceTiming`: {error}, expected numbers")))
}

/// The values of an image that must be on this grid, in the voxel order of the grid.
fn in_space(path: &Path, space: &VoxelSpace) -> Result<Vec<f32>, PlanError> {
    let Image { space: found, values } = mask_file::read_image(path)?;
    let turn = Turn::between(&found, space).map_err(|mismatch| {
        let path = path.display();
        PlanError::Stage(format!("{path} is not on the grid of the mask: {mismatch}; {OTHER_GRID}"))
    })?;
    Ok(turn.values(values))
}

/// A sparse matrix that gives the mean signal of each region. `None` without regions.
fn means(files: &[&PathBuf], space: &VoxelSpace) -> Result<Option<SpatialMask>, PlanError> {
    if files.is_empty() {
        return Ok(None);
    }
    let [nx, ny, nz] = space.matrix();
    let mut rows = SparseRows { indptr: vec![0], indices: vec![], weights: vec![] };
    for path in files {
        let values = in_space(path, space)?;
        let invalid =
            |reason: &str| PlanError::Stage(format!("the region {}: {reason}", path.display()));
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
    Ok(Some(
        mask.map_err(|error| MaskFileError::Invalid { path: files[0].clone(), source: error })?,
    ))
}
