//! AnimateDiff: from blurry frames, a key frame and a prompt to a clip.
//!
//! As NEURONS does it (`pipeline_neuroclips.py`): the blurry frames become latents with noise,
//! and step by step a network takes the noise away. It is guided towards the prompt, away from a
//! negative one (Ho and Salimans 2022), and held to the key frame ([`super::control`]):
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
    contract,
    control::{self, Residuals},
    draw::Draw,
    frames::{self, Shown},
    scheduler::{Schedule, Step},
};
use crate::{
    decoupler::reconstruction::LATENT_CHANNELS,
    error::ModelError,
    manifest::NetworkFacts,
    session::{Input, Kept, Session, SessionOptions},
};

/// What Stable Diffusion 1.5 multiplies latents by.
const VAE_SCALE: f32 = 0.18215;
/// Pixels along the edge of one latent value.
const PIXELS_PER_LATENT: usize = 8;

/// Sizes of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipSizes {
    /// Frames.
    pub n_frame: usize,
    /// Edge of a latent frame.
    pub latent: usize,
    /// Channels of a text state.
    pub text_dim: usize,
    /// Ids of a prompt, with padding.
    pub n_text_token: usize,
}

impl ClipSizes {
    /// Edge of a frame in pixels.
    #[must_use]
    pub fn image(&self) -> usize {
        PIXELS_PER_LATENT * self.latent
    }

    /// Values of one latent frame.
    fn latent_len(&self) -> usize {
        LATENT_CHANNELS * self.latent * self.latent
    }

    /// Values of one frame.
    fn frame_len(&self) -> usize {
        3 * self.image() * self.image()
    }

    /// Shape of so many clips' latents.
    pub(super) fn video(&self, batch: usize) -> [usize; 5] {
        [batch, LATENT_CHANNELS, self.n_frame, self.latent, self.latent]
    }

    pub(super) fn mask(&self) -> [usize; 5] {
        [1, 1, self.n_frame, self.latent, self.latent]
    }

    pub(super) fn context(&self, batch: usize) -> [usize; 3] {
        [batch, self.n_text_token, self.text_dim]
    }

    fn text_len(&self) -> usize {
        self.n_text_token * self.text_dim
    }
}

/// The networks of a generator, as files.
#[derive(Clone, Debug)]
pub struct Networks {
    /// From ids to text states.
    pub text_encoder: NetworkFacts,
    /// From pictures to the mean and log-variance of their latents.
    pub vae_encoder: NetworkFacts,
    /// From latents to pictures.
    pub vae_decoder: NetworkFacts,
    /// One step.
    pub step: StepNetworks,
}

/// The networks of a step, as files.
#[derive(Clone, Debug)]
pub enum StepNetworks {
    /// SparseCtrl apart, so that what it adds can be kept.
    Split {
        /// What is added inside the other.
        controlnet: NetworkFacts,
        /// From noisy latents to their noise.
        unet: NetworkFacts,
    },
    /// All in one.
    Fused(NetworkFacts),
}

/// What a clip is made of.
#[derive(Clone, Copy, Debug)]
pub struct ClipConditions<'a> {
    /// Ids of the prompt, padded. Shape `[n_text_token]`.
    pub prompt: &'a [i64],
    /// Ids of the negative prompt, padded. Shape `[n_text_token]`.
    pub negative: &'a [i64],
    /// Blurry frames, 0 to 1, `(n_frame + 2) / 3` of them. Shape `[n, 3, image, image]`.
    pub blurry: &'a [f32],
    /// Key frame, 0 to 1. Shape `[3, image, image]`.
    pub keyframe: &'a [f32],
}

/// How a clip is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Its steps.
    pub plan: Vec<Step>,
    /// How far the prompt is followed; `None` looks at the prompt only, at half the cost.
    pub guidance: Option<f32>,
    /// How far the key frame is followed.
    pub control_scale: f32,
    /// Frames that are decoded.
    pub shown: Shown,
}

