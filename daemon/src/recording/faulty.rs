//! A disk that fails, for tests.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use super::storage::{Disk, SegmentFile, Sync};

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Failure {
    Nothing,
    /// The write that reaches this byte, counted over all files. Bytes before it are written.
    Write(u64),
    /// The sync with this number, from 0.
    Sync(u64),
    /// The creation of the file with this number, from 0.
    Create(u64),
}

/// How the disk fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub failure: Failure,
    /// Error number: `ENOSPC`, `EIO`.
    pub errno: rustix::io::Errno,
    /// Whether every write and sync after the failed one fails too. Otherwise one fails.
    pub is_lasting: bool,
    /// Most bytes of one write; more are written in part, as `write` may.
    pub most_bytes: usize,
}

#[derive(Clone)]
pub(super) struct FaultyDisk(Arc<Shared>);

struct Shared {
    faults: Faults,
    n_byte: AtomicU64,
    n_sync: AtomicU64,
    n_create: AtomicU64,
    has_failed: AtomicBool,
}

impl FaultyDisk {
    pub(super) fn new(faults: Faults) -> Self {
        Self(Arc::new(Shared {
            faults,
            n_byte: AtomicU64::new(0),
            n_sync: AtomicU64::new(0),
            n_create: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
        }))
    }

    /// Bytes that were written, syncs and creations that were asked for.
    pub(super) fn counts(&self) -> [u64; 3] {
        [self.0.n_byte.load(Relaxed), self.0.n_sync.load(Relaxed), self.0.n_create.load(Relaxed)]
    }

    pub(super) fn has_failed(&self) -> bool {
        self.0.has_failed.load(Relaxed)
    }
}

impl Shared {
    /// Fails if now is the time to fail.
    fn fail(&self, is_due: bool) -> io::Result<()> {
        let has_failed = self.has_failed.load(Relaxed);
        if if has_failed { self.faults.is_lasting } else { is_due } {
            self.has_failed.store(true, Relaxed);
            return Err(self.faults.errno.into());
        }
        Ok(())
    }
}

struct Faulty(File, Arc<Shared>);

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<(Box<dyn SegmentFile>, Box<dyn Sync>)> {
        let number = self.0.n_create.fetch_add(1, Relaxed);
        self.0.fail(self.0.faults.failure == Failure::Create(number))?;
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let again = file.try_clone()?;
        let shared = || Arc::clone(&self.0);
        Ok((Box::new(Faulty(file, shared())), Box::new(Faulty(again, shared()))))
    }
}

impl Write for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Faults { failure, most_bytes, .. } = self.1.faults;
        let written = self.1.n_byte.load(Relaxed);
        let mut n = bytes.len().min(most_bytes);
        let mut is_due = false;
        if let Failure::Write(at) = failure
            && !self.1.has_failed.load(Relaxed)
        {
            n = n.min(usize::try_from(at - written).unwrap());
            is_due = n == 0 && !bytes.is_empty();
        }
        self.1.fail(is_due)?;
        let n = self.0.write(&bytes[..n])?;
        self.1.n_byte.fetch_add(n as u64, Relaxed);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Seek for Faulty {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl SegmentFile for Faulty {}

impl Sync for Faulty {
    fn sync(&self) -> io::Result<()> {
        let number = self.1.n_sync.fetch_add(1, Relaxed);
        self.1.fail(self.1.faults.failure == Failure::Sync(number))
    }
}

mod tests;
