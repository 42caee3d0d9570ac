//! The plan: what configuration, model and mask agree on, before anything starts.
//!
//! A model only gets what it was trained on: the same mask (by hash), matrix, affine, TR, delay and
//! normalisation. A setting that the configuration leaves out is taken from the model; a setting
//! that it names must agree with the model. Everything is compared before the first volume, with
//! both values in the message, and the header of each run again when the run starts.

pub mod admission;
pub mod agree;
pub mod clips;
pub mod describe;
mod effective;
pub mod error;
pub mod mask_file;
mod open;

use corticast_bold::spatial_mask::SpatialMask;
use corticast_models::decoder::Decoder;

use self::{
    admission::{Admission, FreeBytes},
    agree::SignalOptions,
    clips::ClipPlan,
    effective::Agreed,
    error::{MAX_PRODUCT_BYTES, PlanError},
};
use crate::config::Config;

/// What was agreed. See the module docs.
#[derive(Debug)]
pub struct Plan {
    /// As it was written.
    pub config: Config,
    /// Which voxels.
    pub mask: SpatialMask,
    /// How volumes are prepared.
    pub signal: SignalOptions,
    /// The model, if there is one, ready to decode.
    pub decoder: Option<Decoder>,
    /// How clips are made, if any are.
    pub clips: Option<ClipPlan>,
}

impl Plan {
    /// Opens mask and model and compares everything.
    ///
    /// # Errors
    ///
    /// Fails on the first thing that is missing or does not agree.
    pub fn make(config: Config) -> Result<Self, PlanError> {
        let mask_path = config.signal.mask.as_deref().ok_or(PlanError::NoMask)?;
        let mask = mask_file::read(mask_path)?;
        let decoder =
            config.model.dir.as_deref().map(|dir| open::open(dir, &config)).transpose()?;
        let signal = agree::agree(&config, &mask, decoder.as_ref().map(Decoder::manifest))?;
        let clips = clips::agreed(&config, decoder.as_ref())?;
        if clips.is_none() && !config.outputs.is_empty() {
            return Err(PlanError::NoClips);
        }
        for (what, found) in [
            ("what a clip is made of", decoder.as_ref().map_or(0, open::conditions_bytes)),
            ("a clip", clips.as_ref().map_or(0, ClipPlan::bytes)),
        ] {
            if found > MAX_PRODUCT_BYTES {
                return Err(PlanError::TooLarge { what, found });
            }
        }
        Ok(Self { config, mask, signal, decoder, clips })
    }

    /// Whether a run may start: its matrix and affine are the mask's, its TR the model's.
    #[must_use]
    pub fn admission(&self) -> Admission {
        let space = self.mask.space().clone();
        let trained = self.decoder.as_ref().map(|d| d.manifest().signal.repetition_time);
        admission::fits(space, trained)
    }

    /// As [`Plan::admission`], with a check that the rest of the session fits the disk.
    #[must_use]
    pub fn admission_with_disk_check(&self, free_bytes: FreeBytes) -> Admission {
        let only = |recorded: bool, bytes: usize| if recorded { bytes } else { 0 };
        let result_bytes = only(self.config.recording.conditions, self.conditions_bytes())
            + only(self.config.recording.clips, self.clip_bytes());
        admission::with_disk_check(self.admission(), &self.config, result_bytes, free_bytes)
    }

    /// What was agreed, as TOML, for `corticast check`, `prepare` and recordings.
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

    /// The most bytes that a clip takes; 0 where none are made.
    #[must_use]
    pub fn clip_bytes(&self) -> usize {
        self.clips.as_ref().map_or(0, ClipPlan::bytes)
    }

    /// The most bytes that the conditions of one result take; 0 where the model gives none.
    #[must_use]
    pub fn conditions_bytes(&self) -> usize {
        self.decoder.as_ref().map_or(0, open::conditions_bytes)
    }
}
