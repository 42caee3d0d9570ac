//! AnimateDiff: from blurry frames, a key frame and a prompt to a clip.
//!
//! As in NEURONS (`pipeline_neuroclips.py`): the blurry frames become latents, noise is added,
//! and a network removes the noise step by step. The clip is guided towards the prompt, away from
//! a negative prompt (Ho and Salimans 2022), and tied to the key frame by SparseCtrl:
//!
//! ```text
//! blurry → between → VAE → + noise ─┐
//! prompts → text encoder ───────────┼→ x → e = e_u + g (e_c - e_u) → step → x … → VAE → frames
//! key frame → VAE → SparseCtrl ─────┘    └────────── every timestep ──────────┘
//! ```
//!
//! Results that stay the same from clip to clip are computed once: the text states of a prompt,
//! the latents of a key frame, and the residuals of SparseCtrl. A clip can be cancelled between
//! two steps. A network that gives NaN costs the clip; the next may succeed.

use super::{
    clip::{ClipConditions, ClipSizes, Conditioning, Frames, Pictures, Recipe, Runs, check_len},
    control,
    denoiser::Denoiser,
    draw::Draw,
    frames::{self, Shown},
    networks::{self, ClipNetworks},
    schedule::Schedule,
    scheduler::Step,
    text::TextEncoder,
    vae::Vae,
};
use crate::{
    error::ModelError,
    latent,
    network::{Kept, Network, Runtime},
};

/// A generator. See the module docs.
#[derive(Debug)]
pub struct AnimateDiff {
    sizes: ClipSizes,
    schedule: Schedule,
    text: TextEncoder,
    vae: Vae,
    denoiser: Denoiser,
    /// Pixels and latents of the last key frame.
    keyframe: Option<(Vec<f32>, Vec<f32>)>,
}

impl AnimateDiff {
    /// Opens a generator and runs each network once.
    ///
    /// # Errors
    ///
    /// Fails when a network has other inputs or outputs than its role requires, or cannot be
    /// opened.
    pub fn open(
        networks: &ClipNetworks,
        sizes: ClipSizes,
        schedule: Schedule,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        networks::check(networks, &sizes)?;
        Ok(Self {
            text: TextEncoder::open(&networks.text_encoder, sizes, runtime)?,
            vae: Vae::open(
                [&networks.vae_encoder, &networks.vae_decoder],
                sizes,
                networks.vae_scale,
                runtime,
            )?,
            denoiser: Denoiser::open(&networks.step, sizes, runtime)?,
            keyframe: None,
            sizes,
            schedule,
        })
    }

    /// Makes a clip. `draw` fills blocks with noise. `go_on` is called before the first step and
    /// after each, with the number of steps done and the current latents, shape
    /// `[4, n_frame, latent, latent]`; it cancels the clip by returning `false`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Cancelled`] when `go_on` returned `false`. Otherwise fails when the conditions
    /// have other sizes, when inference fails, or when an output is not finite. The next clip may
    /// succeed.
    pub fn generate(
        &mut self,
        conditions: &ClipConditions<'_>,
        recipe: &Recipe,
        mut draw: impl FnMut(Draw, &mut [f32]),
        go_on: impl FnMut(usize, &[f32]) -> bool,
    ) -> Result<Frames, ModelError> {
        let conditioning = self.condition(conditions, recipe, &mut draw)?;
        let mut x = self.start(&conditions.blurry, &recipe.plan, &mut draw)?;
        self.denoise(&mut x, &recipe.plan, &conditioning, draw, go_on)?;
        let pixels = self.decode(&x, recipe.shown)?;
        let edge = self.sizes.image();
        Ok(Frames {
            rgb: frames::to_bytes(&pixels),
            n: pixels.len() / self.sizes.frame_len(),
            edge,
        })
    }

    /// The inputs that all steps of a clip share.
    ///
    /// # Errors
    ///
    /// See [`AnimateDiff::generate`].
    pub fn condition(
        &mut self,
        conditions: &ClipConditions<'_>,
        recipe: &Recipe,
        draw: impl FnMut(Draw, &mut [f32]),
    ) -> Result<Conditioning, ModelError> {
        let text = self.text.states(conditions.negative, conditions.prompt)?;
        let keyframe = self.keyframe(&conditions.keyframe, draw)?;
        Ok(Conditioning {
            text,
            cond: control::at_first_frame(&keyframe, &self.sizes),
            guidance: recipe.guidance,
            control_scale: recipe.control_scale,
        })
    }

    /// The latents that a clip starts from: the latents of its blurry frames with the noise of the
    /// plan's first timestep. Shape `[4, n_frame, latent, latent]`.
    ///
    /// # Errors
    ///
    /// See [`AnimateDiff::generate`].
    pub fn start(
        &mut self,
        blurry: &Pictures<'_>,
        plan: &[Step],
        mut draw: impl FnMut(Draw, &mut [f32]),
    ) -> Result<Vec<f32>, ModelError> {
        let sizes = self.sizes;
        let n_blurry = sizes.n_frame.div_ceil(3);
        if frames::n_between(n_blurry) != sizes.n_frame {
            let (found, expected) = (sizes.n_frame, frames::n_between(n_blurry));
            return Err(ModelError::ClipInput { name: "a clip's frames", found, expected });
        }
        let blurry = blurry.scaled("the blurry frames", n_blurry, &sizes)?;
        let clip = frames::between(&blurry, sizes.frame_len());
        let mut noise = vec![0.0; sizes.n_frame * sizes.latent_len()];
        draw(Draw::Blurry, &mut noise);
        let latents = self.vae.encode(&clip, &noise)?;
        let mut x = swap_axes(&latents, sizes.n_frame, latent::CHANNELS);
        if let Some(first) = plan.first() {
            draw(Draw::Start, &mut noise);
            self.schedule.add_noise(&mut x, &noise, first.timestep);
        }
        Ok(x)
    }

