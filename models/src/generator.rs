//! The generator: from conditions to a clip.
//!
//! The networks ([`networks`]) are ONNX graphs. This module holds the arithmetic between them:
//! removing noise step by step ([`schedule`], [`scheduler`]), interpolating frames ([`frames`]),
//! and the loop itself ([`animatediff`]). [`maker`] ties them together.

pub mod animatediff;
pub mod blurry;
pub mod clip;
mod control;
mod denoiser;
pub mod draw;
pub mod frames;
pub mod keyframe;
pub mod maker;
pub mod networks;
mod pictures;
pub mod prompt;
pub mod schedule;
pub mod scheduler;
pub mod set;
mod text;
mod vae;

use std::fmt;

use serde::{Deserialize, Serialize};

/// How clips are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The blurry frames without diffusion, for machines without a GPU.
    Still,
    /// Few steps, without guidance.
    Live,
    /// Many steps, with guidance, as in NEURONS.
    Reference,
}

impl Mode {
    /// Its name in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Still => "still",
            Self::Live => "live",
            Self::Reference => "reference",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
