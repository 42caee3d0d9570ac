//! From files to images: decides which files are read, read again, given up or ignored.
//!
//! A file that ends too early is tried again every few milliseconds until its deadline. Then the
//! file is skipped with a single warning, and its volume becomes a gap. A file that was read is not
//! read again unless it changed.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{
    elements::MAX_FILE_BYTES,
    error::DicomError,
    file_name::{path_hash, shown},
    image::Image,
    parts::{Part, parts},
    polling::{Version, version},
    scan::Scan,
    watch::Arrivals,
};
use crate::adapter::Stopper;

/// Shortest and longest wait before an incomplete file is tried again.
const RETRY: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(50)];
/// Nothing is due for this long at most.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Largest number of incomplete files waiting to be tried again; further ones are skipped at once.
const MAX_PENDING: usize = 256;

/// Counts of the files since the adapter was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Volumes delivered.
    pub handed_on: u64,
    /// Images that arrived before, under any file name.
    pub duplicates: u64,
    /// Images that could not be used: damaged, another matrix, the number of another image.
    pub refused: u64,
    /// Files that were still incomplete at their deadline.
    pub given_up: u64,
    /// Images left out because others were asked for.
    pub left_out: u64,
    /// Files that are no images.
    pub other_files: u64,
}

/// A complete image.
#[derive(Debug)]
pub struct Read {
    /// What its header says of all its pictures.
    pub scan: Scan,
    /// Its volumes, or its slice.
    pub parts: Vec<Part>,
    /// Name of its file, safe for logs.
    pub file: String,
}

/// Result of waiting for an image.
#[derive(Debug)]
pub enum Next {
    /// A complete image.
    Image(Box<Read>),
    /// No image arrived in time.
    Quiet,
    /// No further image will arrive.
    End,
}

struct Pending {
    path: PathBuf,
    give_up: Instant,
    next: Instant,
    wait: Duration,
}

/// Reads files as they arrive. See the module docs.
pub struct Intake {
    /// Counts of the files.
    pub counts: Counts,
    listed: VecDeque<PathBuf>,
    /// `None` when only the listed files are read.
    arrivals: Option<Arrivals>,
    pending: Vec<Pending>,
    deadline: Duration,
    /// Files that were read or skipped, by a hash of the path.
    done: HashMap<u64, Version>,
    buffer: Vec<u8>,
    /// Ends the intake, from any thread.
    stop: (Sender<()>, Receiver<()>),
    is_stopped: bool,
    /// Files that were given up, by the series and identifier that their headers give.
    pub incomplete: Vec<Option<(String, u64)>>,
}

/// No image is shorter: the preamble and the word DICM.
const SHORTEST_BYTES: usize = 132;

/// Why a file did not give an image.
enum Failure {
    /// The file is gone, or was already handled.
    Nothing,
    /// The file may still become an image.
    NotYet(String),
    /// The file will never become an image.
    Never(DicomError),
}

impl Intake {
    /// An intake that first reads the listed files, then files that arrive.
    #[must_use]
    pub fn new(listed: Vec<PathBuf>, arrivals: Option<Arrivals>, deadline: Duration) -> Self {
        Self {
            counts: Counts::default(),
            listed: listed.into(),
            arrivals,
            pending: Vec::new(),
            deadline,
            done: HashMap::new(),
            buffer: Vec::new(),
            stop: bounded(1),
            is_stopped: false,
            incomplete: Vec::new(),
        }
    }

