//! What `video.toml` says about a set of networks.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::manifest::role::Role;

/// Precision of a set of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// Single precision.
    #[serde(rename = "fp32")]
    Fp32,
    /// Half precision.
    #[serde(rename = "fp16")]
    Fp16,
    /// Stored in half, computed in single precision.
    #[serde(rename = "fp16-storage")]
    Fp16Storage,
}

impl Precision {
    /// Its name in the manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Fp16Storage => "fp16-storage",
        }
    }
}

/// Whether the graphs fix the sizes of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shapes {
    /// One size, which is faster.
    Static,
    /// Any size.
    Dynamic,
}

/// Sizes of a set's clips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoSizes {
    /// Frames of a clip.
    pub frames: usize,
    /// Largest number of frames that the networks take.
    pub max_frames: usize,
    /// Edge of a latent frame.
    pub latent: usize,
    /// Edge of a frame in pixels.
    pub image: usize,
    /// Channels of a latent frame.
    pub latent_channels: usize,
    /// Number of ids in a prompt, with padding.
    pub text_tokens: usize,
    /// Channels of a text state.
    pub text_dim: usize,
    /// Number of residual tensors that SparseCtrl adds.
    pub residuals: usize,
}

/// Prompts of a set, and how they are turned into ids.
#[derive(Clone, Debug)]
pub struct PromptFacts {
    /// Text added to the end of every caption.
    pub suffix: String,
    /// Text that a clip is guided away from.
    pub negative: String,
    /// The id that begins a prompt.
    pub start_id: i64,
    /// The id that ends a prompt.
    pub end_id: i64,
    /// The id that pads a prompt.
    pub pad_id: i64,
    /// File with the names of the ids; its SHA-256 matched.
    pub vocabulary: PathBuf,
}

/// The networks that make up a step in each mode. An empty list means that the set does not have
/// that kind of step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graphs {
    /// The networks before and after the steps.
    pub clip: ClipGraphs,
    /// Steps with guidance.
    #[serde(default)]
    pub reference: StepGraphs,
    /// Steps without guidance.
    #[serde(default)]
    pub live: StepGraphs,
}

/// The networks before and after the steps of a clip.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipGraphs {
    /// From ids to text states.
    pub text: Vec<Role>,
    /// From pictures to latents and back.
    pub vae: Vec<Role>,
    /// A smaller picture coder.
    #[serde(default)]
    pub taesd: Vec<Role>,
}

/// The networks of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepGraphs {
    /// One graph for the whole step.
    #[serde(default)]
    pub fused: Vec<Role>,
    /// SparseCtrl and UNet as two graphs.
    #[serde(default)]
    pub split: Vec<Role>,
    /// The UNet without SparseCtrl.
    #[serde(default)]
    pub uncontrolled: Vec<Role>,
}

impl Graphs {
    /// Every role that a mode names.
    pub(super) fn roles(&self) -> impl Iterator<Item = Role> {
        let Self { clip, reference, live } = self;
        let steps = [reference, live];
        let steps = steps.map(|step| [&step.fused, &step.split, &step.uncontrolled]);
        let clip = [&clip.text, &clip.vae, &clip.taesd];
        clip.into_iter().chain(steps.into_iter().flatten()).flatten().copied()
    }
}
