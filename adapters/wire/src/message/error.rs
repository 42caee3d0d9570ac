//! Errors of parsing: what was found and what was expected.

use corticast_bold::time::TrIndex;

use super::protocol::{MAX_HEADER_BYTES, PROTOCOL};

/// Why frames are not a valid message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Too few or too many frames.
    #[error("a `{kind}` message has {expected} frames, got {found}")]
    FrameCount {
        /// Type of the message.
        kind: String,
        /// Number of frames expected.
        expected: &'static str,
        /// Number of frames found.
        found: usize,
    },
    /// The first frame names an unknown type.
    #[error("unknown message type {found:?}, expected one of {expected}")]
    UnknownType {
        /// The first frame, shortened.
        found: String,
        /// The types of this direction.
        expected: &'static str,
    },
    /// The header is too long.
    #[error("the header has {0} bytes, expected at most {MAX_HEADER_BYTES}")]
    HeaderTooLong(usize),
    /// The header is malformed or lacks a key.
    #[error("the header of `{kind}` is invalid: {reason}")]
    Header {
        /// Type of the message.
        kind: &'static str,
        /// The parser's error.
        reason: String,
    },
    /// A key holds an invalid value.
    #[error("`{key}` of `{kind}`: {reason}")]
    Value {
        /// Type of the message.
        kind: &'static str,
        /// Which key.
        key: &'static str,
        /// What was found and what was expected.
        reason: String,
    },
    /// The adapter uses another protocol version.
    #[error("the adapter uses protocol {found}, expected {PROTOCOL}")]
    Protocol {
        /// The adapter's version.
        found: u32,
    },
    /// The number of voxel bytes does not match the run's matrix and the dtype.
    #[error("{tr} has {found} bytes of voxels, expected {expected}")]
    Truncated {
        /// Which volume.
        tr: TrIndex,
        /// Bytes received.
        found: usize,
        /// Bytes expected from matrix and dtype.
        expected: usize,
    },
    /// The voxels were damaged in transit.
    #[error("{tr} has CRC-32 {found:#010x}, expected {expected:#010x} from its header")]
    Checksum {
        /// Which volume.
        tr: TrIndex,
        /// CRC-32 of the bytes received.
        found: u32,
        /// CRC-32 in the header.
        expected: u32,
    },
    /// The matrix of the volume is not that of its run.
    #[error("{tr} has matrix {found:?}, expected the run's, {expected:?}")]
    WrongMatrix {
        /// Which volume.
        tr: TrIndex,
        /// The volume's matrix.
        found: Vec<usize>,
        /// The run's matrix.
        expected: [usize; 3],
    },
}
