//! The reconstruction head: a blurry clip, as latents of a picture coder.

use super::{head::HeadNetwork, motion::Frames};
use crate::{error::ModelError, latent, manifest::NeuronsFacts, network::Network};

/// The reconstruction head.
#[derive(Debug)]
pub struct ReconstructionHead {
    network: HeadNetwork,
    text_dim: usize,
    n_value: usize,
}

impl ReconstructionHead {
    /// The head of a network in a model of these sizes.
    #[must_use]
    pub fn new(network: HeadNetwork, facts: &NeuronsFacts) -> Self {
        Self {
            network,
            text_dim: facts.text_dim,
            n_value: facts.n_frame * latent::CHANNELS * facts.latent * facts.latent,
        }
    }

    /// Latents of every frame, multiplied by 0.18215 as in Stable Diffusion 1.5. Shape
    /// `[n_frame, 4, latent, latent]`.
    ///
    /// # Errors
    ///
    /// Fails when inference fails or the output is not finite. The next clip may succeed.
    pub fn read(&mut self, frames: &Frames) -> Result<Vec<f32>, ModelError> {
        let shape = [1, self.text_dim];
        let text = (shape.as_slice(), frames.text_embed.as_slice());
        self.network.read(frames, Some(text), self.n_value, <[f32]>::to_vec)
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        self.network.network()
    }
}
