//! What is in a recording, and reading it back.
//!
//! A recording is one MCAP file per session. It is a log: every message that was accepted, as
//! it came, every command, and every product, in the order in which they happened. Feeding the
//! messages and commands to a [`crate::signal::session::Session`] again gives the products again.
//!
//! | topic | encoding | content |
//! |---|---|---|
//! | `session` | json | configuration, model, versions, clocks; again after every restart |
//! | `wire` | `corticast-frames` | the frames of one message from an adapter, verbatim |
//! | `command` | json | what the operator asked |
//! | `concepts`, `volume`, `run`, `status` | json | products, as published |
//! | `conditions` | safetensors | what a generator is given, one file for each result |
//! | `clip` | safetensors | what it made of that, one file for each clip |
//!
//! `corticast-frames`: number of frames (u8), then for each its length (u32 LE) and its bytes.
//! A file that was cut (kill -9, power) is readable up to its last whole chunk.

pub mod log;

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use bytes::{BufMut, Bytes, BytesMut};
use mcap::{io::MessageReader, sans_io::linear_reader::LinearReaderOptions};

use crate::signal::happening::Command;

/// Topic of the session's description.
pub const SESSION: &str = "session";
/// Topic of messages from adapters.
pub const WIRE: &str = "wire";
/// Topic of commands.
pub const COMMAND: &str = "command";
/// Topics and their encodings.
pub const TOPICS: [(&str, &str); 9] = [
    (SESSION, "json"),
    (WIRE, "corticast-frames"),
    (COMMAND, "json"),
    ("concepts", "json"),
    ("conditions", "safetensors"),
    ("clip", "safetensors"),
    ("volume", "json"),
    ("run", "json"),
    ("status", "json"),
];
/// Longest MCAP record that is read, in bytes.
const MAX_RECORD_BYTES: usize = 1 << 30;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be opened.
    #[error("cannot open the recording {path}: {source}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no MCAP file.
    #[error("{path} is no recording: {reason}")]
    NotARecording {
        /// Which file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
}

/// One thing that was recorded.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its topic.
    pub topic: String,
    /// When, nanoseconds since 1970-01-01 UTC.
    pub wall_ns: u64,
    /// Its bytes.
    pub data: Bytes,
}

impl Entry {
    /// The frames of a message, if that is what it is.
    #[must_use]
    pub fn frames(&self) -> Option<Vec<Bytes>> {
        (self.topic == WIRE).then(|| unpack(&self.data)).flatten()
    }

    /// The command, if that is what it is.
    #[must_use]
    pub fn command(&self) -> Option<Command> {
        if self.topic != COMMAND {
            return None;
        }
        let value: serde_json::Value = serde_json::from_slice(&self.data).ok()?;
        serde_json::from_value(value.get("command")?.clone()).ok()
    }
}

/// A recording that is read from its start. Iterate over it; after the last entry,
/// [`Recording::cut`] says whether the file was cut.
pub struct Recording {
    reader: MessageReader<BufReader<File>>,
    cut: Option<String>,
    ended: bool,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("cut", &self.cut).finish_non_exhaustive()
    }
}

impl Recording {
    /// Opens a recording, whole or cut.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be opened or does not begin as MCAP files do.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let open = |source| RecordingError::Open { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(open)?;
        let mut magic = [0; 8];
        std::io::Read::read_exact(&mut file, &mut magic)
            .ok()
            .filter(|()| magic == *mcap::MAGIC)
            .ok_or_else(|| RecordingError::NotARecording {
                path: path.to_owned(),
                reason: "it does not begin as an MCAP file does".to_owned(),
            })?;
        std::io::Seek::rewind(&mut file).map_err(open)?;
        let options = LinearReaderOptions::default()
            // Nothing of a damaged chunk is given out.
            .with_prevalidate_chunk_crcs(true)
            .with_validate_data_section_crc(true)
            .with_validate_summary_section_crc(true)
            .with_record_length_limit(MAX_RECORD_BYTES);
        let reader = MessageReader::new_with_options(BufReader::new(file), options);
        Ok(Self { reader, cut: None, ended: false })
    }

    /// Why the file ends before its end, if it does. Known after the last entry.
    #[must_use]
    pub fn cut(&self) -> Option<&str> {
        self.cut.as_deref()
    }
}

impl Iterator for Recording {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.ended {
            return None;
        }
        match self.reader.next() {
            Some(Ok(message)) => Some(Entry {
                topic: message.channel.topic.clone(),
                wall_ns: message.log_time,
                data: Bytes::from(message.data.into_owned()),
            }),
            Some(Err(error)) => {
                self.cut = Some(error.to_string());
                self.ended = true;
                None
            }
            None => {
                self.ended = true;
                None
            }
        }
    }
}

/// Frames as one block of bytes.
#[must_use]
pub fn pack(frames: &[Bytes]) -> Bytes {
    let n_byte: usize = frames.iter().map(|frame| 4 + frame.len()).sum();
    let mut packed = BytesMut::with_capacity(1 + n_byte);
    packed.put_u8(u8::try_from(frames.len()).expect("a message has two or three frames"));
    for frame in frames {
        packed.put_u32_le(u32::try_from(frame.len()).expect("frames are limited to 4 GiB"));
        packed.put_slice(frame);
    }
    packed.freeze()
}

/// The frames in a block of bytes, without copying. `None` when it is damaged.
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
        /// What is packed is unpacked, and garbage never panics.
        #[test]
        fn frames_survive(frames in proptest::collection::vec(any::<Vec<u8>>(), 0..5), garbage: Vec<u8>) {
            let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
            prop_assert_eq!(unpack(&pack(&frames)), Some(frames));
            let read = unpack(&Bytes::from(garbage.clone()));
            prop_assert!(read.is_none_or(|f| f.iter().map(Bytes::len).sum::<usize>() <= garbage.len()));
        }
    }
}
