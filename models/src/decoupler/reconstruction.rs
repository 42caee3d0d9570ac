//! The reconstruction head: a blurry clip, as latents of a picture coder.

use super::motion::Frames;
use crate::{
    error::ModelError,
    manifest::{NetworkFacts, NeuronsFacts},
    session::{Input, Session, SessionOptions},
};

/// Channels of a latent picture.
pub const LATENT_CHANNELS: usize = 4;
/// What latents are multiplied by, as in Stable Diffusion 1.5.
pub const LATENT_SCALE: f32 = 0.18215;

/// The reconstruction head.
#[derive(Debug)]
pub struct ReconstructionHead {
    session: Session,
    shape: [usize; 4],
    text_dim: usize,
    n_value: usize,
}

impl ReconstructionHead {
    /// Opens the head.
    ///
    /// # Errors
    ///
    /// As [`Session::open`].
    pub fn open(
        network: &NetworkFacts,
        facts: &NeuronsFacts,
        options: &SessionOptions,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            session: Session::open(network, options)?,
            shape: [1, facts.n_frame, facts.n_token, facts.channels],
            text_dim: facts.text_dim,
            n_value: facts.n_frame * LATENT_CHANNELS * facts.latent * facts.latent,
        })
    }

    /// Latents of every frame, scaled by 0.18215 as Stable Diffusion 1.5 scales them. Shape
    /// `[n_frame, 4, latent, latent]`.
    ///
    /// # Errors
    ///
    /// Fails when inference does or gives what is not finite. The next clip may succeed.
    pub fn read(&mut self, frames: &Frames) -> Result<Vec<f32>, ModelError> {
        let text_shape = [1, self.text_dim];
        let inputs =
            [Input::F32(&self.shape, &frames.tokens), Input::F32(&text_shape, &frames.text_embed)];
        let mut latents = vec![0.0; self.n_value];
        self.session.run_into(&inputs, &mut latents)?;
        Ok(latents)
    }

    /// The network.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}