/// What every step of a clip is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditioning {
    /// Text states, of the negative prompt and of the prompt. Shape `[2, n_text_token, text_dim]`.
    pub text: Vec<f32>,
    /// Latents of the key frame at frame 0, else 0. Shape `[4, n_frame, latent, latent]`.
    pub cond: Vec<f32>,
    /// See [`Recipe::guidance`].
    pub guidance: Option<f32>,
    /// See [`Recipe::control_scale`].
    pub control_scale: f32,
}

impl Conditioning {
    /// Clips that the UNet sees at once.
    pub(super) fn batch(&self) -> usize {
        if self.guidance.is_some() { 2 } else { 1 }
    }

    /// The text states that the UNet sees.
    pub(super) fn context(&self, sizes: &ClipSizes) -> &[f32] {
        &self.text[(2 - self.batch()) * sizes.text_len()..]
    }
}

/// A clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// Red, green and blue of the frames that are shown. Shape `[n, 3, edge, edge]`.
    pub rgb: Vec<u8>,
    /// How many.
    pub n: usize,
    /// Pixels along an edge.
    pub edge: usize,
}

/// How often the networks were run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// The text encoder.
    pub text_encoder: u64,
    /// The encoder of pictures, once a picture.
    pub vae_encoder: u64,
    /// SparseCtrl, where it is apart.
    pub controlnet: u64,
    /// The UNet, or all in one.
    pub step: u64,
    /// The decoder of pictures, once a frame.
    pub vae_decoder: u64,
}

#[derive(Debug)]
enum StepSessions {
    Split { controlnet: Session, unet: Session, residuals: Residuals },
    Fused(Session),
}

/// What was made of something, with what it was made of.
type Made<T> = Option<(Vec<T>, Vec<f32>)>;

