//! `video.toml` as it is written, and its checks.

use std::path::Path;

use serde::Deserialize;

use super::{
    facts::{Graphs, Precision, PromptFacts, Shapes, VideoSizes},
    training::Training,
};
use crate::{
    latent,
    manifest::{
        error::ManifestError,
        file::{FileName, Hex64},
        network::NetworkWritten,
        read::Document,
    },
};

/// Most frames of a clip: AnimateDiff's motion modules know no more positions.
const MAX_FRAMES: usize = 32;
/// Largest edge of a latent frame: pictures of 1024 pixels.
const MAX_LATENT: usize = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(rename = "format")]
    _format: i64,
    #[serde(rename = "family")]
    _family: FamilyWritten,
    pub(super) name: String,
    pub(super) precision: Precision,
    pub(super) shapes: Shapes,
    pub(super) sizes: VideoSizes,
    pub(super) scheduler: SchedulerWritten,
    pub(super) lcm: LcmWritten,
    pub(super) vae: VaeWritten,
    pub(super) prompt: PromptWritten,
    pub(super) graphs: Graphs,
    pub(super) network: Vec<NetworkWritten>,
    #[serde(default, rename = "provenance")]
    _provenance: toml::Table,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FamilyWritten {
    AnimateDiff,
}

pub(super) fn check_sizes(sizes: &VideoSizes, document: &Document) -> Result<(), ManifestError> {
    document.within("sizes.max_frames", sizes.max_frames, MAX_FRAMES)?;
    document.within("sizes.frames", sizes.frames, sizes.max_frames)?;
    document.within("sizes.latent", sizes.latent, MAX_LATENT)?;
    document.within("sizes.text_tokens", sizes.text_tokens, 1024)?;
    document.within("sizes.text_dim", sizes.text_dim, 8192)?;
    for (key, found, expected) in [
        ("sizes.image", sizes.image, latent::PIXELS * sizes.latent),
        ("sizes.latent_channels", sizes.latent_channels, latent::CHANNELS),
    ] {
        if found != expected {
            return Err(document.refuse(key, format!("is {found}, expected {expected}")));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SchedulerWritten {
    train_steps: usize,
    beta_start: f64,
    beta_end: f64,
    beta_schedule: String,
    prediction: String,
    steps_offset: usize,
    spacing: String,
    set_alpha_to_one: bool,
    clip_sample: bool,
    guidance: f32,
}

impl SchedulerWritten {
    /// Refuses a noise schedule that cannot be sampled here: the pictures would look like clips
    /// and be wrong.
    pub(super) fn training(
        &self,
        lcm: &LcmWritten,
        document: &Document,
    ) -> Result<Training, ManifestError> {
        for (key, found, expected) in [
            ("scheduler.beta_schedule", self.beta_schedule.as_str(), "linear"),
            ("scheduler.prediction", &self.prediction, "epsilon"),
            ("scheduler.spacing", &self.spacing, "leading"),
        ] {
            if found != expected {
                return Err(document.refuse(key, format!("is {found:?}, expected {expected:?}")));
            }
        }
        for (key, found, expected) in [
            ("scheduler.set_alpha_to_one", self.set_alpha_to_one, true),
            ("scheduler.clip_sample", self.clip_sample, false),
        ] {
            if found != expected {
                return Err(document.refuse(key, format!("is {found}, expected {expected}")));
            }
        }
        let is_share = |beta: f64| beta > 0.0 && beta < 1.0;
        if !(is_share(self.beta_start) && is_share(self.beta_end)) {
            let found = format!("from {} to {}", self.beta_start, self.beta_end);
            let reason = format!("goes {found}, expected within 0 and 1");
            return Err(document.refuse("scheduler.beta_start", reason));
        }
        document.within("scheduler.train_steps", self.train_steps, 10_000)?;
        if self.steps_offset >= self.train_steps {
            let reason = format!("is {}, expected less than `train_steps`", self.steps_offset);
            return Err(document.refuse("scheduler.steps_offset", reason));
        }
        if !(1..=self.train_steps).contains(&lcm.original_steps) {
            let reason = format!("is {}, expected 1 to `train_steps`", lcm.original_steps);
            return Err(document.refuse("lcm.original_steps", reason));
        }
        for (key, found) in
            [("lcm.timestep_scaling", lcm.timestep_scaling), ("lcm.sigma_data", lcm.sigma_data)]
        {
            if !(found.is_finite() && found > 0.0) {
                return Err(document.refuse(key, format!("is {found}, expected more than 0")));
            }
        }
        Ok(Training {
            timesteps: self.train_steps,
            first_beta: self.beta_start,
            last_beta: self.beta_end,
            steps_offset: self.steps_offset,
            lcm_grid: lcm.original_steps,
            lcm_timestep_scaling: lcm.timestep_scaling,
            lcm_sigma_data: lcm.sigma_data,
        })
    }

    pub(super) fn guidance(&self, document: &Document) -> Result<f32, ManifestError> {
        let guidance = self.guidance;
        if !(guidance.is_finite() && guidance >= 0.0) {
            let reason = format!("is {guidance}, expected 0 or more");
            return Err(document.refuse("scheduler.guidance", reason));
        }
        Ok(guidance)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LcmWritten {
    original_steps: usize,
    timestep_scaling: f64,
    sigma_data: f64,
    pub(super) distilled: bool,
    #[serde(rename = "adapter")]
    _adapter: Option<String>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VaeWritten {
    scale: f32,
}

impl VaeWritten {
    pub(super) fn scale(&self, document: &Document) -> Result<f32, ManifestError> {
        let scale = self.scale;
        if !(scale.is_finite() && scale > 0.0) {
            return Err(document.refuse("vae.scale", format!("is {scale}, expected more than 0")));
        }
        Ok(scale)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PromptWritten {
    suffix: String,
    negative: String,
    start_id: i64,
    end_id: i64,
    pad_id: i64,
    vocabulary: FileName,
    vocabulary_sha256: Hex64,
}

impl PromptWritten {
    pub(super) fn check(self, dir: &Path) -> Result<PromptFacts, ManifestError> {
        Ok(PromptFacts {
            suffix: self.suffix,
            negative: self.negative,
            start_id: self.start_id,
            end_id: self.end_id,
            pad_id: self.pad_id,
            vocabulary: self.vocabulary.verified(dir, &self.vocabulary_sha256)?,
        })
    }
}
