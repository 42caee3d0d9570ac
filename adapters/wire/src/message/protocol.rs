//! Version and bounds of the protocol between adapter and daemon.

/// Version of this protocol, in `run` and `ready`.
pub const PROTOCOL: u32 = 1;
/// Longest accepted header, in bytes. A typical header has a few hundred.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Longest accepted text in a header, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 512;
/// Number of characters of a foreign text that an error quotes.
pub(super) const SHOWN_CHARS: usize = 40;
