//! Why a session cannot run as it is configured.

use corticast_bold::{normalise::InvalidNormalise, space::SpaceMismatch};
use corticast_models::error::ModelError;

use super::mask_file::MaskFileError;

/// Largest product that is published, in bytes: half of what is kept for a slow subscriber.
/// Conditions of the published model take 4 MB, its clips 3 MB.
pub(super) const MAX_PRODUCT_BYTES: usize = 16 << 20;

/// Why a session cannot run as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No mask is named.
    #[error(
        "no mask: set `mask` in [signal] to a NIfTI image whose voxels that are not 0 are used"
    )]
    NoMask,
    /// The mask cannot be read.
    #[error("the mask cannot be used: {0}")]
    Mask(#[from] MaskFileError),
    /// The model cannot be opened.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The mask lies elsewhere than the scans the model was trained on.
    #[error("the mask does not lie where the model was trained: {0}")]
    Space(SpaceMismatch),
    /// Configuration, mask and model do not agree.
    #[error("{what}: the model was trained with {expected}, the session has {found}")]
    Disagreement {
        /// On what.
        what: &'static str,
        /// What the session has.
        found: String,
        /// What the model asks for.
        expected: String,
    },
    /// A product would be too large to publish.
    #[error(
        "{what} of this model takes {found} bytes, at most {MAX_PRODUCT_BYTES} can be published"
    )]
    TooLarge {
        /// Which product.
        what: &'static str,
        /// What it takes.
        found: usize,
    },
    /// Clips are asked for, and nothing is decoded.
    #[error("`mode` in [generator] asks for clips, and there is no model: set `dir` in [model]")]
    NoModel,
    /// Clips are to be written, and none are made.
    #[error("[outputs] asks for clips, and none are made: set `mode` in [generator]")]
    NoClips,
    /// The normalisation does not fit the mask.
    #[error(transparent)]
    Normalise(#[from] InvalidNormalise),
}
