//! A folder that an output fills: empty at the start, and without partial entries at any time.
//!
//! Files from before would be mistaken for a part of the session, so a folder that is not empty
//! is refused. A file or folder is written under a name that ends in `.part`, and gets its final
//! name once it is complete.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Why an output cannot write into its folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Existing files would be mistaken for a part of the session.
    #[error("{path} already exists and is not empty; choose a new folder for {what}")]
    NotEmpty {
        /// Kind of content, a plural.
        what: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// Writing failed.
    #[error("cannot write {what} to {path}: {source}")]
    Io {
        /// Kind of content, a plural.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
}

/// Checks that a folder for `what`, a plural, is empty or does not exist.
///
/// # Errors
///
/// Fails when it is not empty, or not a folder.
pub fn check_empty(what: &'static str, path: &Path) -> Result<(), FolderError> {
    let io = |source| FolderError::Io { what, path: path.to_owned(), source };
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(FolderError::NotEmpty { what, path: path.to_owned() }),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io(error)),
    }
}

/// A folder that was empty when the output started.
#[derive(Debug)]
pub(super) struct NewFolder {
    what: &'static str,
    path: PathBuf,
}

impl NewFolder {
    /// Creates the folder for `what`, a plural.
    ///
    /// # Errors
    ///
    /// Fails when the folder exists and is not empty, or on an I/O error.
    pub(super) fn create(what: &'static str, path: &Path) -> Result<Self, FolderError> {
        check_empty(what, path)?;
        let io = |source| FolderError::Io { what, path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(io)?;
        Ok(Self { what, path: path.to_owned() })
    }

    /// Writes a file `<run>/<name>`.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error; the next call may succeed.
    pub(super) fn write(&self, run: &str, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        self.aside(run, name, |aside| fs::write(aside, bytes))
    }

    /// Writes a folder `<run>/<name>` of files, each a name and its bytes. Replaces an older one.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error; the next call may succeed.
    pub(super) fn write_all(
        &self,
        run: &str,
        name: &str,
        files: &[(String, Vec<u8>)],
    ) -> Result<(), FolderError> {
        self.aside(run, name, |aside| {
            // A full disk may have left a partial folder.
            remove(aside)?;
            fs::create_dir(aside)?;
            files.iter().try_for_each(|(name, bytes)| fs::write(aside.join(name), bytes))?;
            remove(&aside.with_extension(""))
        })
    }

    fn aside(
        &self,
        run: &str,
        name: &str,
        write: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), FolderError> {
        let folder = self.path.join(run);
        let path = folder.join(name);
        let aside = path.with_extension("part");
        fs::create_dir_all(&folder)
            .and_then(|()| write(&aside))
            .and_then(|()| fs::rename(&aside, &path))
            .map_err(|source| FolderError::Io { what: self.what, path, source })
    }
}

/// Removes a folder, if it is there.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The name, or the first of `name-2`, `name-3` and so on that does not exist.
pub(crate) fn free_name(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy()));
    let numbered =
        |n| path.with_file_name(format!("{stem}-{n}{}", extension.as_deref().unwrap_or_default()));
    let names = std::iter::once(path.to_owned()).chain((2_u32..).map(numbered));
    let free = names.into_iter().find(|name| !name.exists());
    free.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_not_written_into() {
        let folder = tempfile::tempdir().unwrap();
        NewFolder::create("clips", &folder.path().join("a/b")).unwrap();
        let message = NewFolder::create("clips", folder.path()).unwrap_err().to_string();
        assert!(message.contains("not empty; choose a new folder for clips"), "{message}");
    }

    #[test]
    fn written_entries_have_their_final_names_and_no_part_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let new = NewFolder::create("clips", folder.path()).unwrap();
        let file = |name: &str| (name.to_owned(), vec![1]);
        new.write_all("run-1", "000007", &[file("00.png"), file("01.png")]).unwrap();
        // The same volume again: only the new files are there.
        new.write_all("run-1", "000007", &[file("00.png")]).unwrap();
        new.write("run-1", "000007.webp", &[2]).unwrap();
        new.write("run-1", "000007.webp", &[3]).unwrap();
        let names = |path: &Path| {
            let entries = fs::read_dir(path).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&folder.path().join("run-1")), ["000007", "000007.webp"]);
        assert_eq!(names(&folder.path().join("run-1/000007")), ["00.png"]);
        assert_eq!(fs::read(folder.path().join("run-1/000007.webp")).unwrap(), [3]);
    }

    #[test]
    fn a_disk_that_fails_is_named_with_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let new = NewFolder::create("clips", folder.path()).unwrap();
        // A file takes the place of the run's folder.
        fs::write(folder.path().join("run-1"), []).unwrap();
        let message = new.write("run-1", "000007.webp", &[1]).unwrap_err().to_string();
        assert!(message.contains("cannot write clips to"), "{message}");
        assert!(message.contains("run-1/000007.webp"), "{message}");
    }

    #[test]
    fn a_name_that_is_taken_is_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let film = folder.path().join("film.mp4");
        assert_eq!(free_name(&film), film);
        std::fs::write(&film, "").unwrap();
        std::fs::write(folder.path().join("film-2.mp4"), "").unwrap();
        assert_eq!(free_name(&film), folder.path().join("film-3.mp4"));
        let pictures = folder.path().join("webp");
        std::fs::create_dir(&pictures).unwrap();
        assert_eq!(free_name(&pictures), folder.path().join("webp-2"));
    }
}
