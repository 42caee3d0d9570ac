//! Writes a recording: MCAP in compressed chunks, one segment after the other.
//!
//! A file that exists is never written again: a session that is continued goes into the next
//! segment. A lock on the first segment keeps a second process from recording the same session.

use std::{
    fs::{File, TryLockError},
    io::BufWriter,
    path::{Path, PathBuf},
    sync::Arc,
};

use mcap::{WriteOptions, Writer, records::MessageHeader};

use super::{
    format::TOPICS,
    reader::RecordingError,
    segments,
    storage::{Disk, RealDisk, SegmentFile, Sync},
};

/// Each chunk adds an entry to the index, which stays in memory until the end, so a chunk should
/// hold more than one volume. A flush ends a chunk early: a kill loses nothing acknowledged.
const CHUNK_BYTES: u64 = 1 << 20;

/// Most entries of a segment. Each may be a chunk of its own, whose place in the index takes about
/// 300 bytes of memory until the segment is finished.
const MAX_ENTRIES: u32 = 1 << 14;

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
    /// A new recording would be joined with a file that exists.
    #[error(
        "{existing} exists, and every command would take it and {recording} for one recording; \
         move it away or choose another name"
    )]
    Joined {
        /// Path of the new recording.
        recording: PathBuf,
        /// The file that exists.
        existing: PathBuf,
    },
}

/// Checks that a new recording of this name would consist of its own files only.
///
/// # Errors
///
/// Fails when a segment of that name exists, or the name is that of a segment of another recording.
pub fn check_new(recording: &Path) -> Result<(), RecordError> {
    let of = |path: &Path| segments::of(path).map_err(|error| failed(recording, &error));
    let whole = segments::parse(recording).map(|(whole, _)| of(&whole)).transpose()?;
    match of(recording)?.into_iter().chain(whole.into_iter().flatten()).next() {
        Some((_, existing)) => {
            Err(RecordError::Joined { recording: recording.to_owned(), existing })
        }
        None => Ok(()),
    }
}

/// Locks a recording against other Corticast processes for as long as the file is open.
///
/// # Errors
///
/// Fails when another process has locked it, or it cannot be opened.
pub(super) fn lock(path: &Path) -> Result<File, RecordError> {
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(RecordError::InUse(path.to_owned())),
        // Some file systems cannot lock; record without a lock there.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
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
    disk: Arc<dyn Disk>,
    recording: PathBuf,
    /// Number of the segment that is being written. `None`: the file is not divided.
    number: Option<u32>,
    /// Most entries of a segment.
    max_entries: u32,
    segment: OpenSegment,
    _lock: File,
}

impl RecordingFile {
    /// Starts a recording, or continues it in its next segment. The segments that exist are not
    /// changed.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written, or another process records the session.
    pub fn open(recording: &Path) -> Result<Self, RecordError> {
        Self::open_on(Arc::new(RealDisk), recording)
    }

    /// As [`RecordingFile::open`], on this disk.
    ///
    /// # Errors
    ///
    /// As [`RecordingFile::open`].
    pub(super) fn open_on(disk: Arc<dyn Disk>, recording: &Path) -> Result<Self, RecordError> {
        if let Some(folder) = recording.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| failed(recording, &error))?;
        }
        let of = |path: &Path| segments::of(path).map_err(|error| failed(recording, &error));
        if let Some((whole, _)) = segments::parse(recording)
            && !of(&whole)?.is_empty()
        {
            let path = recording.to_owned();
            return Err(RecordingError::FurtherSegment { path, recording: whole }.into());
        }
        let found = of(recording)?;
        let locked = found.first().map(|(_, first)| lock(first)).transpose()?;
        let number = segments::next_number(&found);
        let path = segments::path_of(recording, number);
        let segment = OpenSegment::create(&*disk, &path)?;
        let locked = match locked {
            Some(locked) => locked,
            None => lock(&path)?,
        };
        let recording = recording.to_owned();
        let (number, max_entries) = (Some(number), MAX_ENTRIES);
        Ok(Self { disk, recording, number, max_entries, segment, _lock: locked })
    }

    /// Creates one file that is not divided into segments.
    ///
    /// # Errors
    ///
    /// Fails when the file exists or cannot be written.
    pub(super) fn create(path: &Path) -> Result<Self, RecordError> {
        let disk = Arc::new(RealDisk);
        let segment = OpenSegment::create(&*disk, path)?;
        let locked = lock(path)?;
        let (recording, max_entries) = (path.to_owned(), MAX_ENTRIES);
        Ok(Self { disk, recording, number: None, max_entries, segment, _lock: locked })
    }

    /// The same file, with a new segment after this many entries.
    #[cfg(test)]
    pub(super) fn divided_after(self, max_entries: u32) -> Self {
        Self { max_entries, ..self }
    }

    /// Number of the segment that is being written.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number.unwrap_or(0)
    }

    /// Path of the segment that is being written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.segment.path
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
        if let Some(number) = &mut self.number
            && self.segment.n_entry >= self.max_entries
        {
            *number += 1;
            let path = segments::path_of(&self.recording, *number);
            // The old segment is finished first: at most one segment of a recording has no end.
            self.segment.finish()?;
            self.segment = OpenSegment::create(&*self.disk, &path)?;
        }
        self.segment.write(topic, wall_ns, data)
    }

    /// Hands everything to the operating system, and with `sync` to the disk.
    ///
    /// # Errors
    ///
    /// Fails when writing to the disk fails.
    pub fn flush(&mut self, sync: bool) -> Result<(), RecordError> {
        self.segment.flush(sync)
    }

    /// Writes the summary and closes the file.
    ///
    /// # Errors
    ///
    /// Fails when writing to the disk fails.
    pub fn finish(mut self) -> Result<(), RecordError> {
        self.segment.finish()
    }
}

