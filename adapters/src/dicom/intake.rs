//! From files to mosaics: what is read, read again, given up or ignored.
//!
//! A file that ends too early is tried again every few milliseconds until its deadline; then it
//! is skipped, once, with a warning, and its volume shows up as a gap. A file that was read is
//! not read again unless it changed.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use crossbeam::channel::RecvTimeoutError;

use super::{
    elements::MAX_FILE_BYTES,
    error::DicomError,
    file_name::{name_hash, shown},
    image::Image,
    watch::Arrivals,
};

/// How soon an incomplete file is tried again, at first and at last.
const RETRY: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(50)];
/// Incomplete files that are tried again at a time; more are given up at once.
const MAX_PENDING: usize = 256;

/// What became of the files, since the adapter was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Volumes handed on.
    pub handed_on: u64,
    /// Images that came before, under whatever name.
    pub duplicates: u64,
    /// Files that are no mosaic of their run: another kind of image, damaged, another matrix.
    pub refused: u64,
    /// Files that were still incomplete at their deadline.
    pub given_up: u64,
}

/// A mosaic, taken apart.
#[derive(Debug)]
pub struct Mosaic {
    /// What its header says.
    pub image: Image,
    /// Its voxels, x fastest.
    pub voxels: Bytes,
    /// Its file, as logs may name it.
    pub file: String,
}

/// What waiting for a mosaic came to.
#[derive(Debug)]
pub enum Next {
    /// A complete one.
    Mosaic(Box<Mosaic>),
    /// None, until the time that was asked for.
    Quiet,
    /// None, and there will be none.
    End,
}

struct Pending {
    path: PathBuf,
    give_up: Instant,
    next: Instant,
    wait: Duration,
}

/// Size and time of change.
type Version = (u64, Option<SystemTime>);

/// Reads files as they come. See the module docs.
pub struct Intake {
    /// What became of the files.
    pub counts: Counts,
    listed: VecDeque<PathBuf>,
    /// Absent when only the listed files are to be read.
    arrivals: Option<Arrivals>,
    pending: Vec<Pending>,
    deadline: Duration,
    /// Files that were dealt with, by a hash of the name.
    done: HashMap<u64, Version>,
    buffer: Vec<u8>,
}

/// Why a file gave no mosaic.
enum Failure {
    /// It is not there, or was dealt with.
    Nothing,
    /// It may become one.
    NotYet(String),
    /// It will not.
    Never(DicomError),
}

impl Intake {
    /// An intake of the files that are there, in order of acquisition, and then of those that
    /// arrive.
    #[must_use]
    pub fn new(files: Vec<PathBuf>, arrivals: Option<Arrivals>, deadline: Duration) -> Self {
        let mut intake = Self {
            counts: Counts::default(),
            listed: VecDeque::new(),
            arrivals,
            pending: Vec::new(),
            deadline,
            done: HashMap::new(),
            buffer: Vec::new(),
        };
        intake.listed = intake.in_order(files);
        intake
    }

    /// Sorts by time of series, then by number; what cannot be read comes last.
    ///
    /// Only headers are kept: a session of voxels does not fit in memory.
    fn in_order(&mut self, files: Vec<PathBuf>) -> VecDeque<PathBuf> {
        let mut starts: HashMap<String, (u32, i64, Option<u32>)> = HashMap::new();
        let mut sorted: Vec<_> = files
            .into_iter()
            .map(|path| {
                let read = self.load(&path).and_then(|_| {
                    Image::parse(&self.buffer).map_err(Failure::Never).map(|(image, _)| image)
                });
                let known = read.ok().map(|image| {
                    let ((day, time), series) = (image.order, image.series_id);
                    let start = (day, time, image.series_number);
                    let first = starts.entry(series.clone()).or_insert(start);
                    *first = start.min(*first);
                    (series, image.index)
                });
                (path, known)
            })
            .collect();
        sorted.sort_by_cached_key(|(path, known)| {
            let place =
                known.as_ref().map(|(series, index)| (starts[series], series.clone(), *index));
            (place.is_none(), place, path.clone())
        });
        sorted.into_iter().map(|(path, _)| path).collect()
    }

