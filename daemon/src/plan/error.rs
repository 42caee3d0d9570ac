//! Why a session cannot run with its configuration.

use corticast_bold::{normalise::InvalidNormalise, space::SpaceMismatch};
use corticast_models::error::ModelError;

use super::mask_file::MaskFileError;

/// Largest product that is published, in bytes: half of the buffer for a slow subscriber. The
/// conditions of the published model take 4 MB, its clips 3 MB.
pub(super) const MAX_PRODUCT_BYTES: usize = 16 << 20;

/// What to do about an image on another grid than the scan's. The order of the voxels does not
/// matter, so this is for people whose image has other voxels.
pub(crate) const OTHER_GRID: &str = "the order of the voxels is free, but the voxels must be the \
    scan's: resample the image with `3dresample -master SCAN -input IMAGE` (AFNI) or `flirt \
    -usesqform -applyxfm` (FSL), or make a mask of today's scan with `corticast-train project`";

/// Why a session cannot run with its configuration.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No mask is configured.
    #[error("no mask: set `mask` in [signal] to a NIfTI image that is not 0 in the voxels to use")]
    NoMask,
    /// The mask cannot be read.
    #[error("cannot use the mask: {0}")]
    Mask(#[from] MaskFileError),
    /// The model cannot be opened.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The mask and the training scans of the model lie on different grids.
    #[error("the mask's grid differs from that of the model's training scans: {0}; {OTHER_GRID}")]
    Space(SpaceMismatch),
    /// Configuration, mask and model do not agree.
    #[error("{what}: the model was trained with {expected}, the session has {found}")]
    Disagreement {
        /// Name of the setting.
        what: &'static str,
        /// Value in the session.
        found: String,
        /// Value in the model.
        expected: String,
    },
    /// A product would be too large to publish.
    #[error("{what} of this model takes {found} bytes, expected at most {MAX_PRODUCT_BYTES}")]
    TooLarge {
        /// Name of the product.
        what: &'static str,
        /// Size of the product, in bytes.
        found: usize,
    },
    /// Clips are configured without a model.
    #[error("`mode` in [generator] asks for clips, but there is no model; set `dir` in [model]")]
    NoModel,
    /// Outputs for clips are configured, but no clips are made.
    #[error("[outputs] asks for clips, but none are made; set `mode` in [generator]")]
    NoClips,
    /// Reports are made from a recording, and nothing is recorded.
    #[error(
        "`report` in [outputs] needs a recording, but nothing is recorded; set --record or `file` in \
         [recording]"
    )]
    ReportWithoutRecording,
    /// An output could not work.
    #[error("{0}")]
    Output(String),
    /// The normalisation does not fit the mask.
    #[error(transparent)]
    Normalise(#[from] InvalidNormalise),
    /// The settings of a stage, or its files, cannot be used.
    #[error("{0}")]
    Stage(String),
    /// The feedback, or its files, cannot be used.
    #[error("[feedback]: {0}")]
    Feedback(String),
}
