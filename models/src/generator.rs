//! The generator: from conditions to a clip.
//!
//! Networks are ONNX graphs ([`networks`]); what lies between them is here: how noise is taken
//! away step by step ([`schedule`], [`scheduler`]), frames between frames ([`frames`]), and the
//! loop itself ([`animatediff`]).

pub mod animatediff;
pub mod clip;
mod control;
mod denoiser;
pub mod draw;
pub mod frames;
pub mod networks;
mod pictures;
pub mod prompt;
pub mod schedule;
pub mod scheduler;
mod vae;
