//! The networks that predict the noise in latents: SparseCtrl and UNet as two graphs, or fused.
//!
//! With two graphs, SparseCtrl's residuals can be kept from clip to clip, and without guidance the
//! UNet runs one clip instead of two. A fused step has no tensors between graphs, and a GPU runs
//! it as a single graph.

use super::{
    clip::{ClipSizes, Conditioning, check_len},
    control::{self, Residuals},
    networks::StepNetworks,
};
use crate::{
    error::ModelError,
    network::{Input, Kept, Network, Runtime},
};

#[derive(Debug)]
enum OpenStep {
    Split { controlnet: Box<dyn Network>, unet: Box<dyn Network>, residuals: Residuals },
    Uncontrolled(Box<dyn Network>),
    Fused(Box<dyn Network>),
    FusedPlain(Box<dyn Network>),
}

/// The networks of a step. See the module docs.
#[derive(Debug)]
pub(super) struct Denoiser {
    step: OpenStep,
    /// Number of clips in one run, if the UNet's file fixes it.
    batch: Option<usize>,
    sizes: ClipSizes,
    mask: Vec<f32>,
    /// The latents twice: for the negative prompt and the prompt.
    doubled: Vec<f32>,
    /// The noise that the UNet predicts for both.
    both: Vec<f32>,
    predicted: Vec<f32>,
    /// Number of steps run.
    pub(super) n_run: u64,
}

impl Denoiser {
    /// Opens the networks of a step.
    ///
    /// # Errors
    ///
    /// See [`Runtime::open_at`].
    pub(super) fn open(
        step: &StepNetworks,
        sizes: ClipSizes,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        let n_value = sizes.n_frame * sizes.latent_len();
        let mask = control::mask(&sizes);
        let open = |shapes: &[Vec<usize>], network| runtime.open_at(shapes, network);
        // The largest batch of the clip, because the first run allocates.
        let batch = step.batch().unwrap_or(2);
        let [sample, context] = [sizes.video(batch).to_vec(), sizes.context(batch).to_vec()];
        let cond = [sizes.video(1).to_vec(), sizes.mask().to_vec(), vec![]];
        let opened = match step {
            StepNetworks::Split { controlnet, unet } => {
                let control = [vec![vec![1], context.clone()], cond.to_vec()].concat();
                let mut controlnet = open(&control, controlnet)?;
                let nothing = Conditioning {
                    text: vec![0.0; 2 * sizes.text_len()],
                    cond: vec![0.0; n_value],
                    guidance: (batch == 2).then_some(1.0),
                    control_scale: 1.0,
                };
                // Only the network itself knows the shapes of its residuals.
                let residuals = control::run(0, &nothing, &mask, &sizes, controlnet.as_mut())?;
                let mut shapes = vec![sample, vec![1], context];
                shapes.extend(residuals.iter().map(|residual| residual.shape()));
                let unet = open(&shapes, unet)?;
                OpenStep::Split { controlnet, unet, residuals: Residuals::default() }
            }
            StepNetworks::Uncontrolled(unet) => {
                OpenStep::Uncontrolled(open(&[sample, vec![1], context], unet)?)
            }
            StepNetworks::Fused(step) => {
                let shapes = [vec![sizes.video(1).to_vec(), vec![1], context], cond.to_vec()];
                OpenStep::Fused(open(&[shapes.concat(), vec![vec![]]].concat(), step)?)
            }
            StepNetworks::FusedPlain(step) => {
                let shapes = [vec![sample, vec![1], context], cond.to_vec()];
                OpenStep::FusedPlain(open(&shapes.concat(), step)?)
            }
        };
        Ok(Self {
            step: opened,
            batch: step.batch(),
            sizes,
            mask,
            doubled: vec![0.0; 2 * n_value],
            both: vec![0.0; 2 * n_value],
            predicted: vec![0.0; n_value],
            n_run: 0,
        })
    }

    /// The noise that the networks predict, guided. Shape of `x` and of the result
    /// `[4, n_frame, latent, latent]`.
    ///
    /// # Errors
    ///
    /// Fails when inference fails, when the output is not finite, or when the networks were exported
    /// for the other kind of guidance.
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
        // The inputs that SparseCtrl and the fused graphs share.
        let (cond_shape, mask_shape) = (sizes.video(1), sizes.mask());
        let cond = [
            Input::F32(&cond_shape, &conditioning.cond),
            Input::F32(&mask_shape, &self.mask),
            Input::F32(&[], &scale),
        ];
        match &mut self.step {
            OpenStep::Split { controlnet, unet, residuals } => {
                let residuals =
                    residuals.at(timestep, conditioning, &self.mask, sizes, controlnet.as_mut())?;
                let mut inputs = sample.to_vec();
                inputs.extend(residuals.iter().map(Input::Kept));
                unet.run_into(&inputs, &mut self.both[..batch * n_value])?;
                guide(&self.both, conditioning.guidance, &mut self.predicted);
            }
            OpenStep::Uncontrolled(unet) => {
                unet.run_into(&sample, &mut self.both[..batch * n_value])?;
                guide(&self.both, conditioning.guidance, &mut self.predicted);
            }
            OpenStep::Fused(step) => {
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
            OpenStep::FusedPlain(step) => {
                let inputs: Vec<Input<'_>> = sample.into_iter().chain(cond).collect();
                step.run_into(&inputs, &mut self.predicted)?;
            }
        }
        self.n_run += 1;
        Ok(&self.predicted)
    }

    /// The residuals that SparseCtrl adds at a timestep, in the order of its outputs; `None` if it
    /// is not a separate graph.
    ///
    /// # Errors
    ///
    /// Fails when inference fails.
    pub(super) fn residuals(
        &mut self,
        timestep: usize,
        conditioning: &Conditioning,
    ) -> Result<Option<&[Kept]>, ModelError> {
        match &mut self.step {
            OpenStep::Split { controlnet, residuals, .. } => {
                let (mask, sizes) = (&self.mask, &self.sizes);
                residuals.at(timestep, conditioning, mask, sizes, controlnet.as_mut()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// How often SparseCtrl ran, if it is a separate graph.
    pub(super) fn n_control(&self) -> u64 {
        match &self.step {
            OpenStep::Split { residuals, .. } => residuals.n_run(),
            _ => 0,
        }
    }

    /// The networks.
    pub(super) fn networks(&self) -> Vec<&dyn Network> {
        match &self.step {
            OpenStep::Split { controlnet, unet, .. } => vec![controlnet.as_ref(), unet.as_ref()],
            OpenStep::Uncontrolled(step) | OpenStep::Fused(step) | OpenStep::FusedPlain(step) => {
                vec![step.as_ref()]
            }
        }
    }
}

/// Combines the predictions for the negative prompt and the prompt, in that order, to the guided
/// one. Without guidance only the first is used.
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
