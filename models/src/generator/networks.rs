//! The files of the networks that make clips, and the inputs and outputs that they must have.

use super::clip::ClipSizes;
use crate::{
    error::ModelError,
    latent,
    manifest::{Dim, ElementType, NetworkFacts, TensorFacts, listed},
};

use Dim::{Fixed, Open};

/// The files of the networks that make clips.
#[derive(Clone, Debug)]
pub struct ClipNetworks {
    /// From ids to text states.
    pub text_encoder: NetworkFacts,
    /// From pictures to the mean and log-variance of their latents.
    pub vae_encoder: NetworkFacts,
    /// From latents to pictures.
    pub vae_decoder: NetworkFacts,
    /// Factor that latents are multiplied by.
    pub vae_scale: f32,
    /// The networks of one step.
    pub step: StepNetworks,
}

/// The files of the networks of one step.
#[derive(Clone, Debug)]
pub enum StepNetworks {
    /// SparseCtrl and UNet as two graphs, so that the residuals can be kept.
    Split {
        /// SparseCtrl: from a key frame to the residuals.
        controlnet: NetworkFacts,
        /// From noisy latents to their noise.
        unet: NetworkFacts,
    },
    /// The UNet alone; the clip is not tied to the key frame.
    Uncontrolled(NetworkFacts),
    /// One graph, with guidance.
    Fused(NetworkFacts),
    /// One graph, without guidance.
    FusedPlain(NetworkFacts),
}

impl StepNetworks {
    /// Number of clips in one run, if the file fixes it: 2 with guidance, 1 without.
    pub(super) fn batch(&self) -> Option<usize> {
        let dim = |network: &NetworkFacts| match network.inputs.first()?.shape.first()? {
            Dim::Fixed(n) => Some(*n),
            Dim::Open => None,
        };
        match self {
            Self::Split { unet, .. } | Self::Uncontrolled(unet) => dim(unet),
            // A guidance of 1 is the same as none.
            Self::Fused(_) => None,
            Self::FusedPlain(_) => Some(1),
        }
    }

    /// Refuses networks that were exported for the other kind of guidance.
    ///
    /// # Errors
    ///
    /// [`ModelError::Guidance`].
    pub(super) fn check_guidance(&self, is_guided: bool) -> Result<(), ModelError> {
        let batch = if is_guided { 2 } else { 1 };
        match self.batch() {
            Some(found) if found != batch => Err(ModelError::Guidance { is_guided }),
            _ => Ok(()),
        }
    }
}

/// Checks the inputs and outputs of every network. A dimension that a network leaves open fits.
pub(super) fn check(networks: &ClipNetworks, sizes: &ClipSizes) -> Result<(), ModelError> {
    let f32 = TensorFacts::f32;
    let (frames, latent, image) = (Fixed(sizes.n_frame), Fixed(sizes.latent), Fixed(sizes.image()));
    let channels = Fixed(latent::CHANNELS);
    let i64 =
        |name: &str, shape: &[Dim]| TensorFacts { dtype: ElementType::I64, ..f32(name, shape) };
    let text = |name| f32(name, &[Open, Fixed(sizes.n_text_token), Fixed(sizes.text_dim)]);
    let video = |name, batch| f32(name, &[batch, channels, frames, latent, latent]);
    let mask = f32("mask", &[Fixed(1), Fixed(1), frames, latent, latent]);
    let picture = |name| f32(name, &[Open, Fixed(3), image, image]);
    let small = |name| f32(name, &[Open, channels, latent, latent]);
    let timestep = || i64("timestep", &[Fixed(1)]);

    fits(
        &networks.text_encoder,
        &[i64("input_ids", &[Open, Fixed(sizes.n_text_token)])],
        &[text("last_hidden_state")],
    )?;
    fits(&networks.vae_encoder, &[picture("image")], &[small("mean"), small("logvar")])?;
    fits(&networks.vae_decoder, &[small("latent")], &[picture("image")])?;
    match &networks.step {
        StepNetworks::Split { controlnet, unet } => {
            // Number and channels of the residuals only need to agree between the two networks.
            let n_residual = controlnet.outputs.len();
            let name = |k| if k + 1 == n_residual { "mid".into() } else { format!("down_{k}") };
            // Residuals never leave the device, so they can have the networks' precision.
            let is_half = controlnet.outputs.iter().any(|found| found.dtype == ElementType::F16);
            let dtype = if is_half { ElementType::F16 } else { ElementType::F32 };
            let residual = |k| TensorFacts { dtype, ..f32(&name(k), &[Open; 4]) };
            let residuals: Vec<_> = (0..n_residual).map(residual).collect();
            let control =
                [timestep(), text("context"), video("cond", Fixed(1)), mask, f32("scale", &[])];
            fits(controlnet, &control, &residuals)?;
            let mut inputs = vec![video("sample", Open), timestep(), text("context")];
            inputs.extend(residuals);
            fits(unet, &inputs, &[video("noise_pred", Open)])
        }
        StepNetworks::Uncontrolled(unet) => {
            let inputs = [video("sample", Open), timestep(), text("context")];
            fits(unet, &inputs, &[video("noise_pred", Open)])
        }
        StepNetworks::Fused(step) | StepNetworks::FusedPlain(step) => {
            let mut inputs = vec![
                video("latents", Fixed(1)),
                timestep(),
                text("context"),
                video("cond", Fixed(1)),
                mask,
                f32("control_scale", &[]),
            ];
            if matches!(networks.step, StepNetworks::Fused(_)) {
                inputs.push(f32("guidance", &[]));
            }
            fits(step, &inputs, &[video("noise_pred", Fixed(1))])
        }
    }
}

fn fits(
    network: &NetworkFacts,
    inputs: &[TensorFacts],
    outputs: &[TensorFacts],
) -> Result<(), ModelError> {
    for (key, found, expected) in [
        ("network.inputs", network.inputs.as_slice(), inputs),
        ("network.outputs", network.outputs.as_slice(), outputs),
    ] {
        if found.len() != expected.len() || !found.iter().zip(expected).all(fits_tensor) {
            return Err(ModelError::Family {
                path: network.path.clone(),
                family: "animatediff",
                key,
                found: listed(found),
                expected: format!("{} with role `{}`", listed(expected), network.role),
            });
        }
    }
    Ok(())
}

fn fits_tensor((found, expected): (&TensorFacts, &TensorFacts)) -> bool {
    let fits = |(a, b): (&Dim, &Dim)| *a == Open || *b == Open || a == b;
    found.name == expected.name
        && found.dtype == expected.dtype
        && found.shape.len() == expected.shape.len()
        && found.shape.iter().zip(&expected.shape).all(fits)
}
