//! The concept head: the probability of each class, each for itself.

use std::sync::Arc;

use super::motion::Frames;
use crate::{
    error::ModelError,
    manifest::{NetworkFacts, NeuronsFacts},
    readout::Concepts,
    session::{Input, Session, SessionOptions},
};

/// The concept head.
#[derive(Debug)]
pub struct ConceptHead {
    session: Session,
    shape: [usize; 4],
    names: Arc<[String]>,
}

impl ConceptHead {
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
            names: network.classes.clone().into(),
        })
    }

    /// Reads the probabilities out of a clip.
    ///
    /// # Errors
    ///
    /// Fails when inference does, or when a value is no probability. The next clip may succeed.
    pub fn read(&mut self, frames: &Frames) -> Result<Concepts, ModelError> {
        let mut probabilities = vec![0.0; self.names.len()];
        let inputs = [Input::F32(&self.shape, &frames.tokens)];
        self.session.run_into(&inputs, &mut probabilities)?;
        if let Some(at) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
            let (name, found) = (self.names[at].clone(), probabilities[at]);
            return Err(ModelError::NotAProbability { name, found });
        }
        Ok(Concepts { names: Arc::clone(&self.names), probabilities, is_exclusive: false })
    }

    /// The network.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}