    /// Takes the steps of a plan, starting from latents with the noise of its first timestep. For
    /// `draw` and `go_on` see [`AnimateDiff::generate`].
    ///
    /// # Errors
    ///
    /// See [`AnimateDiff::generate`]. The latents are then unusable.
    pub fn denoise(
        &mut self,
        x: &mut [f32],
        plan: &[Step],
        conditioning: &Conditioning,
        mut draw: impl FnMut(Draw, &mut [f32]),
        mut go_on: impl FnMut(usize, &[f32]) -> bool,
    ) -> Result<(), ModelError> {
        let mut drawn = vec![0.0; x.len()];
        for (k, step) in plan.iter().enumerate() {
            if !go_on(k, x) {
                return Err(ModelError::Cancelled);
            }
            if step.noise_sd > 0.0 {
                draw(Draw::Step(k), &mut drawn);
            }
            let predicted = self.denoiser.predict(x, step.timestep, conditioning)?;
            step.take(x, predicted, &drawn);
        }
        if go_on(plan.len(), x) { Ok(()) } else { Err(ModelError::Cancelled) }
    }

    /// The noise that the networks predict, guided. Shape of `x` and of the result
    /// `[4, n_frame, latent, latent]`.
    ///
    /// # Errors
    ///
    /// Fails when inference fails or an output is not finite.
    pub fn predict(
        &mut self,
        x: &[f32],
        timestep: usize,
        conditioning: &Conditioning,
    ) -> Result<&[f32], ModelError> {
        self.denoiser.predict(x, timestep, conditioning)
    }

    /// The residuals that SparseCtrl adds at a timestep, in the order of its outputs; `None` if it
    /// is not a separate graph.
    ///
    /// # Errors
    ///
    /// Fails when inference fails.
    pub fn residuals(
        &mut self,
        timestep: usize,
        conditioning: &Conditioning,
    ) -> Result<Option<&[Kept]>, ModelError> {
        self.denoiser.residuals(timestep, conditioning)
    }

    /// Pixels of the frames that are shown, 0 to 1. Shape `[n, 3, image, image]`.
    ///
    /// # Errors
    ///
    /// Fails when inference fails or an output is not finite.
    pub fn decode(&mut self, x: &[f32], shown: Shown) -> Result<Vec<f32>, ModelError> {
        let sizes = self.sizes;
        check_len("latents", x.len(), sizes.n_frame * sizes.latent_len())?;
        let latents = swap_axes(x, latent::CHANNELS, sizes.n_frame);
        let latents: Vec<&[f32]> = latents.chunks_exact(sizes.latent_len()).collect();
        let places: Vec<usize> = shown.places(sizes.n_frame).collect();
        let mut pixels = vec![0.0; places.len() * sizes.frame_len()];
        for (place, picture) in places.into_iter().zip(pixels.chunks_exact_mut(sizes.frame_len())) {
            self.vae.decode(latents[place], picture)?;
        }
        Ok(pixels)
    }

    /// Every network.
    #[must_use]
    pub fn networks(&self) -> Vec<&dyn Network> {
        let mut networks = vec![self.text.network()];
        networks.extend(self.vae.networks());
        networks.extend(self.denoiser.networks());
        networks
    }

    /// The noise schedule that the networks were trained with.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// How often the networks were run.
    #[must_use]
    pub fn runs(&self) -> Runs {
        Runs {
            text_encoder: self.text.n_run,
            vae_encoder: self.vae.n_encoded,
            controlnet: self.denoiser.n_control(),
            step: self.denoiser.n_run,
            vae_decoder: self.vae.n_decoded,
        }
    }

    /// The latents of a key frame; kept from the last clip if the key frame is the same.
    fn keyframe(
        &mut self,
        keyframe: &Pictures<'_>,
        mut draw: impl FnMut(Draw, &mut [f32]),
    ) -> Result<Vec<f32>, ModelError> {
        let pixels = keyframe.scaled("the key frame", 1, &self.sizes)?;
        if let Some((of, latents)) = &self.keyframe
            && *of == pixels
        {
            return Ok(latents.clone());
        }
        let mut noise = vec![0.0; self.sizes.latent_len()];
        draw(Draw::Keyframe, &mut noise);
        let latents = self.vae.encode(&pixels, &noise)?;
        self.keyframe = Some((pixels, latents.clone()));
        Ok(latents)
    }
}

/// From shape `[rows, columns, …]` to `[columns, rows, …]`.
fn swap_axes(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let len = values.len() / (rows * columns);
    let at = |column, row| (row * columns + column) * len;
    let places = (0..columns).flat_map(|column| (0..rows).map(move |row| at(column, row)));
    places.flat_map(|at| &values[at..at + len]).copied().collect()
}