    /// The next mosaic; waits until `until`, or for ever.
    pub fn next(&mut self, until: Option<Instant>) -> Next {
        loop {
            if let Some(path) = self.listed.pop_front() {
                if let Some(mosaic) = self.attempt(path) {
                    return Next::Mosaic(mosaic);
                }
                continue;
            }
            let now = Instant::now();
            if let Some(due) = self.pending.iter().position(|pending| pending.next <= now) {
                let pending = self.pending.swap_remove(due);
                if let Some(mosaic) = self.attempt_again(pending) {
                    return Next::Mosaic(mosaic);
                }
                continue;
            }
            let Some(arrivals) = &self.arrivals else { return Next::End };
            if until.is_some_and(|until| until <= now) {
                return Next::Quiet;
            }
            let wake = self.pending.iter().map(|pending| pending.next).chain(until).min();
            let arrived = match wake {
                Some(wake) => arrivals.files().recv_deadline(wake),
                None => arrivals.files().recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match arrived {
                Ok(path) => {
                    if let Some(mosaic) = self.attempt(path) {
                        return Next::Mosaic(mosaic);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Next::End,
            }
        }
    }

    fn attempt(&mut self, path: PathBuf) -> Option<Box<Mosaic>> {
        let known = self.pending.iter().position(|pending| pending.path == path);
        let pending = match known {
            Some(at) => self.pending.swap_remove(at),
            None => {
                let now = Instant::now();
                // What is listed and not watched is not being written.
                let patience = self.arrivals.as_ref().map_or(Duration::ZERO, |_| self.deadline);
                Pending { path, give_up: now + patience, next: now, wait: RETRY[0] }
            }
        };
        self.attempt_again(pending)
    }

    fn attempt_again(&mut self, pending: Pending) -> Option<Box<Mosaic>> {
        let file = shown(&pending.path);
        match self.read(&pending.path) {
            Ok((image, voxels)) => return Some(Box::new(Mosaic { image, voxels, file })),
            Err(Failure::Nothing) => {}
            Err(Failure::Never(reason)) => {
                self.counts.refused += 1;
                tracing::warn!(file, %reason, "file skipped");
            }
            Err(Failure::NotYet(reason)) => {
                let now = Instant::now();
                if now >= pending.give_up || self.pending.len() >= MAX_PENDING {
                    self.counts.given_up += 1;
                    self.remember(&pending.path);
                    tracing::warn!(file, reason, "file skipped, still incomplete at its deadline");
                } else {
                    let wait = (2 * pending.wait).min(RETRY[1]);
                    let next = (now + pending.wait).min(pending.give_up);
                    self.pending.push(Pending { next, wait, ..pending });
                }
            }
        }
        None
    }

    fn read(&mut self, path: &Path) -> Result<(Image, Bytes), Failure> {
        let version = self.load(path)?;
        let read = Image::parse(&self.buffer)
            .and_then(|(image, picture)| Ok((image.tiling.unmosaic(picture)?, image)));
        match read {
            Ok((voxels, image)) => {
                self.done.insert(name_hash(path), version);
                Ok((image, voxels))
            }
            Err(error) if error.is_incomplete() => Err(Failure::NotYet(error.to_string())),
            Err(error) => {
                self.done.insert(name_hash(path), version);
                Err(Failure::Never(error))
            }
        }
    }

    /// Reads a file into the buffer, unless this version of it was dealt with.
    fn load(&mut self, path: &Path) -> Result<Version, Failure> {
        // Asked before opening: to open a pipe would block.
        let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
        let version = version(&metadata);
        if !metadata.is_file() || self.done.get(&name_hash(path)) == Some(&version) {
            return Err(Failure::Nothing);
        }
        if metadata.len() > MAX_FILE_BYTES {
            self.done.insert(name_hash(path), version);
            let reason = "the file is larger than any that is read (256 MiB)";
            return Err(Failure::Never(DicomError::Element { at: 0, reason }));
        }
        self.buffer.clear();
        let file = File::open(path).map_err(|error| unreadable(&error))?;
        file.take(MAX_FILE_BYTES)
            .read_to_end(&mut self.buffer)
            .map_err(|error| unreadable(&error))?;
        Ok(version)
    }

    fn remember(&mut self, path: &Path) {
        if let Ok(metadata) = fs::metadata(path) {
            self.done.insert(name_hash(path), version(&metadata));
        }
    }
}

/// A writer may hold a lock on the file, or have renamed it in the meantime.
fn unreadable(error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotFound => Failure::Nothing,
        kind => Failure::NotYet(format!("cannot be read: {kind}")),
    }
}

fn version(metadata: &fs::Metadata) -> Version {
    (metadata.len(), metadata.modified().ok())
}
