//! Offline: recorded sessions and images through the same code as live.
//!
//! [`replay`] feeds a session from files, [`prepare`] makes training data with it, [`export`]
//! writes a recording in formats that other tools read, and [`report`] says what happened in its
//! runs.

pub mod error;
pub mod export;
pub mod prepare;
pub mod replay;
pub mod report;
pub mod source;
