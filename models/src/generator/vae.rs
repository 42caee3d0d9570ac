//! The picture coder: from pictures to latents and back, one picture at a time.
//!
//! As in NEURONS, latents are sampled from the distribution that the encoder gives; they are not
//! its mean. Decoding is most of the cost of a short clip, so only frames that are shown are
//! decoded.

use super::clip::ClipSizes;
use crate::{
    error::ModelError,
    latent,
    manifest::NetworkFacts,
    network::{Input, Network, Runtime},
};

/// The picture coder. See the module docs.
#[derive(Debug)]
pub(super) struct Vae {
    encoder: Box<dyn Network>,
    decoder: Box<dyn Network>,
    sizes: ClipSizes,
    /// Factor that latents are multiplied by.
    scale: f32,
    /// Number of pictures encoded.
    pub(super) n_encoded: u64,
    /// Number of pictures decoded.
    pub(super) n_decoded: u64,
}

impl Vae {
    /// Opens the coder.
    ///
    /// # Errors
    ///
    /// See [`Runtime::open_at`].
    pub(super) fn open(
        [encoder, decoder]: [&NetworkFacts; 2],
        sizes: ClipSizes,
        scale: f32,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        let picture = vec![1, 3, sizes.image(), sizes.image()];
        let latent = vec![1, latent::CHANNELS, sizes.latent, sizes.latent];
        Ok(Self {
            encoder: runtime.open_at(&[picture], encoder)?,
            decoder: runtime.open_at(&[latent], decoder)?,
            sizes,
            scale,
            n_encoded: 0,
            n_decoded: 0,
        })
    }

    /// Samples the latents of pictures, given pixels of 0 to 1, shape `[n, 3, image, image]`, and
    /// noise. Shape of the noise and of the latents `[n, 4, latent, latent]`.
    ///
    /// # Errors
    ///
    /// Fails when inference fails or an output is not finite.
    pub(super) fn encode(
        &mut self,
        pictures: &[f32],
        noise: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let (edge, n_value) = (self.sizes.image(), self.sizes.latent_len());
        let (shape, scale) = ([1, 3, edge, edge], self.scale);
        let mut latents = Vec::with_capacity(noise.len());
        let pictures = pictures.chunks_exact(self.sizes.frame_len());
        for (picture, noise) in pictures.zip(noise.chunks_exact(n_value)) {
            let picture: Vec<f32> = picture.iter().map(|value| 2.0 * value - 1.0).collect();
            let inputs = [Input::F32(&shape, &picture)];
            let outputs = self.encoder.run(&inputs)?;
            let (mean, log_var) = (outputs.f32(0, n_value)?, outputs.f32(1, n_value)?);
            let moments = mean.iter().zip(log_var).zip(noise);
            latents.extend(moments.map(|((mean, log_var), z)| {
                scale * (mean + libm::expf(0.5 * log_var.clamp(-30.0, 20.0)) * z)
            }));
            self.n_encoded += 1;
        }
        Ok(latents)
    }

    /// The networks.
    pub(super) fn networks(&self) -> [&dyn Network; 2] {
        [self.encoder.as_ref(), self.decoder.as_ref()]
    }

    /// Decodes latents, shape `[4, latent, latent]`, to pixels of 0 to 1, shape
    /// `[3, image, image]`.
    ///
    /// # Errors
    ///
    /// Fails when inference fails or an output is not finite.
    pub(super) fn decode(&mut self, latent: &[f32], picture: &mut [f32]) -> Result<(), ModelError> {
        let shape = [1, latent::CHANNELS, self.sizes.latent, self.sizes.latent];
        let unscaled: Vec<f32> = latent.iter().map(|value| value / self.scale).collect();
        self.decoder.run_into(&[Input::F32(&shape, &unscaled)], picture)?;
        self.n_decoded += 1;
        picture.iter_mut().for_each(|value| *value = (*value / 2.0 + 0.5).clamp(0.0, 1.0));
        Ok(())
    }
}
