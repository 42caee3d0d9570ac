//! The picture coder: from pictures to latents and back, one picture at a time.
//!
//! Latents are drawn from the distribution that the encoder gives, as NEURONS draws them, not
//! taken as its mean. Decoding is most of the cost of a short clip, so only frames that are shown
//! are decoded.

use super::clip::ClipSizes;
use crate::{
    decoupler::reconstruction::LATENT_CHANNELS,
    error::ModelError,
    manifest::NetworkFacts,
    session::{Input, Session, SessionOptions},
};

/// The picture coder. See the module docs.
#[derive(Debug)]
pub(super) struct Vae {
    encoder: Session,
    decoder: Session,
    sizes: ClipSizes,
    /// What latents are multiplied by.
    scale: f32,
    /// Pictures encoded.
    pub(super) n_encoded: u64,
    /// Pictures decoded.
    pub(super) n_decoded: u64,
}

impl Vae {
    /// Opens the coder.
    ///
    /// # Errors
    ///
    /// As [`Session::open`].
    pub(super) fn open(
        [encoder, decoder]: [&NetworkFacts; 2],
        sizes: ClipSizes,
        scale: f32,
        options: &SessionOptions,
    ) -> Result<Self, ModelError> {
        let picture = vec![1, 3, sizes.image(), sizes.image()];
        let latent = vec![1, LATENT_CHANNELS, sizes.latent, sizes.latent];
        Ok(Self {
            encoder: Session::open_at(&[picture], encoder, options)?,
            decoder: Session::open_at(&[latent], decoder, options)?,
            sizes,
            scale,
            n_encoded: 0,
            n_decoded: 0,
        })
    }

    /// A sample of the latents of pictures, 0 to 1, shape `[n, 3, image, image]`, with noise of
    /// shape `[n, 4, latent, latent]`, which is that of the latents.
    ///
    /// # Errors
    ///
    /// Fails when inference does or gives what is not finite.
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
            self.encoder.run(&[Input::F32(&shape, &picture)], |outputs| {
                let (mean, log_var) = (outputs.f32(0, n_value)?, outputs.f32(1, n_value)?);
                let moments = mean.iter().zip(log_var).zip(noise);
                latents.extend(moments.map(|((mean, log_var), z)| {
                    scale * (mean + libm::expf(0.5 * log_var.clamp(-30.0, 20.0)) * z)
                }));
                Ok(())
            })?;
            self.n_encoded += 1;
        }
        Ok(latents)
    }

    /// The networks.
    pub(super) fn sessions(&self) -> [&Session; 2] {
        [&self.encoder, &self.decoder]
    }

    /// What latents look like, 0 to 1. Shapes `[4, latent, latent]` and `[3, image, image]`.
    ///
    /// # Errors
    ///
    /// Fails when inference does or gives what is not finite.
    pub(super) fn decode(&mut self, latent: &[f32], picture: &mut [f32]) -> Result<(), ModelError> {
        let shape = [1, LATENT_CHANNELS, self.sizes.latent, self.sizes.latent];
        let unscaled: Vec<f32> = latent.iter().map(|value| value / self.scale).collect();
        self.decoder.run_into(&[Input::F32(&shape, &unscaled)], picture)?;
        self.n_decoded += 1;
        picture.iter_mut().for_each(|value| *value = (*value / 2.0 + 0.5).clamp(0.0, 1.0));
        Ok(())
    }
}
