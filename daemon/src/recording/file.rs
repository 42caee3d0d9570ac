//! Writes the file of a recording: MCAP in compressed chunks.
//!
//! An existing file is continued: its entries are copied into a new file, which then replaces
//! it. A lock keeps a second process from writing the same file.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use mcap::{WriteOptions, Writer, records::MessageHeader};

use super::{
    format::{Entry, TOPICS},
    reader::{Recording, RecordingError},
};

/// Each chunk adds an entry to the index, which stays in memory until the end, so a chunk should
/// hold more than one volume. A flush ends a chunk early: a kill loses nothing acknowledged.
const CHUNK_BYTES: u64 = 1 << 20;

/// Why a recording cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be created or written.
    #[error("cannot write the recording {path}: {reason}")]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        reason: String,
    },
    /// The file exists and is not a recording, so it cannot be continued.
    #[error("{0}; choose another file with --record")]
    Existing(#[from] RecordingError),
    /// Another process is writing the file.
    #[error("{0} is being written by another process; stop that process or choose another file")]
    InUse(PathBuf),
}

/// Locks the file against other Corticast processes for as long as it is open.
fn lock(file: &File, path: &Path) -> Result<(), RecordError> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(RecordError::InUse(path.to_owned())),
        // Some file systems cannot lock; record without a lock there.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// `a.mcap` → `a.mcap.part`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A recording that is being written.
pub struct RecordingFile {
    writer: Writer<BufWriter<File>>,
    /// The channel number of each topic.
    channels: Vec<(&'static str, u16)>,
    /// A second handle of the file, for syncing it.
    file: File,
    path: PathBuf,
    sequence: u32,
}

impl RecordingFile {
    /// Starts a recording. An existing file is continued: its entries, up to where it was cut, are
    /// copied into a new file, which then replaces it. `each` is called with every entry.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written, or exists and is not a recording.
    pub fn open(path: &Path, each: impl FnMut(&Entry)) -> Result<Self, RecordError> {
        let is_new = std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0);
        if is_new {
            return Self::create(path);
        }
        let aside = path.with_extension("mcap.resuming");
        let (mut copy, cut) = Self::copy(path, &aside, each)?;
        if let Some(cut) = cut {
            tracing::warn!(
                path = %path.display(), reason = cut,
                "the recording was cut; everything before the cut is kept"
            );
        }
        copy.flush(true)?;
        std::fs::rename(&aside, path).map_err(|error| copy.failed(&error))?;
        copy.path = path.to_owned();
        Ok(copy)
    }

    /// Copies the entries of a recording, up to where it was cut, into a new one. `each` is called
    /// with every entry. Returns the copy, open for writing, and the reason for the cut if the
    /// recording was cut.
    ///
    /// # Errors
    ///
    /// Fails when `from` is not a recording or is being written, or when `to` cannot be written.
    pub fn copy(
        from: &Path,
        to: &Path,
        mut each: impl FnMut(&Entry),
    ) -> Result<(Self, Option<String>), RecordError> {
        let mut old = Recording::open(from)?;
        let _not_written_meanwhile = File::open(from)
            .map(|file| lock(&file, from).map(|()| file))
            .map_err(|source| RecordingError::Open { path: from.to_owned(), source })??;
        let mut copy = Self::create(to)?;
        for entry in &mut old {
            each(&entry);
            let topic = TOPICS.iter().map(|(name, _)| *name).find(|name| *name == entry.topic);
            if let Some(topic) = topic {
                copy.write(topic, entry.wall_ns, &entry.data)?;
            }
        }
        Ok((copy, old.cut().map(str::to_owned)))
    }

    fn create(path: &Path) -> Result<Self, RecordError> {
        let failed = |error: &dyn std::error::Error| RecordError::Write {
            path: path.to_owned(),
            reason: with_causes(error),
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        }
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(|error| failed(&error))?;
        // Emptied only after locking.
        lock(&file, path)?;
        file.set_len(0).map_err(|error| failed(&error))?;
        let again = file.try_clone().map_err(|error| failed(&error))?;
        let mut writer = WriteOptions::new()
            .profile("corticast")
            .library(concat!("corticast ", env!("CARGO_PKG_VERSION")))
            .compression(Some(mcap::Compression::Zstd))
            .compression_level(1)
            .chunk_size(Some(CHUNK_BYTES))
            // Each chunk is written in one piece, so that no header has to be filled in later.
            .disable_seeking(true)
            .create(BufWriter::with_capacity(1 << 20, file))
            .map_err(|error| failed(&error))?;
        let channels = TOPICS.map(|(topic, encoding)| {
            writer.add_channel(0, topic, encoding, &Default::default()).map(|id| (topic, id))
        });
        let channels = channels.into_iter().collect::<Result<_, _>>().map_err(|e| failed(&e))?;
        Ok(Self { writer, channels, file: again, path: path.to_owned(), sequence: 0 })
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, error: &dyn std::error::Error) -> RecordError {
        RecordError::Write { path: self.path.clone(), reason: with_causes(error) }
    }

    /// Adds an entry. The entry is safe after [`RecordingFile::flush`].
    ///
    /// # Errors
    ///
    /// Fails when writing to the disk fails. Nothing more can be recorded then.
    pub fn write(
        &mut self,
        topic: &'static str,
        wall_ns: u64,
        data: &[u8],
    ) -> Result<(), RecordError> {
        let channel = self.channels.iter().find(|(name, _)| *name == topic);
        let (_, channel_id) = *channel.expect("topics come from the list");
        self.sequence = self.sequence.wrapping_add(1);
        let header = MessageHeader {
            channel_id,
            sequence: self.sequence,
            log_time: wall_ns,
            publish_time: wall_ns,
        };
        let written = self.writer.write_to_known_channel(&header, data);
        written.map_err(|error| self.failed(&error))
    }

    /// Hands everything to the operating system, and with `sync` to the disk.
    ///
    /// # Errors
    ///
    /// Fails when writing to the disk fails.
    pub fn flush(&mut self, sync: bool) -> Result<(), RecordError> {
        self.writer.flush().map_err(|error| self.failed(&error))?;
        if sync {
            self.file.sync_data().map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Writes the summary and closes the file.
    ///
    /// # Errors
    ///
    /// Fails when writing to the disk fails.
    pub fn finish(mut self) -> Result<(), RecordError> {
        self.writer.finish().map_err(|error| self.failed(&error))?;
        let file = &mut self.file;
        file.flush().and_then(|()| file.sync_all()).map_err(|error| self.failed(&error))
    }
}

/// The error with its causes: the writer's own message does not mention that the disk is full.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