    /// Ends the intake from another thread: what comes next is the end.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        let stop = self.stop.0.clone();
        Box::new(move || {
            stop.try_send(()).ok();
        })
    }

    /// Whether the intake was ended from another thread.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// The next image; waits until `until`, or for ever when it is `None`.
    pub fn next(&mut self, until: Option<Instant>) -> Next {
        loop {
            self.is_stopped |= self.stop.1.try_recv().is_ok();
            if self.is_stopped {
                return Next::End;
            }
            if let Some(path) = self.listed.pop_front() {
                if let Some(read) = self.attempt(path) {
                    return Next::Image(read);
                }
                continue;
            }
            let now = Instant::now();
            if let Some(due) = self.pending.iter().position(|pending| pending.next <= now) {
                let pending = self.pending.swap_remove(due);
                if let Some(read) = self.attempt_again(pending) {
                    return Next::Image(read);
                }
                continue;
            }
            let Some(arrivals) = &self.arrivals else { return Next::End };
            if until.is_some_and(|until| until <= now) {
                return Next::Quiet;
            }
            let wake = self.pending.iter().map(|pending| pending.next).chain(until).min();
            let wait = wake.map_or(LONGEST_WAIT, |wake| wake.saturating_duration_since(now));
            let arrived = crossbeam::select! {
                recv(arrivals.files()) -> path => path.map_err(|_| RecvTimeoutError::Disconnected),
                recv(self.stop.1) -> _ => {
                    self.is_stopped = true;
                    continue;
                }
                default(wait) => Err(RecvTimeoutError::Timeout),
            };
            match arrived {
                Ok(path) => {
                    if let Some(read) = self.attempt(path) {
                        return Next::Image(read);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Next::End,
            }
        }
    }

    fn attempt(&mut self, path: PathBuf) -> Option<Box<Read>> {
        let known = self.pending.iter().position(|pending| pending.path == path);
        let pending = match known {
            Some(at) => self.pending.swap_remove(at),
            None => {
                let now = Instant::now();
                // Unwatched files have no writer, so an incomplete one is skipped at once.
                let patience = self.arrivals.as_ref().map_or(Duration::ZERO, |_| self.deadline);
                Pending { path, give_up: now + patience, next: now, wait: RETRY[0] }
            }
        };
        self.attempt_again(pending)
    }

    fn attempt_again(&mut self, pending: Pending) -> Option<Box<Read>> {
        let file = shown(&pending.path);
        match self.read(&pending.path) {
            Ok((scan, parts)) => return Some(Box::new(Read { scan, parts, file })),
            Err(Failure::Nothing) => {}
            Err(Failure::Never(reason)) if reason.is_no_image() => self.other(&file, &reason),
            Err(Failure::Never(reason)) => {
                self.counts.refused += 1;
                tracing::warn!(file, %reason, "file skipped");
            }
            Err(Failure::NotYet(reason)) => {
                let now = Instant::now();
                let is_over = now >= pending.give_up || self.pending.len() >= MAX_PENDING;
                if is_over && self.buffer.len() < SHORTEST_BYTES && !self.buffer.is_empty() {
                    self.remember(&pending.path);
                    self.other(&file, &DicomError::NotDicom);
                } else if is_over {
                    self.counts.given_up += 1;
                    self.note_incomplete(&pending.path);
                    self.remember(&pending.path);
                    tracing::warn!(file, reason, "file skipped: it is still incomplete");
                } else {
                    let wait = (2 * pending.wait).min(RETRY[1]);
                    let next = (now + pending.wait).min(pending.give_up);
                    self.pending.push(Pending { next, wait, ..pending });
                }
            }
        }
        None
    }

    fn read(&mut self, path: &Path) -> Result<(Scan, Vec<Part>), Failure> {
        let version = self.load(path)?;
        let read = Image::parse(&self.buffer)
            .and_then(|(image, pixels)| Ok((parts(&image, &pixels)?, image.scan)));
        match read {
            Ok((parts, scan)) => {
                self.done.insert(path_hash(path), version);
                Ok((scan, parts))
            }
            Err(error) if error.is_incomplete() => Err(Failure::NotYet(error.to_string())),
            Err(error) => {
                self.done.insert(path_hash(path), version);
                Err(Failure::Never(error))
            }
        }
    }

    /// Counts a file that is no image. Only the first one is named.
    fn other(&mut self, file: &str, reason: &DicomError) {
        self.counts.other_files += 1;
        if self.counts.other_files == 1 {
            tracing::info!(file, %reason, "files that are no images are skipped and counted");
        } else {
            tracing::debug!(file, %reason, "file skipped");
        }
    }

    /// Notes which image the file in the buffer would have been.
    fn note_incomplete(&mut self, path: &Path) {
        let image = Image::header(&self.buffer).ok();
        // A file of zeros is no image that anybody knows of. An empty one is by its name: exports
        // leave empty files of other names as signs that they have finished.
        let is_named = path.extension().is_some_and(|extension| {
            ["dcm", "ima"].iter().any(|known| extension.eq_ignore_ascii_case(known))
        });
        let is_dicom =
            self.buffer.get(128..132) == Some(b"DICM") || self.buffer.is_empty() && is_named;
        if self.incomplete.len() < MAX_PENDING && (is_dicom || image.is_some()) {
            self.incomplete.push(image.map(|image| (image.scan.series_id, image.scan.instance)));
        }
    }

    /// Reads a file into the buffer, unless this version was already handled.
    fn load(&mut self, path: &Path) -> Result<Version, Failure> {
        self.buffer.clear();
        // Checked before opening, because opening a pipe would block.
        let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
        let version = version(&metadata);
        if !metadata.is_file() || self.done.get(&path_hash(path)) == Some(&version) {
            return Err(Failure::Nothing);
        }
        if metadata.len() > MAX_FILE_BYTES {
            self.done.insert(path_hash(path), version);
            let reason = "the file exceeds the largest accepted file (512 MiB)";
            return Err(Failure::Never(DicomError::Element { at: 0, reason }));
        }
        let file = File::open(path).map_err(|error| unreadable(&error))?;
        file.take(MAX_FILE_BYTES)
            .read_to_end(&mut self.buffer)
            .map_err(|error| unreadable(&error))?;
        Ok(version)
    }

    fn remember(&mut self, path: &Path) {
        if let Ok(metadata) = fs::metadata(path) {
            self.done.insert(path_hash(path), version(&metadata));
        }
    }
}

/// A writer may have locked the file, or renamed it in the meantime.
fn unreadable(error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotFound => Failure::Nothing,
        kind => Failure::NotYet(format!("cannot be read: {kind}")),
    }
}
