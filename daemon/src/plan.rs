//! The plan: the settings on which configuration, model and mask agree, before anything starts.
//!
//! A model only decodes the kind of data it was trained on: same mask (by hash), same grid (in any
//! voxel order), TR, delay and normalisation. Or a sparse matrix makes the outputs of the model's mask of another
//! scan, and names the mask that it stands for. A key that the configuration leaves out is taken from the model; a
//! key that it sets must agree with the model. Everything is compared before the first volume, and
//! the header of each run again when the run starts. An error names both values.

pub mod admission;
pub mod agree;
pub mod clips;
pub mod describe;
mod effective;
pub mod error;
pub mod feedback;
pub mod mask_file;
mod open;
mod outputs;
pub mod stages;

use std::sync::Arc;

use corticast_bold::{run::RunHeader, spatial_mask::SpatialMask};
use corticast_models::{decoder::Decoder, error::ModelError, runtime::provider::Device};

use self::{
    admission::{Admission, FreeBytes},
    agree::SignalOptions,
    clips::ClipPlan,
    effective::Agreed,
    error::{MAX_PRODUCT_BYTES, PlanError},
    feedback::FeedbackPlan,
    mask_file::MaskFile,
};
use crate::config::Config;

/// The plan of a session. See the module docs.
#[derive(Debug)]
pub struct Plan {
    /// The configuration as written.
    pub config: Config,
    /// The voxels that are used.
    pub mask: SpatialMask,
    /// How volumes are prepared.
    pub signal: SignalOptions,
    /// What the participant is shown; `None` without feedback.
    pub feedback: Option<FeedbackPlan>,
    /// The model, ready to decode; `None` when no model is configured.
    pub decoder: Option<Decoder>,
    /// How clips are made; `None` when no clips are configured.
    pub clips: Option<ClipPlan>,
}

impl Plan {
    /// Opens mask and model and compares everything.
    ///
    /// # Errors
    ///
    /// Fails when a file is missing or cannot be read, or on the first disagreement.
    pub fn make(config: Config) -> Result<Self, PlanError> {
        let mask_path = config.signal.mask.as_deref().ok_or(PlanError::NoMask)?;
        let MaskFile { mut mask, stands_for } = mask_file::read(mask_path)?;
        let decoder =
            config.model.dir.as_deref().map(|dir| open::open(dir, &config)).transpose()?;
        let manifest = decoder.as_ref().map(Decoder::manifest);
        if let Some(manifest) = manifest {
            mask = agree::of_model(mask, stands_for.as_deref(), &manifest.mask)?;
        }
        let signal = agree::agree(&config, mask.space(), manifest, &feedback::rois(&config))?;
        signal.stages.check(&mask, manifest.map(|manifest| manifest.signal.repetition_time))?;
        let n_value = signal.window_volumes.get() * mask.n_voxel();
        let feedback = FeedbackPlan::make(&config, decoder.as_ref(), n_value)?;
        if let Some(feedback) = &feedback {
            feedback.engine(signal.hrf_delay_s)?;
            let trained = manifest.map(|manifest| manifest.signal.repetition_time);
            feedback.check_recorded(signal.hrf_delay_s, trained)?;
        }
        let clips = clips::agreed(&config, decoder.as_ref())?;
        if clips.is_none() && config.outputs.has_clips() {
            return Err(PlanError::NoClips);
        }
        for (what, found) in [
            ("the input of a clip", decoder.as_ref().map_or(0, open::conditions_bytes)),
            ("a clip", clips.as_ref().map_or(0, ClipPlan::bytes)),
        ] {
            if found > MAX_PRODUCT_BYTES {
                return Err(PlanError::TooLarge { what, found });
            }
        }
        Ok(Self { config, mask, signal, feedback, decoder, clips })
    }

    /// Opens the model again on the CPU; `None` without a model.
    #[must_use]
    pub fn reopen_on_cpu(&self) -> Option<Box<dyn FnOnce() -> Result<Decoder, ModelError> + Send>> {
        let dir = self.config.model.dir.clone()?;
        let mut config = self.config.clone();
        config.model.device = Device::Cpu;
        Some(Box::new(move || open::open(&dir, &config)))
    }

    /// The check of whether a run may start: the grid of the mask, in any voxel order, unless volumes
    /// are resliced into its space, and the TR of the model.
    #[must_use]
    pub fn admission(&self) -> Admission {
        let space = self.mask.space().clone();
        let trained = self.decoder.as_ref().map(|d| d.manifest().signal.repetition_time);
        let is_resliced = self.signal.stages.model_image.is_some();
        let fits = admission::fits((!is_resliced).then(|| space.clone()), trained);
        let (stages, feedback) = (self.signal.stages.clone(), self.feedback.clone());
        let hrf_delay_s = self.signal.hrf_delay_s;
        Arc::new(move |header: &RunHeader, n_before| {
            fits(header, n_before)?;
            if is_resliced {
                stages.realign(&header.space, &space).map_err(|error| error.to_string())?;
            }
            let turn = stages.turn(&header.space, &space);
            stages.slice_timing(header, &turn).map_err(|error| error.to_string())?;
            feedback.as_ref().map_or(Ok(()), |feedback| feedback.admit(header, hrf_delay_s))
        })
    }

    /// As [`Plan::admission`], with a check that the rest of the session fits the disk.
    #[must_use]
    pub fn admission_with_disk_check(&self, free_bytes: FreeBytes) -> Admission {
        let only = |recorded: bool, bytes: usize| if recorded { bytes } else { 0 };
        let result_bytes = only(self.config.recording.conditions, self.conditions_bytes())
            + only(self.config.recording.clips, self.clip_bytes());
        admission::with_disk_check(self.admission(), &self.config, result_bytes, free_bytes)
    }

    /// The agreed settings as TOML, for `corticast check`, `prepare` and recordings.
    #[must_use]
    pub fn effective(&self) -> toml::Table {
        effective::table(&Agreed {
            mask: &self.mask,
            signal: &self.signal,
            decoder: &self.config.decoder,
            family: self.decoder.as_ref().map(Decoder::family),
            clips: self.clips.as_ref(),
        })
    }

    /// Largest size of a clip, in bytes; 0 when no clips are made.
    #[must_use]
    pub fn clip_bytes(&self) -> usize {
        self.clips.as_ref().map_or(0, ClipPlan::bytes)
    }

    /// Largest size of the conditions of one result, in bytes; 0 when the model gives none.
    #[must_use]
    pub fn conditions_bytes(&self) -> usize {
        self.decoder.as_ref().map_or(0, open::conditions_bytes)
    }
}
