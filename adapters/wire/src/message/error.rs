//! Why frames are not a message: what was found and what was expected.

use corticast_bold::time::TrIndex;

use super::protocol::{MAX_HEADER_BYTES, PROTOCOL};

/// Why frames are not a message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Too few or too many frames.
    #[error("a `{kind}` message has {expected} frames, got {found}")]
    FrameCount {
        /// Type of the message, as far as it is known.
        kind: String,
        /// Frames wanted.
        expected: &'static str,
        /// Frames that came.
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
    #[error("the header holds {0} bytes, at most {MAX_HEADER_BYTES} are read")]
    HeaderTooLong(usize),
    /// The header cannot be parsed or lacks a key.
    #[error("the header of `{kind}` cannot be read: {reason}")]
    Header {
        /// Type of the message.
        kind: &'static str,
        /// What the parser said.
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
    /// The adapter speaks another protocol version.
    #[error("the adapter speaks protocol {found}, this daemon speaks {PROTOCOL}")]
    Protocol {
        /// Its version.
        found: u32,
    },
    /// The voxels are not as many bytes as the header promises.
    #[error("{tr} holds {found} bytes of voxels, its header promises {expected}")]
    Truncated {
        /// Which volume.
        tr: TrIndex,
        /// Bytes that came.
        found: usize,
        /// Bytes that matrix and dtype ask for.
        expected: usize,
    },
    /// The voxels were damaged on the way.
    #[error("{tr} has CRC-32 {found:#010x}, its header promises {expected:#010x}")]
    Checksum {
        /// Which volume.
        tr: TrIndex,
        /// CRC-32 of the bytes that came.
        found: u32,
        /// CRC-32 in the header.
        expected: u32,
    },
    /// The volume has another matrix than its run.
    #[error("{tr} has matrix {found:?}, its run has {expected:?}")]
    WrongMatrix {
        /// Which volume.
        tr: TrIndex,
        /// Its matrix.
        found: Vec<usize>,
        /// The run's matrix.
        expected: [usize; 3],
    },
}
