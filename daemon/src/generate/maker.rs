//! The clip maker: makes pictures from conditions, with the networks in this process.
//!
//! A clip that fails does not affect the next one. Conditions that hardly differ from those of the
//! last clip give no clip.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use corticast_bold::time::TrIndex;
use corticast_models::{
    conditions::Conditions,
    error::ModelError,
    generator::{
        Mode,
        maker::{Maker, MakerOptions, distance},
    },
    network::Provider,
};

use crate::{
    plan::clips::ClipPlan,
    product::{
        clips::{ClipPictures, ClipReport},
        results::ConditionsReport,
        tensors::{NotConditions, from_safetensors},
    },
};

/// Why conditions give no clip.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// The conditions do not match the model.
    #[error("no clip: invalid conditions: {0}")]
    Conditions(#[from] NotConditions),
    /// A network failed.
    #[error("no clip: {0}")]
    Model(#[from] ModelError),
}

/// A finished clip, before it is published.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeClip {
    /// Mode of the generator.
    pub mode: Mode,
    /// Denoising steps.
    pub steps: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// The caption the clip was made from, if any.
    pub caption: Option<String>,
    /// The caption was longer than the text encoder accepts.
    pub caption_cut: bool,
    /// Number of frames.
    pub n_frame: usize,
    /// Pixels along an edge of a frame.
    pub edge: usize,
    /// How long generation took.
    pub took_ns: u64,
    /// Pixels.
    pub pictures: ClipPictures,
}

impl MadeClip {
    /// The report of this clip, made from these conditions.
    #[must_use]
    pub fn into_report(
        self,
        conditions: &ConditionsReport,
        superseded: u32,
        repetition_time_s: f64,
        worker: Option<String>,
        now_ns: u64,
    ) -> ClipReport {
        ClipReport {
            run: Arc::clone(&conditions.run),
            index: conditions.index,
            stimulus_time_s: conditions.stimulus_time_s,
            received_ns: conditions.received_ns,
            published_ns: now_ns,
            age_ns: now_ns.saturating_sub(conditions.received_ns),
            took_ns: self.took_ns,
            mode: self.mode,
            steps: self.steps,
            seed: self.seed,
            superseded,
            caption: self.caption,
            caption_cut: self.caption_cut,
            worker,
            n_frame: self.n_frame,
            edge: self.edge,
            frames_per_s: self.n_frame as f64 / repetition_time_s,
            blanked: conditions.blanked,
            pictures: self.pictures,
        }
    }
}

/// Makes clips from conditions. See the module docs.
#[derive(Debug)]
pub struct ClipMaker {
    plan: ClipPlan,
    maker: Maker,
    /// Conditions of the last clip.
    last: Option<Conditions>,
}

impl ClipMaker {
    /// Opens the networks of a plan and runs each once.
    ///
    /// # Errors
    ///
    /// Fails when [`Maker::open`] does.
    pub fn open(plan: ClipPlan) -> Result<Self, ModelError> {
        let maker =
            Maker::open(plan.options.clone(), &plan.model, plan.set.as_ref(), &plan.runtime)?;
        Ok(Self { plan, maker, last: None })
    }

    /// The plan: options and files that clips are made with.
    #[must_use]
    pub fn plan(&self) -> &ClipPlan {
        &self.plan
    }

    /// The maker, with its networks.
    #[must_use]
    pub fn maker(&self) -> &Maker {
        &self.maker
    }

    /// How long a clip takes on this machine, measured with blank conditions.
    ///
    /// # Errors
    ///
    /// Fails when a network does.
    pub fn trial(&mut self) -> Result<Duration, ModelError> {
        let started = Instant::now();
        let blank = Conditions::blank(self.plan.model.sizes);
        self.maker.make(&blank, TrIndex(0), |_| true)?;
        Ok(started.elapsed())
    }

    /// Steps of each clip.
    #[must_use]
    pub fn n_step(&self) -> usize {
        self.maker.n_step()
    }

    /// Where the networks run.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.maker.provider()
    }

    /// Why the networks run on the CPU although `auto` prefers CUDA.
    #[must_use]
    pub fn fallback_reason(&self) -> Option<&str> {
        self.maker.fallback_reason()
    }

    /// Makes a clip; `None` if the conditions hardly differ from those of the last clip. `go_on`
    /// is called between steps and cancels the clip by returning `false`.
    ///
    /// # Errors
    ///
    /// Fails when the conditions do not match the model, or a network fails. The next clip may
    /// succeed.
    pub fn make(
        &mut self,
        conditions: &ConditionsReport,
        go_on: impl FnMut(usize) -> bool,
    ) -> Result<Option<MadeClip>, ClipError> {
        let started = Instant::now();
        let tr = conditions.index;
        let conditions = from_safetensors(&conditions.tensors, &self.plan.model.sizes)?;
        let is_similar = |last: &Conditions| distance(&conditions, last) < self.plan.skip_similar;
        if self.last.as_ref().is_some_and(is_similar) {
            return Ok(None);
        }
        let clip = self.maker.make(&conditions, tr, go_on)?;
        let pictures = ClipPictures {
            frames: clip.frames.interleaved().into(),
            blurry: clip.blurry.interleaved().into(),
            blurry_edge: clip.blurry.edge,
            mask: conditions.mask.as_deref().map(Bytes::copy_from_slice).unwrap_or_default(),
            mask_edge: conditions.mask.as_ref().map_or(0, |_| conditions.sizes.mask),
        };
        let made = MadeClip {
            mode: self.maker.options().mode,
            steps: self.maker.n_step(),
            seed: self.maker.options().seed,
            caption: conditions.caption.clone(),
            caption_cut: clip.caption_cut,
            n_frame: clip.frames.n,
            edge: clip.frames.edge,
            took_ns: started.elapsed().as_nanos() as u64,
            pictures,
        };
        self.last = Some(conditions);
        Ok(Some(made))
    }

    /// Falls back to blurry frames after a failure of ONNX Runtime. Returns `false` if the mode
    /// was [`Mode::Still`] already.
    ///
    /// # Errors
    ///
    /// Fails when the decoder of blurry frames cannot be opened either.
    pub fn fall_back_to_still(&mut self) -> Result<bool, ModelError> {
        if self.maker.options().mode == Mode::Still {
            return Ok(false);
        }
        let options = MakerOptions { mode: Mode::Still, ..self.plan.options.clone() };
        self.maker = Maker::open(options, &self.plan.model, None, &self.plan.runtime)?;
        Ok(true)
    }
}
