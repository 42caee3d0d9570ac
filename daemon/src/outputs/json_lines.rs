//! Results as JSON lines, one for each result.
//!
//! Programs that follow the file see whole lines: the daemon flushes after each. What a file holds
//! is never removed. After a restart the file of the same session is continued; the file of
//! another session stays as it is, and the results go to a file with an unused name.

mod held;

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use self::held::{Held, key_of};
use super::folder::free_name;
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
}

/// A file of results.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: BufWriter<File>,
    /// Results that the file held when it was opened. They are not written again.
    held: Held,
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
        let file = create_folder(path).and_then(|()| File::create(path));
        Self::of(path, file, Held::default())
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
                Held::default(),
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

    /// Opens the results file of a live session whose recording holds the lines `recorded`.
    ///
    /// A file that holds one of these lines, byte for byte, is of this session: the lines that it
    /// lacks are added at its end. A line that was cut is completed, or stays as a line of its
    /// own. Any other file with content stays as it is, and an unused name is chosen.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn continued(path: &Path, recorded: &[Bytes]) -> Result<Self, JsonLinesError> {
        let io = |source| JsonLinesError::Io { path: path.to_owned(), source };
        create_folder(path).map_err(io)?;
        // A pipe or a terminal holds nothing that could be lost.
        let is_special = path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
        let found = if is_special { None } else { Held::read(path, recorded).map_err(io)? };
        let (path, found) = match found {
            Some(found) if !found.is_of_session => {
                let free = free_name(path);
                tracing::warn!(
                    path = %path.display(), now = %free.display(),
                    "the results file is of another session and stays as it is; results go to a \
                     new file"
                );
                (free, Held::default())
            }
            found => (path.to_owned(), found.unwrap_or_default()),
        };
        let mut options = OpenOptions::new();
        if is_special {
            options.write(true)
        } else {
            options.append(true).create(true)
        };
        let mut lines = Self::of(&path, options.open(&path), found)?;
        if let Some(end) = lines.held.end_of_cut_line.take() {
            let write = lines.file.write_all(&end).and_then(|()| lines.file.write_all(b"\n"));
            write.map_err(|source| JsonLinesError::Io { path: path.clone(), source })?;
        }
        for line in recorded {
            lines.line(line)?;
            lines.held.keys.extend(key_of(line));
        }
        lines.flush()?;
        Ok(lines)
    }

    fn of(path: &Path, file: io::Result<File>, held: Held) -> Result<Self, JsonLinesError> {
        let file = file.map_err(|source| JsonLinesError::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), held, becomes: None })
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
        if !self.held.keys.is_empty() && key_of(json).is_some_and(|key| self.held.has(&key)) {
            return Ok(());
        }
        let written = self.file.write_all(json).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|source| JsonLinesError::Io { path: self.path.clone(), source })
    }

    /// Hands buffered lines to the operating system.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn flush(&mut self) -> Result<(), JsonLinesError> {
        let flushed = self.file.flush();
        flushed.map_err(|source| JsonLinesError::Io { path: self.path.clone(), source })
    }

    /// Flushes, and gives the file its name.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn finish(mut self) -> Result<(), JsonLinesError> {
        self.flush()?;
        let Some(path) = self.becomes.take() else { return Ok(()) };
        std::fs::rename(&self.path, &path)
            .map_err(|source| JsonLinesError::Io { path: path.clone(), source })
    }
}

fn create_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), std::fs::create_dir_all)
}

#[cfg(test)]
mod tests;
