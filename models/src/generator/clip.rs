//! Inputs and output of a clip.

use super::{frames::Shown, pictures::resize, scheduler::Step};
use crate::{error::ModelError, latent};

/// Sizes of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipSizes {
    /// Number of frames.
    pub n_frame: usize,
    /// Edge of a latent frame.
    pub latent: usize,
    /// Channels of a text state.
    pub text_dim: usize,
    /// Number of ids in a prompt, with padding.
    pub n_text_token: usize,
}

impl ClipSizes {
    /// Edge of a frame in pixels.
    #[must_use]
    pub fn image(&self) -> usize {
        latent::PIXELS * self.latent
    }

    /// Number of values in one latent frame.
    pub(super) fn latent_len(&self) -> usize {
        latent::CHANNELS * self.latent * self.latent
    }

    /// Number of values in one frame.
    pub(super) fn frame_len(&self) -> usize {
        3 * self.image() * self.image()
    }

    /// Shape of the latents of `batch` clips.
    pub(super) fn video(&self, batch: usize) -> [usize; 5] {
        [batch, latent::CHANNELS, self.n_frame, self.latent, self.latent]
    }

    pub(super) fn mask(&self) -> [usize; 5] {
        [1, 1, self.n_frame, self.latent, self.latent]
    }

    pub(super) fn context(&self, batch: usize) -> [usize; 3] {
        [batch, self.n_text_token, self.text_dim]
    }

    pub(super) fn text_len(&self) -> usize {
        self.n_text_token * self.text_dim
    }
}

/// The inputs of one clip.
#[derive(Clone, Copy, Debug)]
pub struct ClipConditions<'a> {
    /// Ids of the prompt, padded. Shape `[n_text_token]`.
    pub prompt: &'a [i64],
    /// Ids of the negative prompt, padded. Shape `[n_text_token]`.
    pub negative: &'a [i64],
    /// Blurry frames, `(n_frame + 2) / 3` of them.
    pub blurry: Pictures<'a>,
    /// Key frame.
    pub keyframe: Pictures<'a>,
}

/// Square pictures of any size; the generator scales them to its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pictures<'a> {
    /// Red, green and blue, 0 to 1. Shape `[n, 3, edge, edge]`.
    pub pixels: &'a [f32],
    /// Pixels along an edge.
    pub edge: usize,
}

impl Pictures<'_> {
    /// `n` pictures scaled to the size of a clip's frames. Shape `[n, 3, image, image]`.
    pub(super) fn scaled(
        &self,
        name: &'static str,
        n: usize,
        sizes: &ClipSizes,
    ) -> Result<Vec<f32>, ModelError> {
        check_len(name, self.pixels.len(), n * 3 * self.edge * self.edge)?;
        if self.edge == 0 {
            return Err(ModelError::ClipInput { name, found: 0, expected: n * sizes.frame_len() });
        }
        Ok(resize(self.pixels, self.edge, sizes.image()))
    }
}

/// How a clip is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Its steps.
    pub plan: Vec<Step>,
    /// Strength of the guidance towards the prompt; `None` for none, at half the cost.
    pub guidance: Option<f32>,
    /// How strongly the clip follows the key frame.
    pub control_scale: f32,
    /// Frames that are decoded.
    pub shown: Shown,
}

/// Inputs that all steps of a clip share.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditioning {
    /// Text states, of the negative prompt and of the prompt. Shape `[2, n_text_token, text_dim]`.
    pub text: Vec<f32>,
    /// Latents of the key frame at frame 0, zeros at the other frames. Shape `[4, n_frame, latent, latent]`.
    pub cond: Vec<f32>,
    /// See [`Recipe::guidance`].
    pub guidance: Option<f32>,
    /// See [`Recipe::control_scale`].
    pub control_scale: f32,
}

impl Conditioning {
    /// Number of clips in one run of the UNet.
    pub(super) fn batch(&self) -> usize {
        if self.guidance.is_some() { 2 } else { 1 }
    }

    /// The text states that the UNet gets.
    pub(super) fn context(&self, sizes: &ClipSizes) -> &[f32] {
        &self.text[(2 - self.batch()) * sizes.text_len()..]
    }
}

/// A clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// Red, green and blue of the frames that are shown. Shape `[n, 3, edge, edge]`.
    pub rgb: Vec<u8>,
    /// Number of frames.
    pub n: usize,
    /// Pixels along an edge.
    pub edge: usize,
}

impl Frames {
    /// The frames with the three colours of each pixel adjacent, as displays and files need them. Shape
    /// `[n, edge, edge, 3]`.
    #[must_use]
    pub fn interleaved(&self) -> Vec<u8> {
        let plane = self.edge * self.edge;
        let pixels = |frame: &[u8]| -> Vec<u8> {
            (0..plane)
                .flat_map(|at| [frame[at], frame[plane + at], frame[2 * plane + at]])
                .collect()
        };
        self.rgb.chunks_exact((3 * plane).max(1)).flat_map(pixels).collect()
    }
}

/// How often each network ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// The text encoder.
    pub text_encoder: u64,
    /// The picture encoder, once for each picture.
    pub vae_encoder: u64,
    /// SparseCtrl, if it is a separate graph.
    pub controlnet: u64,
    /// The UNet or the fused graph.
    pub step: u64,
    /// The picture decoder, once for each frame.
    pub vae_decoder: u64,
}

pub(super) fn check_len(
    name: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), ModelError> {
    if found == expected { Ok(()) } else { Err(ModelError::ClipInput { name, found, expected }) }
}
