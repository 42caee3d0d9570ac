//! Clips: what a generator made of the conditions of one result.

use std::sync::Arc;

use bytes::Bytes;
use corticast_bold::time::TrIndex;
use corticast_models::generator::Mode;
use serde::Serialize;

/// A clip, with what it rests on and how it was made.
///
/// A replay makes a clip of every result; a session in which the generator was slower than the
/// TR has fewer, and says so in `superseded`. The pictures of a volume are the same in both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClipReport {
    /// Name of the run.
    pub run: Arc<str>,
    /// Newest volume it rests on.
    pub index: TrIndex,
    /// When the stimulus was shown, seconds since the start of volume index 0.
    pub stimulus_time_s: f64,
    /// When that volume was received.
    pub received_ns: u64,
    /// When this was handed to the outputs.
    pub published_ns: u64,
    /// From there to here: how old the clip is when it can be shown.
    pub age_ns: u64,
    /// How long the networks and what lies between them took.
    pub took_ns: u64,
    /// How it was made.
    pub mode: Mode,
    /// Steps of denoising; 0 for blurry frames as they are.
    pub steps: usize,
    /// What its noise is made of, with the index.
    pub seed: u64,
    /// Conditions that newer ones replaced since the clip before.
    pub superseded: u32,
    /// The words it was made of, where there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// The words were more than the text encoder takes; the last ones are not in the clip.
    pub caption_cut: bool,
    /// Which worker made it, unless the daemon did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Frames.
    pub n_frame: usize,
    /// Pixels along an edge of a frame.
    pub edge: usize,
    /// How fast the frames follow each other, so that they last for one TR.
    pub frames_per_s: f64,
    /// The participant saw neutral feedback instead.
    pub blanked: bool,
    /// Pixels. Empty while feedback is blanked, in what leaves the daemon.
    #[serde(skip)]
    pub pictures: ClipPictures,
}

/// The pixels of a clip and of what it was made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClipPictures {
    /// The clip, red, green and blue. Shape `[n_frame, edge, edge, 3]`.
    pub frames: Bytes,
    /// The blurry frames that were decoded. Shape `[n_blurry, blurry_edge, blurry_edge, 3]`.
    pub blurry: Bytes,
    /// Pixels along an edge of a blurry frame.
    pub blurry_edge: usize,
    /// Where the most probable class is: 1 there, else 0. Shape `[n_blurry, mask_edge,
    /// mask_edge]`; empty where that is not decoded.
    pub mask: Bytes,
    /// Values along an edge of a mask.
    pub mask_edge: usize,
}

impl ClipPictures {
    /// Blurry frames.
    #[must_use]
    pub fn n_blurry(&self) -> usize {
        self.blurry.len() / (3 * self.blurry_edge * self.blurry_edge).max(1)
    }
}
