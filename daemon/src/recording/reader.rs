//! Reading a recording back, entry by entry.
//!
//! A file that was cut is read up to its last whole chunk; after the last entry
//! [`Recording::cut`] gives the reason. No entry of a damaged chunk is returned.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use mcap::{io::MessageReader, sans_io::linear_reader::LinearReaderOptions};

use super::format::Entry;

/// Longest MCAP record that is read, in bytes.
const MAX_RECORD_BYTES: usize = 1 << 30;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be opened.
    #[error("cannot open the recording {path}: {source}")]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The file is not an MCAP file.
    #[error("{path} is not a recording: {reason}")]
    NotARecording {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with the file.
        reason: String,
    },
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
    /// Fails when the file cannot be opened or does not start with the MCAP magic bytes.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let open = |source| RecordingError::Open { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(open)?;
        let mut magic = [0; 8];
        std::io::Read::read_exact(&mut file, &mut magic)
            .ok()
            .filter(|()| magic == *mcap::MAGIC)
            .ok_or_else(|| RecordingError::NotARecording {
                path: path.to_owned(),
                reason: "it does not start with the MCAP magic bytes".to_owned(),
            })?;
        std::io::Seek::rewind(&mut file).map_err(open)?;
        let options = LinearReaderOptions::default()
            // No entry of a damaged chunk is returned.
            .with_prevalidate_chunk_crcs(true)
            .with_validate_data_section_crc(true)
            .with_validate_summary_section_crc(true)
            .with_record_length_limit(MAX_RECORD_BYTES);
        let reader = MessageReader::new_with_options(BufReader::new(file), options);
        Ok(Self { reader, cut: None, ended: false })
    }

    /// Why the file was cut. `None` before the last entry was read, and for a whole file.
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
