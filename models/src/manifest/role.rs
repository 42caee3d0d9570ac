//! What each network of a model or a video set is for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Linear family: from a window to class probabilities.
    Decoder,
    /// From a window to the brain's image tokens.
    Brain,
    /// One step of the diffusion prior: from noisy tokens to clean tokens.
    Prior,
    /// From sampled tokens to the tokens of each frame, and a text embedding.
    Motion,
    /// From the tokens of all frames to the probability of each class.
    Concepts,
    /// From the tokens of all frames and a class name's text to that object's masks.
    Objects,
    /// From the tokens of all frames and a text embedding to the latents of each frame.
    Reconstruction,
    /// From a text embedding to the captioner's first input.
    CaptionPrefix,
    /// From token ids to the captioner's inputs.
    CaptionEmbed,
    /// One step of the captioner, with its keys and values.
    CaptionDecoder,
    /// From latents to pictures.
    VaeDecoder,
    /// From pictures to the distribution of their latents.
    VaeEncoder,
    /// A smaller, coarser `vae_decoder`.
    TaesdDecoder,
    /// A smaller, coarser `vae_encoder`.
    TaesdEncoder,
    /// From image tokens and noise to the first picture of a clip.
    Keyframe,
    /// From the ids of a prompt to its text states.
    TextEncoder,
    /// From a key frame to the residuals that are added inside `unet`.
    #[serde(rename = "controlnet")]
    ControlNet,
    /// From noisy latents to their noise.
    Unet,
    /// A `unet` trained for few steps.
    UnetLcm,
    /// A `unet` without a key frame.
    UnetPlain,
    /// From noisy latents to their noise, with key frame and guidance in one graph.
    DenoiseStep,
    /// A `denoise_step` without guidance.
    DenoiseStepPlain,
}

impl Role {
    /// Its name in a manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::Brain => "brain",
            Self::Prior => "prior",
            Self::Motion => "motion",
            Self::Concepts => "concepts",
            Self::Objects => "objects",
            Self::Reconstruction => "reconstruction",
            Self::CaptionPrefix => "caption_prefix",
            Self::CaptionEmbed => "caption_embed",
            Self::CaptionDecoder => "caption_decoder",
            Self::VaeDecoder => "vae_decoder",
            Self::VaeEncoder => "vae_encoder",
            Self::TaesdDecoder => "taesd_decoder",
            Self::TaesdEncoder => "taesd_encoder",
            Self::Keyframe => "keyframe",
            Self::TextEncoder => "text_encoder",
            Self::ControlNet => "controlnet",
            Self::Unet => "unet",
            Self::UnetLcm => "unet_lcm",
            Self::UnetPlain => "unet_plain",
            Self::DenoiseStep => "denoise_step",
            Self::DenoiseStepPlain => "denoise_step_plain",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
