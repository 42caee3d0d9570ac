//! The networks that see the noise in latents: SparseCtrl and UNet apart, or all in one.
//!
//! Apart, what SparseCtrl adds can be kept from clip to clip, and without guidance the UNet sees
//! one clip rather than two. In one, nothing lies between the networks, and a GPU runs a step as
//! a single graph.

use super::{
    clip::{ClipSizes, Conditioning, check_len},
    control::{self, Residuals},
    networks::StepNetworks,
};
use crate::{
    error::ModelError,
    session::{Input, Kept, Session, SessionOptions},
};

#[derive(Debug)]
enum StepSessions {
    Split { controlnet: Session, unet: Session, residuals: Residuals },
    Uncontrolled(Session),
    Fused(Session),
    FusedPlain(Session),
}

/// The networks of a step. See the module docs.
#[derive(Debug)]
pub(super) struct Denoiser {
    networks: StepSessions,
    /// Clips that the UNet's file takes at once, where it fixes that.
    batch: Option<usize>,
    sizes: ClipSizes,
    mask: Vec<f32>,
    /// Latents, twice.
    doubled: Vec<f32>,
    /// What the UNet predicts of both.
    both: Vec<f32>,
    predicted: Vec<f32>,
    /// Steps run.
    pub(super) n_run: u64,
}

impl Denoiser {
    /// Opens the networks of a step.
    ///
    /// # Errors
    ///
    /// As [`Session::open`].
    pub(super) fn open(
        step: &StepNetworks,
        sizes: ClipSizes,
        options: &SessionOptions,
    ) -> Result<Self, ModelError> {
        let n_value = sizes.n_frame * sizes.latent_len();
        let mask = control::mask(&sizes);
        let open = |shapes: &[Vec<usize>], network| Session::open_at(shapes, network, options);
        // Most that there will be: the first run allocates.
        let batch = step.batch().unwrap_or(2);
        let [sample, context] = [sizes.video(batch).to_vec(), sizes.context(batch).to_vec()];
        let cond = [sizes.video(1).to_vec(), sizes.mask().to_vec(), vec![]];
        let networks = match step {
            StepNetworks::Split { controlnet, unet } => {
                let control = [vec![vec![1], context.clone()], cond.to_vec()].concat();
                let mut controlnet = open(&control, controlnet)?;
                let nothing = Conditioning {
                    text: vec![0.0; 2 * sizes.text_len()],
                    cond: vec![0.0; n_value],
                    guidance: (batch == 2).then_some(1.0),
                    control_scale: 1.0,
                };
                // What it adds has shapes that only it knows.
                let residuals = control::run(0, &nothing, &mask, &sizes, &mut controlnet)?;
                let mut shapes = vec![sample, vec![1], context];
                shapes.extend(residuals.iter().map(|residual| residual.shape()));
                let unet = open(&shapes, unet)?;
                StepSessions::Split { controlnet, unet, residuals: Residuals::default() }
            }
            StepNetworks::Uncontrolled(unet) => {
                StepSessions::Uncontrolled(open(&[sample, vec![1], context], unet)?)
            }
            StepNetworks::Fused(step) => {
                let shapes = [vec![sizes.video(1).to_vec(), vec![1], context], cond.to_vec()];
                StepSessions::Fused(open(&[shapes.concat(), vec![vec![]]].concat(), step)?)
            }
            StepNetworks::FusedPlain(step) => {
                let shapes = [vec![sample, vec![1], context], cond.to_vec()];
                StepSessions::FusedPlain(open(&shapes.concat(), step)?)
            }
        };
        Ok(Self {
            networks,
            batch: step.batch(),
            sizes,
            mask,
            doubled: vec![0.0; 2 * n_value],
            both: vec![0.0; 2 * n_value],
            predicted: vec![0.0; n_value],
            n_run: 0,
        })
    }

