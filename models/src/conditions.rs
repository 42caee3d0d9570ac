//! Conditions: the input of the generator for one window.

use crate::latent;

/// Input of the generator. The output of a head that failed or is switched off is `None`. All
/// values are finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// Sizes of the other fields.
    pub sizes: Sizes,
    /// The brain's image tokens. Shape `[n_token, channels]`.
    pub brain_tokens: Vec<f32>,
    /// The prior's sample. Shape `[n_token, channels]`.
    pub tokens: Vec<f32>,
    /// Text embedding, not normalised. Shape `[text_dim]`.
    pub text_embed: Vec<f32>,
    /// Probability of each class. Shape `[n_class]`.
    pub probabilities: Option<Vec<f32>>,
    /// Mask of the most probable class: 1 inside the object, 0 outside. Shape
    /// `[n_frame, mask, mask]`.
    pub mask: Option<Vec<u8>>,
    /// Latents of the blurry clip, multiplied by 0.18215. Shape `[n_frame, 4, latent, latent]`.
    pub latents: Option<Vec<f32>>,
    /// Tokens of the caption, with the stop token if the caption reached it.
    pub caption_ids: Option<Vec<i64>>,
    /// The caption in words.
    pub caption: Option<String>,
}

impl Conditions {
    /// Zeros for every head, for timing a trial clip.
    #[must_use]
    pub fn blank(sizes: Sizes) -> Self {
        let latents = sizes.n_frame * latent::CHANNELS * sizes.latent * sizes.latent;
        Self {
            brain_tokens: vec![0.0; sizes.n_token * sizes.channels],
            tokens: vec![0.0; sizes.n_token * sizes.channels],
            text_embed: vec![0.0; sizes.text_dim],
            probabilities: Some(vec![0.0; sizes.n_class]),
            mask: Some(vec![0; sizes.n_frame * sizes.mask * sizes.mask]),
            latents: Some(vec![0.0; latents]),
            caption_ids: None,
            caption: None,
            sizes,
        }
    }
}

/// Sizes of the conditions of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Frames of a clip.
    pub n_frame: usize,
    /// Image tokens.
    pub n_token: usize,
    /// Channels of an image token.
    pub channels: usize,
    /// Length of a text embedding.
    pub text_dim: usize,
    /// Edge of a latent picture.
    pub latent: usize,
    /// Edge of a mask.
    pub mask: usize,
    /// Classes.
    pub n_class: usize,
    /// Longest caption, in tokens.
    pub caption_tokens: usize,
}

impl Sizes {
    /// The most bytes that the conditions of one window take.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        let f32s = 2 * self.n_token * self.channels
            + self.text_dim
            + self.n_class
            + self.n_frame * 4 * self.latent * self.latent;
        4 * f32s + self.n_frame * self.mask * self.mask + 8 * self.caption_tokens
    }
}
