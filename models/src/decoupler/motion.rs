//! Motion projection: from the tokens of one picture to those of each frame of a clip.

use crate::{
    error::ModelError,
    manifest::{NetworkFacts, NeuronsFacts},
    network::{Input, Network, Runtime},
};

/// Input of the heads.
#[derive(Clone, Debug)]
pub struct Frames {
    /// Shape `[1, n_frame, n_token, channels]`.
    pub tokens: Vec<f32>,
    /// Text embedding of the clip, not normalised. Shape `[text_dim]`.
    pub text_embed: Vec<f32>,
}

/// The motion projection. See the module docs.
#[derive(Debug)]
pub struct Motion {
    network: Box<dyn Network>,
    /// Shape of the tokens: `[1, n_token, channels]`.
    shape: [usize; 3],
    n_value: usize,
    text_dim: usize,
}

impl Motion {
    /// Opens the projection.
    ///
    /// # Errors
    ///
    /// See [`Runtime::open`].
    pub fn open(
        network: &NetworkFacts,
        facts: &NeuronsFacts,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            network: runtime.open(network)?,
            shape: [1, facts.n_token, facts.channels],
            n_value: facts.n_frame * facts.n_token * facts.channels,
            text_dim: facts.text_dim,
        })
    }

    /// Spreads tokens, shape `[n_token, channels]`, over the frames.
    ///
    /// # Errors
    ///
    /// Fails when inference fails or an output is not finite. The next tokens may succeed.
    pub fn spread(&mut self, tokens: &[f32]) -> Result<Frames, ModelError> {
        let inputs = [Input::F32(&self.shape, tokens)];
        let outputs = self.network.run(&inputs)?;
        Ok(Frames {
            tokens: outputs.f32(0, self.n_value)?.to_vec(),
            text_embed: outputs.f32(1, self.text_dim)?.to_vec(),
        })
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }
}
