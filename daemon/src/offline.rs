//! Offline: recorded sessions and images through the same code as live.
//!
//! [`replay`] feeds a session from files, [`prepare`] makes training data with it, [`motion`] estimates
//! the motion of a run, and [`export`]
//! writes a recording in formats that other tools read.

pub mod error;
pub mod export;
pub mod motion;
pub mod prepare;
pub mod replay;
pub mod source;
