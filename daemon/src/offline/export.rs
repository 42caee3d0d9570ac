//! Export: a recording as files that other tools read.
//!
//! A recording is read twice: first to list its contents ([`contents`]), which determine file
//! names and formats, then to write the files. A cut recording is exported up to the cut. An
//! existing file is overwritten only with `--force`, and a file gets its final name only when it
//! is complete.

pub mod bids;
pub mod contents;
pub mod error;
mod files;
pub mod lines;
pub mod volumes;
