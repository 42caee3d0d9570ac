//! The network of a head that reads the tokens of a clip's frames.

use super::motion::Frames;
use crate::{
    error::ModelError,
    manifest::{NetworkFacts, NeuronsFacts},
    network::{Input, Network, Runtime},
};

/// A head's network. Its first input is the frames' tokens, its second, if it has one, a text.
#[derive(Debug)]
pub struct HeadNetwork {
    network: Box<dyn Network>,
    /// Shape of the tokens: `[1, n_frame, n_token, channels]`.
    shape: [usize; 4],
}

impl HeadNetwork {
    /// Opens the network.
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
            shape: [1, facts.n_frame, facts.n_token, facts.channels],
        })
    }

    /// Runs the network on the frames and on a text (shape and values) if it takes one. `take`
    /// gets the `n` values of the output where the runtime put them.
    ///
    /// # Errors
    ///
    /// Fails when inference fails or the output is not finite.
    pub(super) fn read<R>(
        &mut self,
        frames: &Frames,
        text: Option<(&[usize], &[f32])>,
        n: usize,
        take: impl FnOnce(&[f32]) -> R,
    ) -> Result<R, ModelError> {
        let tokens = Input::F32(&self.shape, &frames.tokens);
        let both = text.map(|(shape, text)| [tokens, Input::F32(shape, text)]);
        let inputs = both.as_ref().map_or(std::slice::from_ref(&tokens), |both| both.as_slice());
        Ok(take(self.network.run(inputs)?.f32(0, n)?))
    }

    /// The network.
    pub(super) fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }
}
