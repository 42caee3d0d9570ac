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
    Fused(Session),
}

/// The networks of a step. See the module docs.
#[derive(Debug)]
pub(super) struct Denoiser {
    networks: StepSessions,
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
        let [video, context] = [sizes.video(1).to_vec(), sizes.context(2).to_vec()];
        let control = [vec![1], context.clone(), video.clone(), sizes.mask().to_vec(), vec![]];
        let networks = match step {
            StepNetworks::Split { controlnet, unet } => {
                let mut controlnet = open(&control, controlnet)?;
                let nothing = Conditioning {
                    text: vec![0.0; 2 * sizes.text_len()],
                    cond: vec![0.0; n_value],
                    guidance: Some(1.0),
                    control_scale: 1.0,
                };
                // What it adds has shapes that only it knows.
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
            networks,
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
    /// Fails when inference does or gives what is not finite.
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
        match &mut self.networks {
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
            StepSessions::Fused(_) => Ok(None),
        }
    }

    /// How often SparseCtrl was run, where it is apart.
    pub(super) fn n_control(&self) -> u64 {
        match &self.networks {
            StepSessions::Split { residuals, .. } => residuals.n_run(),
            StepSessions::Fused(_) => 0,
        }
    }
}
