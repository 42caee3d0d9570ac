//! Scanners that send their images over the network: what all such adapters share.
//!
//! A [`Source`] speaks one protocol and knows nothing of runs. [`NetworkAdapter`] makes runs of what
//! a source delivers: names, duplicates, gaps, a pause that goes on, a volume of another shape.
//!
//! ```text
//! listen ──connections──► stream ──bytes──► a protocol (Source) ──volumes──► NetworkAdapter
//! ```
//!
//! What a stranger sends costs at most its own connection: every length is checked before it is
//! used, memory grows only with bytes that arrived, and every wait ends. Without `--allow`, only
//! programs of this machine can connect. A sender's texts (names of files, notes, UIDs) are neither
//! logged nor sent on, because people put names of patients into them.

pub mod adapter;
pub mod listen;
pub mod options;
pub mod scan;
pub mod stream;
pub mod tcp;

pub use self::{
    adapter::NetworkAdapter,
    options::{ListenOptions, RunOptions},
    scan::{Arrival, Picture, Scan, Source},
};
