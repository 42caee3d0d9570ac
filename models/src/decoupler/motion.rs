//! Motion projection: from the tokens of one picture to those of each frame of a clip.

use crate::{
    error::ModelError,
    manifest::{NetworkFacts, NeuronsFacts},
    session::{Input, Session, SessionOptions},
};

/// What the heads read from.
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
    session: Session,
    /// Tokens and channels.
    shape: [usize; 3],
    n_value: usize,
    text_dim: usize,
}

impl Motion {
    /// Opens the projection.
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
            shape: [1, facts.n_token, facts.channels],
            n_value: facts.n_frame * facts.n_token * facts.channels,
            text_dim: facts.text_dim,
        })
    }

    /// Spreads tokens, shape `[n_token, channels]`, over the frames.
    ///
    /// # Errors
    ///
    /// Fails when inference does or gives what is not finite. The next tokens may succeed.
    pub fn spread(&mut self, tokens: &[f32]) -> Result<Frames, ModelError> {
        let (n_value, text_dim) = (self.n_value, self.text_dim);
        self.session.run(&[Input::F32(&self.shape, tokens)], |outputs| {
            let tokens = outputs.f32(0, n_value)?.to_vec();
            Ok(Frames { tokens, text_embed: outputs.f32(1, text_dim)?.to_vec() })
        })
    }

    /// The network.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}
