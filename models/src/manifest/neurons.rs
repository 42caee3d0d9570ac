//! The `[neurons]` section: sizes that the networks of a `neurons` model share, and the files
//! beside them.

use std::path::{Path, PathBuf};

use corticast_bold::space::MAX_VOLUME_VOXELS;
use serde::{Deserialize, Serialize};

use super::{
    error::ManifestError,
    file::{FileName, Hex64},
    read::Document,
};

/// Sizes and files of a `neurons` model.
#[derive(Clone, Debug)]
pub struct NeuronsFacts {
    /// Frames of a clip.
    pub n_frame: usize,
    /// Image tokens of a frame.
    pub n_token: usize,
    /// Channels of an image token.
    pub channels: usize,
    /// Length of a text embedding.
    pub text_dim: usize,
    /// Edge of a latent picture.
    pub latent: usize,
    /// Edge of a mask.
    pub mask: usize,
    /// Steps the prior was trained with.
    pub prior_steps: usize,
    /// The noise schedule of the prior.
    pub prior_schedule: PriorSchedule,
    /// File with the text states of the class names; its SHA-256 matched.
    pub class_states: Option<PathBuf>,
    /// The captioner, if the manifest names its vocabulary.
    pub caption: Option<CaptionFacts>,
}

/// Noise schedules of a prior.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriorSchedule {
    /// See [`crate::prior::schedule`].
    Cosine,
}

/// Sizes and files of a captioner.
#[derive(Clone, Debug)]
pub struct CaptionFacts {
    /// Longest caption, in tokens.
    pub max_tokens: usize,
    /// Id of the token that ends a caption.
    pub stop_id: usize,
    /// File with the names of the tokens; its SHA-256 matched.
    pub vocabulary: PathBuf,
    /// Transformer layers.
    pub layers: usize,
    /// Heads of a layer.
    pub heads: usize,
    /// Width of a layer.
    pub embd: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NeuronsWritten {
    n_frame: usize,
    n_token: usize,
    channels: usize,
    text_dim: usize,
    latent: usize,
    mask: usize,
    prior_steps: usize,
    prior_schedule: PriorSchedule,
    class_states: Option<FileName>,
    class_states_sha256: Option<Hex64>,
    caption_tokens: Option<usize>,
    stop_id: Option<usize>,
    vocabulary: Option<FileName>,
    vocabulary_sha256: Option<Hex64>,
    caption_layers: Option<usize>,
    caption_heads: Option<usize>,
    caption_embd: Option<usize>,
}

impl NeuronsWritten {
    pub(super) fn check(
        self,
        dir: &Path,
        document: &Document,
    ) -> Result<NeuronsFacts, ManifestError> {
        let refuse = |key: &str, reason: String| document.refuse(&format!("neurons.{key}"), reason);
        let missing = |key: &str, with: &str| {
            refuse(key, format!("is missing, `{with}` is set and needs it"))
        };
        let within = |key: &str, found: usize, most: usize| {
            document.within(&format!("neurons.{key}"), found, most)
        };
        // The bounds allow larger networks than exist today, but no damaged numbers.
        let n_frame = within("n_frame", self.n_frame, 32)?;
        let n_token = within("n_token", self.n_token, 4096)?;
        let channels = within("channels", self.channels, 8192)?;
        let text_dim = within("text_dim", self.text_dim, 8192)?;
        let latent = within("latent", self.latent, 256)?;
        let mask = within("mask", self.mask, 1024)?;
        let prior_steps = within("prior_steps", self.prior_steps, 1000)?;
        let n_value = n_frame * n_token * channels;
        if n_value > MAX_VOLUME_VOXELS {
            let reason =
                format!("gives {n_value} values a clip, expected at most {MAX_VOLUME_VOXELS}");
            return Err(refuse("n_frame · n_token · channels", reason));
        }
        let class_states = match self.class_states {
            Some(file) => {
                let sha256 = self
                    .class_states_sha256
                    .ok_or_else(|| missing("class_states_sha256", "class_states"))?;
                Some(file.verified(dir, &sha256)?)
            }
            None => None,
        };
        let caption = match self.vocabulary {
            Some(file) => {
                let needed = |key: &str, found: Option<usize>, most: usize| {
                    within(key, found.ok_or_else(|| missing(key, "vocabulary"))?, most)
                };
                let sha256 = self
                    .vocabulary_sha256
                    .ok_or_else(|| missing("vocabulary_sha256", "vocabulary"))?;
                let vocabulary = file.verified(dir, &sha256)?;
                let heads = needed("caption_heads", self.caption_heads, 128)?;
                let embd = needed("caption_embd", self.caption_embd, 8192)?;
                if embd % heads != 0 {
                    let reason = format!("is {embd}, expected a multiple of {heads} heads");
                    return Err(refuse("caption_embd", reason));
                }
                Some(CaptionFacts {
                    max_tokens: needed("caption_tokens", self.caption_tokens, 1000)?,
                    stop_id: needed("stop_id", self.stop_id, 1 << 20)?,
                    vocabulary,
                    layers: needed("caption_layers", self.caption_layers, 128)?,
                    heads,
                    embd,
                })
            }
            None => None,
        };
        Ok(NeuronsFacts {
            n_frame,
            n_token,
            channels,
            text_dim,
            latent,
            mask,
            prior_steps,
            prior_schedule: self.prior_schedule,
            class_states,
            caption,
        })
    }
}
