//! Offline: recorded sessions and images through the same code as live.
//!
//! [`replay`] feeds a session from files, [`prepare`] makes training data with it, and [`export`]
//! writes a recording in formats that other tools read. [`sham_scores`] takes what a participant was
//! shown from a recording.

pub mod error;
pub mod export;
pub mod prepare;
pub mod replay;
pub mod sham_scores;
pub mod source;
