//! The disk under a recording: a seam at which tests put a disk that fails.

use std::{
    fs::{File, OpenOptions},
    io::{
        self,
        ErrorKind::{InvalidInput, PermissionDenied, Unsupported},
        Seek, Write,
    },
    path::Path,
};

use super::segments;

/// Creates the files of a recording.
pub(super) trait Disk: Send + std::marker::Sync {
    /// Creates a new file, whose name survives a power failure.
    fn create(&self, path: &Path) -> io::Result<(Box<dyn SegmentFile>, Box<dyn Sync>)>;
}

/// A file that is being written.
pub(super) trait SegmentFile: Write + Seek + Send {}

/// Hands what was written to a file from the operating system to the disk.
pub(super) trait Sync: Send {
    /// Waits until the data of the file is on the disk.
    fn sync(&self) -> io::Result<()>;
}

/// The disk of the machine.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<(Box<dyn SegmentFile>, Box<dyn Sync>)> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let again = file.try_clone()?;
        match segments::sync_folder(path) {
            // Some file systems cannot sync a folder.
            Err(error)
                if !matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) =>
            {
                std::fs::remove_file(path).ok();
                return Err(error);
            }
            _ => {}
        }
        Ok((Box::new(file), Box::new(again)))
    }
}

impl SegmentFile for File {}

impl Sync for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
