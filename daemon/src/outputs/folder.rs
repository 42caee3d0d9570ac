//! A folder that an output fills: new when the output starts, whole whenever somebody looks.
//!
//! What is there already would be taken for a part of the session, so a folder with something
//! in it is refused. What is being written lies aside under a name that ends in `.part`, and
//! gets its own name once it is whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Why something cannot be written into a folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// What is there already would be taken for a part of this.
    #[error("{path} is there and not empty; {what} go into a new folder")]
    NotEmpty {
        /// What was to be written.
        what: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// The disk does not take it.
    #[error("cannot write {what} to {path}: {source}")]
    Io {
        /// What was to be written.
        what: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
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
    /// Fails when it is there with something in it, or when the disk does.
    pub(super) fn create(what: &'static str, path: &Path) -> Result<Self, FolderError> {
        let io = |source| FolderError::Io { what, path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(io)?;
        if fs::read_dir(path).map_err(io)?.next().is_some() {
            return Err(FolderError::NotEmpty { what, path: path.to_owned() });
        }
        Ok(Self { what, path: path.to_owned() })
    }

    /// Writes a file `<run>/<name>`.
    ///
    /// # Errors
    ///
    /// Fails when the disk does; the next may succeed.
    pub(super) fn write(&self, run: &str, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        self.aside(run, name, |aside| fs::write(aside, bytes))
    }

    /// Writes a folder `<run>/<name>` of files, each a name and its bytes, over an older one.
    ///
    /// # Errors
    ///
    /// Fails when the disk does; the next may succeed.
    pub(super) fn write_all(
        &self,
        run: &str,
        name: &str,
        files: &[(String, Vec<u8>)],
    ) -> Result<(), FolderError> {
        self.aside(run, name, |aside| {
            // Left by a disk that was full.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_not_written_into() {
        let folder = tempfile::tempdir().unwrap();
        NewFolder::create("clips", &folder.path().join("a/b")).unwrap();
        let message = NewFolder::create("clips", folder.path()).unwrap_err().to_string();
        assert!(message.contains("not empty; clips go into a new folder"), "{message}");
    }

    #[test]
    fn what_was_written_has_its_own_name_and_nothing_lies_aside() {
        let folder = tempfile::tempdir().unwrap();
        let new = NewFolder::create("clips", folder.path()).unwrap();
        let file = |name: &str| (name.to_owned(), vec![1]);
        new.write_all("run-1", "000007", &[file("00.png"), file("01.png")]).unwrap();
        // The same volume again: what it was made of now is there, and only that.
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
        // Where the run's folder should be lies a file.
        fs::write(folder.path().join("run-1"), []).unwrap();
        let message = new.write("run-1", "000007.webp", &[1]).unwrap_err().to_string();
        assert!(message.contains("cannot write clips to"), "{message}");
        assert!(message.contains("run-1/000007.webp"), "{message}");
    }
}
