//! The stages that may be left out: their settings, agreed with the model, and their files.
//!
//! A section that is left out is taken from the model. The files of a stage belong to the session,
//! so a model that was trained with nuisance masks or a design needs a section that names them.

mod files;

use std::path::PathBuf;

use corticast_bold::{
    denoise::{Denoise, DenoiseInputs, DenoiseOptions},
    realign::{Realign, ReferenceImage},
    run::RunHeader,
    settings::{SliceTimesFrom, StageSettings},
    slice_timing::SliceTiming,
    smooth::Smooth,
    space::VoxelSpace,
    spatial_mask::SpatialMask,
    time::RepetitionTime,
    turn::Turn,
};
use corticast_images::events::Event;
use corticast_models::manifest::Manifest;

use super::{error::PlanError, feedback::files::sha256};
use crate::config::{Config, stages::Reference};

/// What the stages that may be left out do, and what they need.
#[derive(Clone, Debug, Default)]
pub struct StagePlan {
    /// The agreed settings.
    pub settings: StageSettings,
    /// The signal of the image that volumes are realigned to, x fastest; its space is the mask's.
    pub reference_image: Option<Vec<f32>>,
    /// The signal of the model's image, x fastest; its space is the mask's. Volumes are resliced
    /// into it.
    pub model_image: Option<Vec<f32>>,
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
            slice_timing: config.slice_timing.as_ref().map(files::slice_times).transpose()?,
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
        let model_image = realign.and_then(|section| section.model_image.as_deref());
        if let (Some(image), Some(model_image)) = (image, model_image) {
            return Err(PlanError::Stage(format!(
                "[realign] has both `image` ({}) and `model_image` ({}), expected one: volumes are \
                 realigned to `image`, or to the run's own and resliced into the space of \
                 `model_image`",
                image.display(),
                model_image.display()
            )));
        }
        let nuisance = nuisance.iter().map(|path| ("`nuisance` in [denoise]", path));
        let rois = rois.iter().map(|path| ("a region of `rois` in [feedback]", path));
        let regions: Vec<(&str, &PathBuf)> = nuisance.chain(rois).collect();
        Ok(Self {
            settings,
            reference_image: image
                .map(|path| files::in_space("`image` in [realign]", path, space))
                .transpose()?,
            model_image: model_image
                .map(|path| files::in_space("`model_image` in [realign]", path, space))
                .transpose()?,
            reference: realign.map(|section| section.reference).unwrap_or_default(),
            regions: files::means(&regions, space)?,
            design: design.map(|path| files::blocks(path)).transpose()?.unwrap_or_default(),
        })
    }

    /// The stage that realigns volumes of a run; `None` if it is off. The images are in the mask's
    /// space.
    ///
    /// # Errors
    ///
    /// Fails when the stage does not fit the space of the run or an image.
    pub fn realign(
        &self,
        run: &VoxelSpace,
        mask: &VoxelSpace,
    ) -> Result<Option<Realign>, PlanError> {
        let Some(on) = self.settings.realign else { return Ok(None) };
        let image = |signal| ReferenceImage { space: mask, signal };
        let stage = match self.model_image.as_deref() {
            Some(signal) => Realign::into_model(on.into(), run, image(signal)),
            None => Realign::new(on.into(), run, self.reference_image.as_deref().map(image)),
        };
        stage.map(Some).map_err(|error| PlanError::Stage(format!("[realign]: {error}")))
    }

    /// From the voxel order of a run to the one in which the stages work: the mask's, or the run's
    /// own if its volumes are resliced.
    #[must_use]
    pub fn turn(&self, run: &VoxelSpace, mask: &VoxelSpace) -> Turn {
        let own = Turn::none(run.matrix());
        match self.model_image {
            Some(_) => own,
            // A run is only admitted on the mask's grid, unless it is resliced.
            None => Turn::between(run, mask).unwrap_or(own),
        }
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

    /// The stage that interpolates slices in time, for volumes of a run that were brought into the
    /// order of this matrix by `turn`; `None` if it is off.
    ///
    /// # Errors
    ///
    /// Fails when the times do not fit the matrix or the TR, or when the adapter was to state them
    /// and did not.
    pub fn slice_timing(
        &self,
        run: &RunHeader,
        turn: &Turn,
    ) -> Result<Option<SliceTiming>, PlanError> {
        let Some(on) = &self.settings.slice_timing else { return Ok(None) };
        let wrong = |reason: String| PlanError::Stage(format!("[slice_timing]: {reason}"));
        let matrix = turn.turned_matrix();
        let stage = match on.from {
            SliceTimesFrom::Settings => {
                SliceTiming::new(&on.times_s, on.axis.position(), matrix, run.repetition_time)
            }
            SliceTimesFrom::Adapter => {
                let stated = run.slice_times.as_ref().ok_or_else(|| {
                    wrong(
                        "the adapter states no slice times for this run; give `times_s` or \
                         `sidecar`"
                            .to_owned(),
                    )
                })?;
                let (axis, found) = (stated.axis.position(), stated.times_s.len());
                let expected = run.space.matrix()[axis];
                if found != expected {
                    return Err(wrong(format!(
                        "the adapter states {found} slice times, expected {expected}: one for each \
                         slice along {} of the scan",
                        stated.axis.name()
                    )));
                }
                // Their order is the scan's.
                let (axis, times_s) = turn.along(axis, &stated.times_s);
                SliceTiming::new(&times_s, axis, matrix, run.repetition_time)
            }
        };
        stage.map(Some).map_err(|error| wrong(error.to_string()))
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
            let hash = |signal: &[f32]| {
                sha256(&signal.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
            };
            if let Some(signal) = &self.model_image {
                add("model_image", hash(signal));
            }
            let reference = match (&self.reference_image, self.reference) {
                (Some(signal), _) => hash(signal),
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
        self.realign(mask.space(), mask.space())?;
        self.smooth(mask.space())?;
        self.denoise(mask.n_voxel(), None)?;
        let is_of_run = self.model_image.is_none();
        if let Some(on) = &self.settings.slice_timing {
            files::check_slice_times(on, mask.space().matrix(), is_of_run)?;
            if let (Some(tr), SliceTimesFrom::Settings) = (repetition_time, on.from) {
                let axis = on.axis.position();
                let stage = SliceTiming::new(&on.times_s, axis, mask.space().matrix(), tr);
                stage.map_err(|error| PlanError::Stage(format!("[slice_timing]: {error}")))?;
            }
        }
        Ok(())
    }
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
            // As the key is called in the configuration.
            table.trim_end().replace('\n', ", ").replace("kept_in_size", "design_size")
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
