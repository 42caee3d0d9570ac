//! The format of a recording: its topics, and the entries recorded under each.
//!
//! A recording is one or more MCAP files for each session. It is a log of every accepted message (its original
//! bytes), every command and every product, in the order in which they happened. Feeding the
//! messages and commands to a [`Session`](crate::signal::session::Session) again gives the same
//! products.
//!
//! | topic | encoding | content |
//! |---|---|---|
//! | `session` | json | configuration, model, versions, clocks; again after every restart |
//! | `wire` | `corticast-frames` | the frames of one message from an adapter, verbatim |
//! | `command` | json | a command of the operator |
//! | `order` | json | a volume that was processed before it could be recorded: a replay differs |
//! | `checkpoint` | `corticast-checkpoint` | the state of the session, for a quick restart |
//! | `concepts`, `volume`, `run`, `status`, `feedback` | json | products, as published |
//! | `conditions` | safetensors | the input of a generator, one file for each result |
//! | `clip` | safetensors | the pictures that the generator made, one file for each clip |
//!
//! `corticast-frames`: number of frames (u8), then for each its length (u32 LE) and its bytes.
//! A file that was cut (kill -9, power failure) is readable up to its last whole chunk.

use bytes::{BufMut, Bytes, BytesMut};

use crate::signal::happening::Command;

/// Topic of the session's description.
pub const SESSION: &str = "session";

/// Topic of messages from adapters.
pub const WIRE: &str = "wire";

/// Topic of commands.
pub const COMMAND: &str = "command";

/// Topic of volumes that were processed before they could be recorded.
pub const ORDER: &str = "order";

/// Topic of the state of the session, for a quick restart.
pub const CHECKPOINT: &str = "checkpoint";

/// Topics and their encodings. New topics come last: a segment whose first chunk is damaged has
/// only the position in this list to tell what an entry is.
pub const TOPICS: [(&str, &str); 12] = [
    (SESSION, "json"),
    (WIRE, "corticast-frames"),
    (COMMAND, "json"),
    ("concepts", "json"),
    ("conditions", "safetensors"),
    ("clip", "safetensors"),
    ("volume", "json"),
    ("run", "json"),
    ("status", "json"),
    (ORDER, "json"),
    (CHECKPOINT, "corticast-checkpoint"),
    ("feedback", "json"),
];

/// One entry of a recording.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its topic.
    pub topic: String,
    /// Time of recording, nanoseconds since 1970-01-01 UTC.
    pub wall_ns: u64,
    /// Its bytes.
    pub data: Bytes,
}

impl Entry {
    /// The frames of a message. `None` for another topic.
    #[must_use]
    pub fn frames(&self) -> Option<Vec<Bytes>> {
        (self.topic == WIRE).then(|| unpack(&self.data)).flatten()
    }

    /// The command. `None` for another topic.
    #[must_use]
    pub fn command(&self) -> Option<Command> {
        if self.topic != COMMAND {
            return None;
        }
        let value: serde_json::Value = serde_json::from_slice(&self.data).ok()?;
        serde_json::from_value(value.get("command")?.clone()).ok()
    }
}

/// The content of an entry that is to be recorded.
#[derive(Clone, Debug)]
pub enum Content {
    /// Its bytes.
    Bytes(Bytes),
    /// The frames of a message. The recorder's thread packs them, so that the receive task does not
    /// copy a volume.
    Frames(Vec<Bytes>),
}

impl Content {
    /// Length in the recording, bytes.
    #[must_use]
    pub fn n_byte(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Frames(frames) => packed_bytes(frames),
        }
    }

    /// The bytes as they are recorded.
    #[must_use]
    pub fn packed(&self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Frames(frames) => pack(frames),
        }
    }
}

impl<T: Into<Bytes>> From<T> for Content {
    fn from(bytes: T) -> Self {
        Self::Bytes(bytes.into())
    }
}

fn packed_bytes(frames: &[Bytes]) -> usize {
    1 + frames.iter().map(|frame| 4 + frame.len()).sum::<usize>()
}

/// Packs frames into one block of bytes.
#[must_use]
pub fn pack(frames: &[Bytes]) -> Bytes {
    let mut packed = BytesMut::with_capacity(packed_bytes(frames));
    packed.put_u8(u8::try_from(frames.len()).expect("a message has two or three frames"));
    for frame in frames {
        packed.put_u32_le(u32::try_from(frame.len()).expect("frames are limited to 4 GiB"));
        packed.put_slice(frame);
    }
    packed.freeze()
}

/// The first frame of a block of bytes, which is the kind of its message: `run`, `vol`, `mark` or
/// `end`.
#[must_use]
pub fn kind_of(packed: &[u8]) -> Option<&[u8]> {
    let length = packed.get(1..5)?.try_into().ok().map(u32::from_le_bytes)?;
    packed.get(5..5 + usize::try_from(length).ok()?.min(packed.len()))
}

/// Unpacks the frames of a block of bytes without copying. `None` when the block is damaged.
#[must_use]
pub fn unpack(packed: &Bytes) -> Option<Vec<Bytes>> {
    let mut at = 1;
    (0..*packed.first()?)
        .map(|_| {
            let length = packed.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)? as usize;
            let frame = at + 4..(at + 4).checked_add(length)?;
            at = frame.end;
            (frame.end <= packed.len()).then(|| packed.slice(frame))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Unpacking returns the packed frames, and garbage never panics.
        #[test]
        fn frames_survive(frames in proptest::collection::vec(any::<Vec<u8>>(), 0..5), garbage: Vec<u8>) {
            let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
            prop_assert_eq!(unpack(&pack(&frames)), Some(frames));
            let read = unpack(&Bytes::from(garbage.clone()));
            prop_assert!(read.is_none_or(|f| f.iter().map(Bytes::len).sum::<usize>() <= garbage.len()));
        }
    }
}
