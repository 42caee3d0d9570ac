//! Version and bounds of the protocol between adapter and daemon.

/// Version of this protocol, in `run` and `ready`.
pub const PROTOCOL: u32 = 1;
/// Longest accepted header, in bytes. A typical header has a few hundred.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Longest accepted text in a header, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 512;
/// Number of characters of a foreign text that an error quotes.
pub(super) const SHOWN_CHARS: usize = 40;

/// Most volumes of a run: indices are less than this, counts at most this.
pub const MAX_VOLUMES: u32 = 1_000_000;

/// Largest time of a volume or an event relative to the start of its run, either way: 3 years.
pub(super) const MAX_TIME_S: f64 = 1e8;
