//! Clips: the pictures a generator made from the conditions of one result.

use std::sync::Arc;

use bytes::Bytes;
use corticast_bold::time::TrIndex;
use corticast_models::generator::Mode;
use serde::Serialize;

/// A clip, with the volume it is based on and how it was made.
///
/// A replay makes a clip for every result. A live session has fewer when the generator is slower
/// than the TR; `superseded` counts the skipped conditions. The pictures of a volume are the same
/// in both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClipReport {
    /// Name of the run.
    pub run: Arc<str>,
    /// Newest volume the clip is based on.
    pub index: TrIndex,
    /// When the stimulus was shown, seconds since the start of volume index 0.
    pub stimulus_time_s: f64,
    /// When that volume was received.
    pub received_ns: u64,
    /// When the clip was handed to the outputs.
    pub published_ns: u64,
    /// `published_ns - received_ns`: the age of the clip when it can be shown.
    pub age_ns: u64,
    /// How long generation took: the networks and the steps between them.
    pub took_ns: u64,
    /// Mode of the generator.
    pub mode: Mode,
    /// Denoising steps; 0 means unchanged blurry frames.
    pub steps: usize,
    /// Seed of the noise, combined with the index.
    pub seed: u64,
    /// Conditions that newer ones replaced since the previous clip.
    pub superseded: u32,
    /// The caption the clip was made from, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// The caption was longer than the text encoder accepts; its last words were cut.
    pub caption_cut: bool,
    /// Name of the worker that made the clip; `None` if the daemon did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Number of frames.
    pub n_frame: usize,
    /// Pixels along an edge of a frame.
    pub edge: usize,
    /// Frame rate at which the frames last for one TR.
    pub frames_per_s: f64,
    /// The participant saw neutral feedback instead.
    pub blanked: bool,
    /// Pixels. Empty in outgoing messages while feedback is blanked.
    #[serde(skip)]
    pub pictures: ClipPictures,
}

/// The pixels of a clip and of the decoded pictures it was made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClipPictures {
    /// The clip in RGB. Shape `[n_frame, edge, edge, 3]`.
    pub frames: Bytes,
    /// The decoded blurry frames in RGB. Shape `[n_blurry, blurry_edge, blurry_edge, 3]`.
    pub blurry: Bytes,
    /// Pixels along an edge of a blurry frame.
    pub blurry_edge: usize,
    /// 1 in pixels of the most probable class, else 0. Shape `[n_blurry, mask_edge, mask_edge]`;
    /// empty if the model decodes no mask.
    pub mask: Bytes,
    /// Values along an edge of a mask.
    pub mask_edge: usize,
}

impl ClipPictures {
    /// Number of blurry frames.
    #[must_use]
    pub fn n_blurry(&self) -> usize {
        self.blurry.len() / (3 * self.blurry_edge * self.blurry_edge).max(1)
    }
}