/// A generator. See the module docs.
#[derive(Debug)]
pub struct AnimateDiff {
    sizes: ClipSizes,
    schedule: Schedule,
    text_encoder: Session,
    vae_encoder: Session,
    vae_decoder: Session,
    step: StepSessions,
    /// Ids and text states of the last negative prompt and the last prompt.
    texts: [Made<i64>; 2],
    /// Pixels and latents of the last key frame.
    keyframe: Made<f32>,
    mask: Vec<f32>,
    /// Latents, twice.
    doubled: Vec<f32>,
    /// What the network predicts of both.
    both: Vec<f32>,
    predicted: Vec<f32>,
    runs: Runs,
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
        contract::check(networks, &sizes)?;
        let n_value = sizes.n_frame * sizes.latent_len();
        let mask = control::mask(&sizes);
        let picture = vec![1, 3, sizes.image(), sizes.image()];
        let latent = vec![1, LATENT_CHANNELS, sizes.latent, sizes.latent];
        let open = |shapes: &[Vec<usize>], network| Session::open_at(shapes, network, options);
        let [video, context] = [sizes.video(1).to_vec(), sizes.context(2).to_vec()];
        let control = [vec![1], context.clone(), video.clone(), sizes.mask().to_vec(), vec![]];
        let step = match &networks.step {
            StepNetworks::Split { controlnet, unet } => {
                let mut controlnet = open(&control, controlnet)?;
                let nothing = Conditioning {
                    text: vec![0.0; 2 * sizes.text_len()],
                    cond: vec![0.0; n_value],
                    guidance: Some(1.0),
                    control_scale: 1.0,
                };
                let residuals = control::run(0, &nothing, &mask, &sizes, &mut controlnet)?;
                let mut shapes = vec![sizes.video(2).to_vec(), vec![1], context];
                shapes.extend(residuals.iter().map(|residual| residual.shape()));
                let unet = open(&shapes, unet)?;
                StepSessions::Split { controlnet, unet, residuals: Residuals::default() }
            }
            StepNetworks::Fused(step) => {
                let mut shapes = vec![video];
                shapes.extend(control);
                shapes.push(vec![]);
                StepSessions::Fused(open(&shapes, step)?)
            }
        };
        Ok(Self {
            text_encoder: open(&[vec![1, sizes.n_text_token]], &networks.text_encoder)?,
            vae_encoder: open(&[picture], &networks.vae_encoder)?,
            vae_decoder: open(&[latent], &networks.vae_decoder)?,
            step,
            texts: [None, None],
            keyframe: None,
            mask,
            doubled: vec![0.0; 2 * n_value],
            both: vec![0.0; 2 * n_value],
            predicted: vec![0.0; n_value],
            runs: Runs::default(),
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
        let mut x = self.start(conditions.blurry, &recipe.plan, &mut draw)?;
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
        let keyframe = self.keyframe(conditions.keyframe, draw)?;
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
        blurry: &[f32],
        plan: &[Step],
        mut draw: impl FnMut(Draw, &mut [f32]),
    ) -> Result<Vec<f32>, ModelError> {
        let sizes = self.sizes;
        let n_blurry = sizes.n_frame.div_ceil(3);
        if frames::n_between(n_blurry) != sizes.n_frame {
            let (found, expected) = (sizes.n_frame, frames::n_between(n_blurry));
            return Err(ModelError::ClipInput { name: "a clip's frames", found, expected });
        }
        check_len("the blurry frames", blurry.len(), n_blurry * sizes.frame_len())?;
        let clip = frames::between(blurry, sizes.frame_len());
        let mut noise = vec![0.0; sizes.n_frame * sizes.latent_len()];
        draw(Draw::Blurry, &mut noise);
        let latents = self.encode(&clip, &noise)?;
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
            let predicted = self.predict(x, step.timestep, conditioning)?;
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
        let sizes = &self.sizes;
        let n_value = self.predicted.len();
        check_len("latents", x.len(), n_value)?;
        let time = [timestep as i64];
        let (batch, context) = (conditioning.batch(), conditioning.context(sizes));
        match &mut self.step {
            StepSessions::Split { controlnet, unet, residuals } => {
                let residuals =
                    residuals.at(timestep, conditioning, &self.mask, sizes, controlnet)?;
                for half in self.doubled.chunks_exact_mut(n_value) {
                    half.copy_from_slice(x);
                }
                let (video, text) = (sizes.video(batch), sizes.context(batch));
                let mut inputs = vec![
                    Input::F32(&video, &self.doubled[..batch * n_value]),
                    Input::I64(&[1], &time),
                    Input::F32(&text, context),
                ];
                inputs.extend(residuals.iter().map(Input::Kept));
                unet.run_into(&inputs, &mut self.both[..batch * n_value])?;
                let (first, second) = self.both.split_at(n_value);
                match conditioning.guidance {
                    None => self.predicted.copy_from_slice(first),
                    Some(guidance) => {
                        for ((e, u), c) in self.predicted.iter_mut().zip(first).zip(second) {
                            *e = u + guidance * (c - u);
                        }
                    }
                }
            }
            StepSessions::Fused(step) => {
                let scale = [conditioning.control_scale];
                let guidance = [conditioning.guidance.unwrap_or(1.0)];
                let inputs = [
                    Input::F32(&sizes.video(1), x),
                    Input::I64(&[1], &time),
                    Input::F32(&sizes.context(2), &conditioning.text),
                    Input::F32(&sizes.video(1), &conditioning.cond),
                    Input::F32(&sizes.mask(), &self.mask),
                    Input::F32(&[], &scale),
                    Input::F32(&[], &guidance),
                ];
                step.run_into(&inputs, &mut self.predicted)?;
            }
        }
        self.runs.step += 1;
        Ok(&self.predicted)
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
        match &mut self.step {
            StepSessions::Split { controlnet, residuals, .. } => {
                residuals.at(timestep, conditioning, &self.mask, &self.sizes, controlnet).map(Some)
            }
            StepSessions::Fused(_) => Ok(None),
        }
    }

    /// What the frames that are shown look like, 0 to 1. Shape `[n, 3, image, image]`.
    ///
    /// # Errors
    ///
    /// Fails when inference does or gives what is not finite.
    pub fn decode(&mut self, x: &[f32], shown: Shown) -> Result<Vec<f32>, ModelError> {
        let sizes = &self.sizes;
        check_len("latents", x.len(), self.predicted.len())?;
        let mut latents = swap_axes(x, LATENT_CHANNELS, sizes.n_frame);
        latents.iter_mut().for_each(|value| *value /= VAE_SCALE);
        let shape = [1, LATENT_CHANNELS, sizes.latent, sizes.latent];
        let mut pixels = Vec::new();
        let mut picture = vec![0.0; sizes.frame_len()];
        for frame in shown.places(sizes.n_frame) {
            let latent = &latents[frame * sizes.latent_len()..][..sizes.latent_len()];
            self.vae_decoder.run_into(&[Input::F32(&shape, latent)], &mut picture)?;
            self.runs.vae_decoder += 1;
            pixels.extend(picture.iter().map(|value| (value / 2.0 + 0.5).clamp(0.0, 1.0)));
        }
        Ok(pixels)
    }

    /// A sample of the latents of pictures, 0 to 1, shape `[n, 3, image, image]`, with noise of
    /// shape `[n, 4, latent, latent]`, which is that of the latents.
    ///
    /// # Errors
    ///
    /// Fails when inference does or gives what is not finite.
    pub fn encode(&mut self, pictures: &[f32], noise: &[f32]) -> Result<Vec<f32>, ModelError> {
        let (edge, n_value) = (self.sizes.image(), self.sizes.latent_len());
        let shape = [1, 3, edge, edge];
        let mut latents = Vec::with_capacity(noise.len());
        let pictures = pictures.chunks_exact(self.sizes.frame_len());
        for (picture, noise) in pictures.zip(noise.chunks_exact(n_value)) {
            let picture: Vec<f32> = picture.iter().map(|value| 2.0 * value - 1.0).collect();
            self.vae_encoder.run(&[Input::F32(&shape, &picture)], |outputs| {
                let (mean, log_var) = (outputs.f32(0, n_value)?, outputs.f32(1, n_value)?);
                let moments = mean.iter().zip(log_var).zip(noise);
                latents.extend(moments.map(|((mean, log_var), z)| {
                    VAE_SCALE * (mean + libm::expf(0.5 * log_var.clamp(-30.0, 20.0)) * z)
                }));
                Ok(())
            })?;
            self.runs.vae_encoder += 1;
        }
        Ok(latents)
    }

    /// How often the networks were run.
    #[must_use]
    pub fn runs(&self) -> Runs {
        let controlnet = match &self.step {
            StepSessions::Split { residuals, .. } => residuals.n_run(),
            StepSessions::Fused(_) => 0,
        };
        Runs { controlnet, ..self.runs }
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
        self.runs.text_encoder += 1;
        self.texts[place] = Some((ids.to_vec(), states.clone()));
        Ok(states)
    }

    /// The latents of a key frame, those of the last time if it is the same.
    fn keyframe(
        &mut self,
        pixels: &[f32],
        mut draw: impl FnMut(Draw, &mut [f32]),
    ) -> Result<Vec<f32>, ModelError> {
        check_len("the key frame", pixels.len(), self.sizes.frame_len())?;
        if let Some((of, latents)) = &self.keyframe
            && of == pixels
        {
            return Ok(latents.clone());
        }
        let mut noise = vec![0.0; self.sizes.latent_len()];
        draw(Draw::Keyframe, &mut noise);
        let latents = self.encode(pixels, &noise)?;
        self.keyframe = Some((pixels.to_vec(), latents.clone()));
        Ok(latents)
    }
}

fn check_len(name: &'static str, found: usize, expected: usize) -> Result<(), ModelError> {
    if found == expected { Ok(()) } else { Err(ModelError::ClipInput { name, found, expected }) }
}

/// From shape `[rows, columns, …]` to `[columns, rows, …]`.
fn swap_axes(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let len = values.len() / (rows * columns);
    let at = |column, row| (row * columns + column) * len;
    let places = (0..columns).flat_map(|column| (0..rows).map(move |row| at(column, row)));
    places.flat_map(|at| &values[at..at + len]).copied().collect()
}