type FileWriter = Writer<BufWriter<Box<dyn SegmentFile>>>;

/// The channel number of each topic.
type Channels = Vec<(&'static str, u16)>;

/// One file that is being written. Dropped before its first entry, it is removed: a daemon that does
/// not start, and is started again and again, leaves no files behind.
struct OpenSegment {
    writer: FileWriter,
    channels: Channels,
    sync: Box<dyn Sync>,
    path: PathBuf,
    n_entry: u32,
    is_finished: bool,
}

impl Drop for OpenSegment {
    fn drop(&mut self) {
        if self.n_entry == 0 && !self.is_finished {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

impl OpenSegment {
    fn create(disk: &dyn Disk, path: &Path) -> Result<Self, RecordError> {
        let failed = |error: &(dyn std::error::Error + 'static)| failed(path, error);
        let (file, sync) = disk.create(path).map_err(|error| match error.kind() {
            // Another process chose the same segment in the same moment.
            std::io::ErrorKind::AlreadyExists => RecordError::InUse(path.to_owned()),
            _ => failed(&error),
        })?;
        // The first bytes are written here. On a full disk, an empty file would be left.
        let (writer, channels) = Self::begin(file).map_err(|error| {
            std::fs::remove_file(path).ok();
            failed(&error)
        })?;
        let path = path.to_owned();
        Ok(Self { writer, channels, sync, path, n_entry: 0, is_finished: false })
    }

    /// Writes the start of a file.
    fn begin(file: Box<dyn SegmentFile>) -> Result<(FileWriter, Channels), mcap::McapError> {
        let mut writer = WriteOptions::new()
            .profile("corticast")
            .library(concat!("corticast ", env!("CARGO_PKG_VERSION")))
            .compression(Some(mcap::Compression::Zstd))
            .compression_level(1)
            .chunk_size(Some(CHUNK_BYTES))
            // Each chunk is written in one piece, so that no header has to be filled in later.
            .disable_seeking(true)
            .create(BufWriter::with_capacity(1 << 20, file))?;
        let channels = TOPICS.map(|(topic, encoding)| {
            writer.add_channel(0, topic, encoding, &Default::default()).map(|id| (topic, id))
        });
        let channels = channels.into_iter().collect::<Result<_, _>>()?;
        Ok((writer, channels))
    }

    fn write(&mut self, topic: &'static str, wall_ns: u64, data: &[u8]) -> Result<(), RecordError> {
        let channel = self.channels.iter().find(|(name, _)| *name == topic);
        let (_, channel_id) = *channel.expect("topics come from the list");
        self.n_entry += 1;
        let header = MessageHeader {
            channel_id,
            sequence: self.n_entry,
            log_time: wall_ns,
            publish_time: wall_ns,
        };
        let written = self.writer.write_to_known_channel(&header, data);
        written.map_err(|error| failed(&self.path, &error))
    }

    fn flush(&mut self, sync: bool) -> Result<(), RecordError> {
        self.writer.flush().map_err(|error| failed(&self.path, &error))?;
        if sync {
            self.sync.sync().map_err(|error| failed(&self.path, &error))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), RecordError> {
        self.writer.finish().map_err(|error| failed(&self.path, &error))?;
        self.sync.sync().map_err(|error| failed(&self.path, &error))?;
        self.is_finished = true;
        Ok(())
    }
}

/// The error with its causes: the writer's own message does not mention that the disk is full.
fn failed(path: &Path, error: &(dyn std::error::Error + 'static)) -> RecordError {
    let reason = corticast_wire::text::explain(error);
    RecordError::Write { path: path.to_owned(), reason }
}
