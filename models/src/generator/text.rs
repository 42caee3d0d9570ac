//! The text encoder: from the ids of a prompt to its text states.
//!
//! Prompts rarely change from clip to clip, so the states of the last negative prompt and the
//! last prompt are kept.

use super::clip::{ClipSizes, check_len};
use crate::{
    error::ModelError,
    manifest::NetworkFacts,
    network::{Input, Network, Runtime},
};

/// The text encoder. See the module docs.
#[derive(Debug)]
pub(super) struct TextEncoder {
    network: Box<dyn Network>,
    sizes: ClipSizes,
    /// Ids and states of the last negative prompt and the last prompt.
    last: [Option<(Vec<i64>, Vec<f32>)>; 2],
    /// Texts encoded.
    pub(super) n_run: u64,
}

impl TextEncoder {
    /// Opens the encoder.
    ///
    /// # Errors
    ///
    /// See [`Runtime::open_at`].
    pub(super) fn open(
        network: &NetworkFacts,
        sizes: ClipSizes,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        let network = runtime.open_at(&[vec![1, sizes.n_text_token]], network)?;
        Ok(Self { network, sizes, last: [None, None], n_run: 0 })
    }

    /// The states of a negative prompt and of a prompt, given their ids. Shape
    /// `[2, n_text_token, text_dim]`.
    ///
    /// # Errors
    ///
    /// Fails when a prompt has another length, when inference fails, or when the states are not
    /// finite.
    pub(super) fn states(
        &mut self,
        negative: &[i64],
        prompt: &[i64],
    ) -> Result<Vec<f32>, ModelError> {
        let mut states = self.encode(0, negative)?.to_vec();
        states.extend_from_slice(self.encode(1, prompt)?);
        Ok(states)
    }

    /// The network.
    pub(super) fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }

    fn encode(&mut self, place: usize, ids: &[i64]) -> Result<&[f32], ModelError> {
        check_len("a prompt's ids", ids.len(), self.sizes.n_text_token)?;
        if self.last[place].as_ref().is_none_or(|(of, _)| of != ids) {
            let mut states = vec![0.0; self.sizes.text_len()];
            self.network.run_into(&[Input::I64(&[1, ids.len()], ids)], &mut states)?;
            self.n_run += 1;
            self.last[place] = Some((ids.to_vec(), states));
        }
        Ok(self.last[place].as_ref().map_or(&[], |(_, states)| states))
    }
}
