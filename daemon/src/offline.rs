//! Offline: recorded sessions and images through the same code as live.
//!
//! [`replay`] feeds a session from files, [`prepare`] makes training data with it, [`export`]
//! writes a recording in formats that other tools read, [`report`] says what happened in its runs,
//! [`motion`] estimates the motion of one, and [`sham_scores`] takes what a participant was shown
//! from a recording. [`files`] keeps what they write apart from what they read.

pub mod error;
pub mod export;
pub mod files;
pub mod motion;
pub mod prepare;
pub mod replay;
pub mod report;
pub mod sham_scores;
pub mod source;
