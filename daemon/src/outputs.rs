//! Outputs: where products go besides the recording.
//!
//! Each output has its own thread or task and its own bounded queue. An output that is too
//! slow, or whose disk is full, drops its own oldest products and counts them
//! (`corticast_output_dropped_total`); the signal path and the other outputs do not notice.

pub(crate) mod blanking;
pub(crate) mod board;
pub mod conditions;
pub(crate) mod fanout;
pub mod film;
pub mod folder;
pub mod frames;
pub mod json_lines;
pub(crate) mod limiter;
pub mod pictures;
pub mod png;
pub(crate) mod publish;
pub(crate) mod results;
pub mod sinks;
pub mod webp;
