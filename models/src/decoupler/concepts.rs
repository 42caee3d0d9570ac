//! The concept head: the probability of each class, independently of the others.

use std::sync::Arc;

use super::{head::HeadNetwork, motion::Frames};
use crate::{error::ModelError, network::Network, readout::Concepts};

/// The concept head.
#[derive(Debug)]
pub struct ConceptHead {
    network: HeadNetwork,
    names: Arc<[String]>,
}

impl ConceptHead {
    /// The head of a network and the names of its classes.
    #[must_use]
    pub fn new(network: HeadNetwork, names: &[String]) -> Self {
        Self { network, names: names.into() }
    }

    /// Reads the probabilities out of a clip.
    ///
    /// # Errors
    ///
    /// Fails when inference fails, or when a value is not a probability. The next clip may
    /// succeed.
    pub fn read(&mut self, frames: &Frames) -> Result<Concepts, ModelError> {
        let n_class = self.names.len();
        let probabilities = self.network.read(frames, None, n_class, <[f32]>::to_vec)?;
        if let Some(at) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
            let (name, found) = (self.names[at].clone(), probabilities[at]);
            return Err(ModelError::NotAProbability { name, found });
        }
        Ok(Concepts { names: Arc::clone(&self.names), probabilities, is_exclusive: false })
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        self.network.network()
    }
}
