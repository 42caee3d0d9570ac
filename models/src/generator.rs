//! The generator: from conditions to a clip.
//!
//! Networks are ONNX graphs; what lies between them is here: how noise is taken away step by
//! step ([`scheduler`]), frames between frames ([`frames`]), and the loop itself
//! ([`animatediff`]).

pub mod animatediff;
mod contract;
pub mod control;
pub mod draw;
pub mod frames;
pub mod pictures;
pub mod scheduler;
