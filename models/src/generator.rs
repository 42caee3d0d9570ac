//! The generator: from conditions to a clip.
//!
//! Networks are ONNX graphs ([`networks`]); what lies between them is here: how noise is taken
//! away step by step ([`schedule`], [`scheduler`]), frames between frames ([`frames`]), and the
//! loop itself ([`animatediff`]).

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
mod vae;

use std::fmt;

use serde::{Deserialize, Serialize};

/// How clips are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The blurry frames as they are, without diffusion: for machines without a GPU.
    Still,
    /// Few steps, without guidance.
    Live,
    /// As NEURONS makes them: many steps, with guidance.
    Reference,
}

impl Mode {
    /// As it is written.
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
