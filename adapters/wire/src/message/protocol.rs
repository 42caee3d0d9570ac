//! Version and bounds of the protocol between adapter and daemon.

/// Version of this protocol, in `run` and `ready`.
pub const PROTOCOL: u32 = 1;
/// Longest header that is read, in bytes. A header holds a few hundred.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Longest text that is taken from a header, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 512;
/// Characters of a foreign text that an error repeats.
pub(super) const SHOWN_CHARS: usize = 40;