    /// The noise that the networks see in latents, guided. Shapes
    /// `[4, n_frame, latent, latent]`.
    ///
    /// # Errors
    ///
    /// Fails when inference does or gives what is not finite, and when the networks cannot be
    /// guided, or have to be.
    pub(super) fn predict(
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
        if self.batch.is_some_and(|fixed| fixed != batch) {
            return Err(ModelError::Guidance { is_guided: batch == 2 });
        }
        let (video, text) = (sizes.video(batch), sizes.context(batch));
        for half in self.doubled.chunks_exact_mut(n_value).take(batch) {
            half.copy_from_slice(x);
        }
        let sample = [
            Input::F32(&video, &self.doubled[..batch * n_value]),
            Input::I64(&[1], &time),
            Input::F32(&text, context),
        ];
        let scale = [conditioning.control_scale];
        // As SparseCtrl and the fused graphs take them.
        let (cond_shape, mask_shape) = (sizes.video(1), sizes.mask());
        let cond = [
            Input::F32(&cond_shape, &conditioning.cond),
            Input::F32(&mask_shape, &self.mask),
            Input::F32(&[], &scale),
        ];
        match &mut self.networks {
            StepSessions::Split { controlnet, unet, residuals } => {
                let residuals =
                    residuals.at(timestep, conditioning, &self.mask, sizes, controlnet)?;
                let mut inputs = sample.to_vec();
                inputs.extend(residuals.iter().map(Input::Kept));
                unet.run_into(&inputs, &mut self.both[..batch * n_value])?;
                guide(&self.both, conditioning.guidance, &mut self.predicted);
            }
            StepSessions::Uncontrolled(unet) => {
                unet.run_into(&sample, &mut self.both[..batch * n_value])?;
                guide(&self.both, conditioning.guidance, &mut self.predicted);
            }
            StepSessions::Fused(step) => {
                let guidance = [conditioning.guidance.unwrap_or(1.0)];
                let clip = sizes.video(1);
                let both = sizes.context(2);
                let mut inputs = vec![
                    Input::F32(&clip, x),
                    Input::I64(&[1], &time),
                    Input::F32(&both, &conditioning.text),
                ];
                inputs.extend(cond);
                inputs.push(Input::F32(&[], &guidance));
                step.run_into(&inputs, &mut self.predicted)?;
            }
            StepSessions::FusedPlain(step) => {
                let inputs: Vec<Input<'_>> = sample.into_iter().chain(cond).collect();
                step.run_into(&inputs, &mut self.predicted)?;
            }
        }
        self.n_run += 1;
        Ok(&self.predicted)
    }

    /// What SparseCtrl adds at a timestep, in the order of its network; nothing where it is not
    /// apart.
    ///
    /// # Errors
    ///
    /// Fails when inference does.
    pub(super) fn residuals(
        &mut self,
        timestep: usize,
        conditioning: &Conditioning,
    ) -> Result<Option<&[Kept]>, ModelError> {
        match &mut self.networks {
            StepSessions::Split { controlnet, residuals, .. } => {
                residuals.at(timestep, conditioning, &self.mask, &self.sizes, controlnet).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// How often SparseCtrl was run, where it is apart.
    pub(super) fn n_control(&self) -> u64 {
        match &self.networks {
            StepSessions::Split { residuals, .. } => residuals.n_run(),
            _ => 0,
        }
    }

    /// The networks.
    pub(super) fn sessions(&self) -> Vec<&Session> {
        match &self.networks {
            StepSessions::Split { controlnet, unet, .. } => vec![controlnet, unet],
            StepSessions::Uncontrolled(step)
            | StepSessions::Fused(step)
            | StepSessions::FusedPlain(step) => vec![step],
        }
    }
}

/// What is predicted without the prompt and with it, in that order, to what is predicted guided;
/// without guidance the first is all there is.
fn guide(both: &[f32], guidance: Option<f32>, predicted: &mut [f32]) {
    let (first, second) = both.split_at(predicted.len());
    match guidance {
        None => predicted.copy_from_slice(first),
        Some(guidance) => {
            for ((e, u), c) in predicted.iter_mut().zip(first).zip(second) {
                *e = u + guidance * (c - u);
            }
        }
    }
}
