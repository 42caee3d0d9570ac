//! AnimateDiff: from blurry frames, a key frame and a prompt to a clip.
//!
//! As NEURONS does it (`pipeline_neuroclips.py`): the blurry frames become latents with noise,
//! and step by step a network takes the noise away. It is guided towards the prompt, away from a
//! negative one (Ho and Salimans 2022), and held to the key frame by SparseCtrl:
//!
//! ```text
//! blurry → between → VAE → + noise ─┐
//! prompts → text encoder ───────────┼→ x → e = e_u + g (e_c - e_u) → step → x … → VAE → frames
//! key frame → VAE → SparseCtrl ─────┘    └────────── every timestep ──────────┘
//! ```
//!
//! What stays from clip to clip is computed once: the text states of a prompt, the latents of a
//! key frame, and what SparseCtrl adds. A clip can be dropped between two steps. A network that
//! gives NaN costs the clip; the next may succeed.

use super::{
    clip::{ClipConditions, ClipSizes, Conditioning, Frames, Pictures, Recipe, Runs, check_len},
    control,
    denoiser::Denoiser,
    draw::Draw,
    frames::{self, Shown},
    networks::{self, Networks},
    schedule::Schedule,
    scheduler::Step,
    vae::Vae,
};
use crate::{
    decoupler::reconstruction::LATENT_CHANNELS,
    error::ModelError,
    session::{Input, Kept, Session, SessionOptions},
};

/// What was made of something, with what it was made of.
type Made<T> = Option<(Vec<T>, Vec<f32>)>;

/// A generator. See the module docs.
#[derive(Debug)]
pub struct AnimateDiff {
    sizes: ClipSizes,
    schedule: Schedule,
    text_encoder: Session,
    vae: Vae,
    denoiser: Denoiser,
    /// Ids and text states of the last negative prompt and the last prompt.
    texts: [Made<i64>; 2],
    /// Pixels and latents of the last key frame.
    keyframe: Made<f32>,
    /// Texts encoded.
    n_text: u64,
}

impl AnimateDiff {
    /// Opens a generator and runs each network once.
    ///
    /// # Errors
    ///
    /// Fails when a network does not take or give what it is for, or as [`Session::open`].
    pub fn open(
        networks: &Networks,
        sizes: ClipSizes,
        schedule: Schedule,
        options: &SessionOptions,
    ) -> Result<Self, ModelError> {
        networks::check(networks, &sizes)?;
        let text = vec![1, sizes.n_text_token];
        Ok(Self {
            text_encoder: Session::open_at(&[text], &networks.text_encoder, options)?,
            vae: Vae::open(
                [&networks.vae_encoder, &networks.vae_decoder],
                sizes,
                networks.vae_scale,
                options,
            )?,
            denoiser: Denoiser::open(&networks.step, sizes, options)?,
            texts: [None, None],
            keyframe: None,
            n_text: 0,
            sizes,
            schedule,
        })
    }

    /// Makes a clip. `draw` is asked to fill blocks with noise; `go_on` is told how many steps
    /// are done and the latents as they are, shape `[4, n_frame, latent, latent]`, before the
    /// first step and after each, and ends the clip with `false`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Cancelled`] when `go_on` said so. Else fails when the conditions are of
    /// other sizes, or when inference does or gives what is not finite. The next clip may succeed.
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

    /// What the steps of a clip are told.
    ///
    /// # Errors
    ///
    /// As [`AnimateDiff::generate`].
    pub fn condition(
        &mut self,
        conditions: &ClipConditions<'_>,
        recipe: &Recipe,
        draw: impl FnMut(Draw, &mut [f32]),
    ) -> Result<Conditioning, ModelError> {
        let mut text = self.text(0, conditions.negative)?;
        text.extend(self.text(1, conditions.prompt)?);
        let keyframe = self.keyframe(&conditions.keyframe, draw)?;
        Ok(Conditioning {
            text,
            cond: control::at_first_frame(&keyframe, &self.sizes),
            guidance: recipe.guidance,
            control_scale: recipe.control_scale,
        })
    }

    /// The latents that a clip starts from: those of its blurry frames, with the noise of the
    /// plan's first timestep. Shape `[4, n_frame, latent, latent]`.
    ///
    /// # Errors
    ///
    /// As [`AnimateDiff::generate`].
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
        let mut x = swap_axes(&latents, sizes.n_frame, LATENT_CHANNELS);
        if let Some(first) = plan.first() {
            draw(Draw::Start, &mut noise);
            self.schedule.add_noise(&mut x, &noise, first.timestep);
        }
        Ok(x)
    }

    /// Takes the steps of a plan from latents that are as noisy as its first timestep says; see
    /// [`AnimateDiff::generate`].
    ///
    /// # Errors
    ///
    /// As [`AnimateDiff::generate`]. The latents are of no use then.
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

    /// The noise that the networks see in latents, guided. Shapes
    /// `[4, n_frame, latent, latent]`.
    ///
    /// # Errors
    ///
    /// Fails when inference does or gives what is not finite.
    pub fn predict(
        &mut self,
        x: &[f32],
        timestep: usize,
        conditioning: &Conditioning,
    ) -> Result<&[f32], ModelError> {
        self.denoiser.predict(x, timestep, conditioning)
    }

    /// What SparseCtrl adds at a timestep, in the order of its network; nothing where it is not
    /// apart.
    ///
    /// # Errors
    ///
    /// Fails when inference does.
    pub fn residuals(
        &mut self,
        timestep: usize,
        conditioning: &Conditioning,
    ) -> Result<Option<&[Kept]>, ModelError> {
        self.denoiser.residuals(timestep, conditioning)
    }

    /// What the frames that are shown look like, 0 to 1. Shape `[n, 3, image, image]`.
    ///
    /// # Errors
    ///
    /// Fails when inference does or gives what is not finite.
    pub fn decode(&mut self, x: &[f32], shown: Shown) -> Result<Vec<f32>, ModelError> {
        let sizes = self.sizes;
        check_len("latents", x.len(), sizes.n_frame * sizes.latent_len())?;
        let latents = swap_axes(x, LATENT_CHANNELS, sizes.n_frame);
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
    pub fn sessions(&self) -> Vec<&Session> {
        let mut sessions = vec![&self.text_encoder];
        sessions.extend(self.vae.sessions());
        sessions.extend(self.denoiser.sessions());
        sessions
    }

    /// The noise that the networks were trained with.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// How often the networks were run.
    #[must_use]
    pub fn runs(&self) -> Runs {
        Runs {
            text_encoder: self.n_text,
            vae_encoder: self.vae.n_encoded,
            controlnet: self.denoiser.n_control(),
            step: self.denoiser.n_run,
            vae_decoder: self.vae.n_decoded,
        }
    }

    /// The text states of a prompt, those of the last time if it is the same.
    fn text(&mut self, place: usize, ids: &[i64]) -> Result<Vec<f32>, ModelError> {
        check_len("a prompt's ids", ids.len(), self.sizes.n_text_token)?;
        if let Some((of, states)) = &self.texts[place]
            && of == ids
        {
            return Ok(states.clone());
        }
        let mut states = vec![0.0; self.sizes.text_len()];
        self.text_encoder.run_into(&[Input::I64(&[1, ids.len()], ids)], &mut states)?;
        self.n_text += 1;
        self.texts[place] = Some((ids.to_vec(), states.clone()));
        Ok(states)
    }

    /// The latents of a key frame, those of the last time if it is the same.
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
