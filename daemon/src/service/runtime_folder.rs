//! The private folder of the daemon's `ipc://` sockets.
//!
//! Every local user can connect to a socket on the loopback. A socket in a folder that only its
//! owner can enter is closed to all other users, without keys.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Permissions of the folder: nothing for its group and for others.
const MODE: u32 = 0o700;

/// Why the folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeFolderError {
    /// It cannot be created or looked at.
    #[error("cannot use the runtime folder {path}: {source}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// Other users can enter it.
    #[error("{path} has mode {found:o}, expected 700: `chmod 700 {path}` closes it to other users")]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        found: u32,
    },
    /// It belongs to another user, who can open it at any time.
    #[error(
        "{path} belongs to user {found}, expected user {expected}; choose another `runtime_dir`"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        found: u32,
        /// The user of this process.
        expected: u32,
    },
    /// It is a file or a link.
    #[error("{0} is not a folder; choose another `runtime_dir`")]
    NotAFolder(PathBuf),
}

/// Creates the folder with mode 700, or checks that an existing one is closed to other users.
///
/// # Errors
///
/// Fails when the folder cannot be created, is open to other users, or belongs to one of them.
pub(super) fn prepare(path: &Path) -> Result<(), RuntimeFolderError> {
    let io = |source| RuntimeFolderError::Io { path: path.to_owned(), source };
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        fs::create_dir_all(above).map_err(io)?;
    }
    match DirBuilder::new().mode(MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(error)),
        _ => {}
    }
    // Not through a link, which its owner could point elsewhere.
    let found = fs::symlink_metadata(path).map_err(io)?;
    if !found.is_dir() {
        return Err(RuntimeFolderError::NotAFolder(path.to_owned()));
    }
    let expected = rustix::process::geteuid().as_raw();
    if found.uid() != expected {
        let (path, found) = (path.to_owned(), found.uid());
        return Err(RuntimeFolderError::Foreign { path, found, expected });
    }
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(RuntimeFolderError::Open { path: path.to_owned(), found: mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_closed_to_other_users_or_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/corticast");
        prepare(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        prepare(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        let message = prepare(&path).unwrap_err().to_string();
        assert!(message.contains("mode 750") && message.contains("chmod 700"), "{message}");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(prepare(&link), Err(RuntimeFolderError::NotAFolder(_))));
    }
}
