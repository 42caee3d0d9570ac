//! Reading a recording back, entry by entry, through all of its segments.
//!
//! [`Recording::faults`] tells, after the last entry, where a segment was cut, what is damaged, and
//! which read failed. No entry of a damaged chunk is returned.

use std::{
    collections::VecDeque,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use super::{
    belongs,
    fault::{Fault, FaultKind, Faults},
    format::Entry,
    segment::Segment,
    segments,
};

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
    /// The file is a later part of a recording.
    #[error("{path} is a further segment of {recording}; give {recording}, which takes them all")]
    FurtherSegment {
        /// Path of the file.
        path: PathBuf,
        /// The recording that it belongs to.
        recording: PathBuf,
    },
    /// A file of the recording could be read only in part.
    #[error("{0}; check the disk or the share, then try again")]
    Read(Fault),
}

/// The entries of one file of a recording that is in memory, and its faults. `None` when the bytes
/// hold something else.
#[must_use]
pub fn read_bytes(bytes: &[u8]) -> Option<(Vec<Entry>, Faults)> {
    // Reading from memory does not fail.
    let mut segment = Segment::open(std::io::Cursor::new(bytes), Path::new("memory")).ok()??;
    let entries = segment.by_ref().collect();
    let mut faults = Faults::default();
    segment.faults().iter().for_each(|fault| faults.push(fault.clone()));
    Some((entries, faults))
}

/// A recording that is read from its start. Iterate over it; after the last entry,
/// [`Recording::faults`] says what was wrong with it.
pub struct Recording {
    segments: VecDeque<PathBuf>,
    open: Option<Segment<BufReader<File>>>,
    faults: Faults,
    /// Whether the newest segment was cut.
    is_cut: bool,
    n_segment: usize,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl Recording {
    /// Opens a recording with all its segments, whole or not.
    ///
    /// # Errors
    ///
    /// Fails when no segment exists, one cannot be opened or is something else, or `path` is a
    /// further segment.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        Self::before(path, u32::MAX)
    }

    /// As [`Recording::open`], from byte `start.1` of segment `start.0` on, where a record begins,
    /// without the segments from number `end` on.
    ///
    /// # Errors
    ///
    /// As [`Recording::open`].
    pub(super) fn between(
        path: &Path,
        start: (u32, u64),
        end: u32,
    ) -> Result<Self, RecordingError> {
        let mut recording = Self::before(path, end)?;
        let first = segments::path_of(path, start.0);
        while recording.open.as_ref().is_some_and(|open| *open.position().0 != first) {
            recording.open =
                recording.segments.pop_front().map(|f| Self::further(&f)).transpose()?;
        }
        if let Some(open) = &mut recording.open {
            open.go_on_at(start.1);
        }
        Ok(recording)
    }

    /// The file that is being read, and the first byte of its next record.
    pub(crate) fn position(&self) -> Option<(&PathBuf, u64)> {
        self.open.as_ref().map(Segment::position)
    }

    /// As [`Recording::open`], without the segments from number `end` on.
    ///
    /// # Errors
    ///
    /// As [`Recording::open`].
    pub(super) fn before(path: &Path, end: u32) -> Result<Self, RecordingError> {
        let open = |source| RecordingError::Open { path: path.to_owned(), source };
        if let Some((recording, _)) = segments::parse(path)
            && recording.exists()
        {
            return Err(RecordingError::FurtherSegment { path: path.to_owned(), recording });
        }
        let found = segments::of(path).map_err(open)?;
        let mut faults = Faults::default();
        if let Some(path) = segments::first_missing(path, &found) {
            faults.push(Fault { path, kind: FaultKind::Missing });
        }
        let (own, others, _) = belongs::separate(found);
        for path in others {
            faults.push(Fault { path, kind: FaultKind::Foreign });
        }
        let mut files: VecDeque<_> = own.into_iter().filter(|(number, _)| *number < end).collect();
        let Some((number, first)) = files.pop_front() else {
            let error = File::open(path).err();
            return Err(open(error.unwrap_or_else(|| std::io::ErrorKind::NotFound.into())));
        };
        let files: VecDeque<_> = files.into_iter().map(|(_, path)| path).collect();
        let n_segment = files.len() + 1;
        let open = Some(if number == 0 { Self::first(&first)? } else { Self::further(&first)? });
        // A tool that will fail at a later file should do so before it writes anything.
        for further in &files {
            if let Err(error) = Self::further(further) {
                return Err(RecordingError::Read(unreadable(further.clone(), &error)));
            }
        }
        Ok(Self { segments: files, open, faults, is_cut: false, n_segment })
    }

    fn first(path: &Path) -> Result<Segment<BufReader<File>>, RecordingError> {
        let failed = |source| RecordingError::Open { path: path.to_owned(), source };
        let file = BufReader::new(File::open(path).map_err(failed)?);
        Segment::open(file, path).map_err(failed)?.ok_or_else(|| RecordingError::NotARecording {
            path: path.to_owned(),
            reason: "it does not start with the MCAP magic bytes".to_owned(),
        })
    }

    fn further(path: &Path) -> Result<Segment<BufReader<File>>, RecordingError> {
        let failed = |source| RecordingError::Open { path: path.to_owned(), source };
        let file = BufReader::new(File::open(path).map_err(failed)?);
        Segment::open_further(file, path).map_err(failed)
    }

    /// The faults of the segments read so far.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How many files the recording has.
    #[must_use]
    pub fn n_segment(&self) -> usize {
        self.n_segment
    }

    /// Whether a tool should mention the faults: not if all that happened is that the session was
    /// continued in a further segment after its writer was killed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let is_cut_only = |fault: &Fault| matches!(fault.kind, FaultKind::Cut { .. });
        !self.is_cut && self.faults.iter().all(is_cut_only)
    }

    /// Whether the newest segment has no end: it is being written, or its writer was killed.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Fails if a read failed: what lies behind it is unknown.
    ///
    /// # Errors
    ///
    /// Returns the failed read.
    pub fn check_read(&self) -> Result<(), RecordingError> {
        match self.faults.failed_read() {
            Some(fault) => Err(RecordingError::Read(fault.clone())),
            None => Ok(()),
        }
    }
}

/// The fault of a segment that cannot be opened.
fn unreadable(path: PathBuf, error: &RecordingError) -> Fault {
    Fault { path, kind: FaultKind::Io { at: 0, reason: error.to_string() } }
}

impl Iterator for Recording {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let segment = self.open.as_mut()?;
            if let Some(entry) = segment.next() {
                return Some(entry);
            }
            let faults = segment.faults().to_vec();
            self.is_cut = faults.iter().any(|fault| matches!(fault.kind, FaultKind::Cut { .. }));
            faults.into_iter().for_each(|fault| self.faults.push(fault));
            self.open = None;
            let next = self.segments.pop_front()?;
            match Self::further(&next) {
                Ok(segment) => self.open = Some(segment),
                Err(error) => self.faults.push(unreadable(next, &error)),
            }
        }
    }
}
