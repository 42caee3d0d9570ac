//! Results as JSON lines, one for each result.
//!
//! Programs that follow the file see whole lines: the daemon flushes after each. What a file holds
//! is never removed. After a restart the file of the same session is continued; the file of
//! another session stays as it is, and the results go to a file with an unused name.

mod continuing;
mod held;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

pub use self::continuing::Continuing;
use self::held::{Keys, key_of};
use crate::{product::Product, recording::file::beside};

/// Why results cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum JsonLinesError {
    /// Reading or writing failed.
    #[error("cannot write results to {path}: {source}")]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The file has content, which would be lost.
    #[error("{0} exists; choose a new file for --results, or replace it with --overwrite")]
    Exists(PathBuf),
    /// Another process is writing the file.
    #[error("{0} is being written by another process; stop that process or choose another file")]
    InUse(PathBuf),
}

/// Locks a file of results against other Corticast processes for as long as it is open.
fn lock(path: &Path, file: &File) -> Result<(), JsonLinesError> {
    // Pipes and terminals may have several writers.
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Ok(());
    }
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(JsonLinesError::InUse(path.to_owned())),
        // Some file systems cannot lock.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

fn error(path: &Path) -> impl FnOnce(io::Error) -> JsonLinesError {
    let path = path.to_owned();
    |source| JsonLinesError::Io { path, source }
}

/// A file of results.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: BufWriter<File>,
    /// Results that the file held when it was opened. They are not written again.
    held: Keys,
    /// The file's name once it is complete, if it is written under another one.
    becomes: Option<PathBuf>,
}

impl JsonLines {
    /// Creates the file, and its folder. Only for a name that no one else uses: an existing file
    /// is emptied.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn create(path: &Path) -> Result<Self, JsonLinesError> {
        // Emptied only when no other process writes it.
        let file = create_folder(path)
            .and_then(|()| OpenOptions::new().write(true).create(true).truncate(false).open(path));
        let created = Self::of(path, file, Keys::default())?;
        if path.is_file() {
            created.file.get_ref().set_len(0).map_err(error(path))?;
        }
        Ok(created)
    }

    /// Creates the results file of a replay. With `overwrite` an existing file is replaced, but
    /// only when [`JsonLines::finish`] is called.
    ///
    /// # Errors
    ///
    /// Fails when the file has content and `overwrite` is not set, or on an I/O error.
    pub fn of_replay(path: &Path, overwrite: bool) -> Result<Self, JsonLinesError> {
        match (Self::check_free(path), overwrite) {
            (Ok(()), _) if path.is_file() => Self::create(path),
            (Ok(()), _) => Self::of(
                path,
                create_folder(path).and_then(|()| {
                    OpenOptions::new().write(true).create(true).truncate(false).open(path)
                }),
                Keys::default(),
            ),
            (Err(_), true) => {
                let aside = Self::create(&beside(path, ".part"))?;
                Ok(Self { becomes: Some(path.to_owned()), ..aside })
            }
            (Err(exists), false) => Err(exists),
        }
    }

    /// Checks that no file with content has this name.
    ///
    /// # Errors
    ///
    /// Fails when there is such a file.
    pub fn check_free(path: &Path) -> Result<(), JsonLinesError> {
        match path.metadata() {
            Ok(found) if found.is_file() && found.len() > 0 => {
                Err(JsonLinesError::Exists(path.to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn of(path: &Path, file: io::Result<File>, held: Keys) -> Result<Self, JsonLinesError> {
        let file = file.map_err(error(path))?;
        lock(path, &file)?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), held, becomes: None })
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a product, if it is a result.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error; the next line may succeed.
    pub fn deliver(&mut self, product: &Product) -> Result<(), JsonLinesError> {
        match product {
            Product::Result(_) => self.line(product.to_json().as_bytes()),
            _ => Ok(()),
        }
    }

    /// Writes one line, unless the file held this result when it was opened.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error; the next line may succeed.
    pub fn line(&mut self, json: &[u8]) -> Result<(), JsonLinesError> {
        if !self.held.is_empty() && key_of(json).is_some_and(|key| self.held.has(&key)) {
            return Ok(());
        }
        let written = self.file.write_all(json).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(error(&self.path))
    }

    /// Hands buffered lines to the operating system.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn flush(&mut self) -> Result<(), JsonLinesError> {
        self.file.flush().map_err(error(&self.path))
    }

    /// Flushes, and gives the file its name.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn finish(mut self) -> Result<(), JsonLinesError> {
        self.flush()?;
        let Some(path) = self.becomes.take() else { return Ok(()) };
        std::fs::rename(&self.path, &path).map_err(error(&path))
    }
}

fn create_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), std::fs::create_dir_all)
}

#[cfg(test)]
mod tests;
