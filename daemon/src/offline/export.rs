//! Export: a recording as files that other tools read.
//!
//! A recording is read twice: once to learn what it holds ([`contents`]), which decides names and
//! formats and whether a file is in the way, and once to write. A cut recording is exported up to
//! the cut. A file that exists is overwritten only with `--force`, and a file gets its final name
//! only when it is complete.

pub mod bids;
pub mod contents;
pub mod error;
mod files;
pub mod lines;
pub mod volumes;
