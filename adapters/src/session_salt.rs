//! The salt with which a session's series are hashed before they are sent.
//!
//! A hash of a series UID alone is a lasting pseudonym: whoever has the list of UIDs of an archive
//! finds the patient by hashing each. So every `series_id` is hashed with a random salt, which is
//! never sent.
//!
//! ```text
//! FOLDER/<hash of source, --session, --sub, --ses>.salt    32 random bytes, mode 0600
//! ```
//!
//! An adapter that is restarted, also after it was killed, finds the salt in this file, so it
//! announces its run under the same id and the daemon continues the run. Another session has
//! another file. While an adapter runs it keeps its file fresh. A file that was not used for
//! [`UNUSED_AFTER`] belongs to a session that is over, and the next adapter removes it: nobody can
//! then find out which series an id was made of.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A salt that no adapter used for this long belongs to a session that is over.
pub const UNUSED_AFTER: Duration = Duration::from_secs(12 * 3600);
/// How often a running adapter keeps its salt from ageing.
pub const KEEP_FRESH: Duration = Duration::from_secs(600);

const SALT_BYTES: usize = 32;
const EXTENSION: &str = "salt";
/// Owner only.
const FILE_MODE: u32 = 0o600;
/// Owner only.
const FOLDER_MODE: u32 = 0o700;

/// The salt of a session. Its value is never printed.
#[derive(Clone)]
pub struct SessionSalt {
    salt: [u8; SALT_BYTES],
    /// `None` for a salt that is lost when the adapter ends.
    file: Option<Arc<File>>,
}

/// What a salt belongs to. None of it is sent or written.
#[derive(Clone, Copy, Debug)]
pub struct SessionKey<'a> {
    /// Kind of source, e.g. `dicom`.
    pub kind: &'a str,
    /// The folder or file that the volumes come from.
    pub place: &'a Path,
    /// `--session`, `--sub` and `--ses`.
    pub labels: [&'a str; 3],
}

impl SessionSalt {
    /// A salt that is lost when the adapter ends.
    ///
    /// # Errors
    ///
    /// Fails when the system gives no random bytes.
    pub fn lost_at_exit() -> io::Result<Self> {
        Ok(Self { salt: random()?, file: None })
    }

    /// The session's salt from `folder`; makes the folder and the salt if they do not exist.
    ///
    /// # Errors
    ///
    /// Fails when the folder or the file cannot be read or written.
    pub fn of_session(folder: &Path, key: SessionKey<'_>) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        remove_unused(folder)?;
        let path = folder.join(key.file_name());
        // Another adapter may create or remove the file at the same moment.
        for _ in 0..8 {
            match File::options().read(true).write(true).open(&path) {
                Ok(mut file) => {
                    let mut salt = [0; SALT_BYTES];
                    if file.read_exact(&mut salt).is_ok() {
                        let salt = Self { salt, file: Some(file.into()) };
                        salt.keep_fresh()?;
                        return Ok(salt);
                    }
                    // Not a salt. Without it the session's series get new ids.
                    fs::remove_file(&path)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            create(folder, &path)?;
        }
        Err(io::Error::other("the file of the session's salt is removed again and again"))
    }

    /// Keeps the salt from ageing. Called every [`KEEP_FRESH`].
    ///
    /// # Errors
    ///
    /// Fails when the modification time of the file cannot be set.
    pub fn keep_fresh(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.set_modified(SystemTime::now()))
    }

    /// The id under which a series is sent: 16 hex digits.
    #[must_use]
    pub fn series_id(&self, series: &str) -> String {
        blake3::keyed_hash(&self.salt, series.as_bytes()).to_hex()[..16].to_owned()
    }
}

impl std::fmt::Debug for SessionSalt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionSalt").finish_non_exhaustive()
    }
}

impl SessionKey<'_> {
    /// The hash of all parts, each with its length, so that no two sessions share a name.
    fn file_name(&self) -> String {
        let place = fs::canonicalize(self.place);
        let place = place.as_deref().unwrap_or(self.place).as_os_str().as_encoded_bytes();
        let labels = self.labels.map(str::as_bytes);
        let mut hash = blake3::Hasher::new();
        for part in [self.kind.as_bytes(), place].into_iter().chain(labels) {
            hash.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        format!("{}.{EXTENSION}", &hash.finalize().to_hex()[..32])
    }
}

/// The folder for the state of adapters: that of the service, else that of the user.
#[must_use]
pub fn default_folder() -> Option<PathBuf> {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let of_user = || path("XDG_STATE_HOME").or_else(|| Some(path("HOME")?.join(".local/state")));
    path("STATE_DIRECTORY").or_else(|| Some(of_user()?.join("corticast-adapter")))
}

/// Writes a new salt whole, so that no adapter reads a part of it. Keeps a file that exists.
fn create(folder: &Path, path: &Path) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    file.write_all(&random()?)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

/// Removes the salts of sessions that are over.
fn remove_unused(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_salt = path.extension().is_some_and(|extension| extension == EXTENSION);
        let modified = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if is_salt && age.is_some_and(|age| age > UNUSED_AFTER) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn random() -> io::Result<[u8; SALT_BYTES]> {
    let mut bytes = [0; SALT_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(place: &'a Path, session: &'a str) -> SessionKey<'a> {
        SessionKey { kind: "dicom", place, labels: [session, "01", ""] }
    }

    #[test]
    fn a_session_has_one_salt_and_another_session_another() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("made/when/needed");
        let id = |session| {
            let salt = SessionSalt::of_session(&state, key(folder.path(), session)).unwrap();
            salt.series_id("1.2.3")
        };
        assert_eq!(id("a"), id("a"));
        assert_ne!(id("a"), id("b"));
        assert_eq!(id("a").len(), 16);
        assert_ne!(id("a"), blake3::hash(b"1.2.3").to_hex()[..16]);
        for entry in fs::read_dir(&state).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, FILE_MODE);
        }
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, FOLDER_MODE);
        let other = tempfile::tempdir().unwrap();
        let elsewhere = SessionSalt::of_session(&state, key(other.path(), "a")).unwrap();
        assert_ne!(elsewhere.series_id("1.2.3"), id("a"));
    }

    #[test]
    fn a_salt_that_is_not_used_any_more_is_removed_and_a_damaged_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let open =
            |session| SessionSalt::of_session(folder.path(), key(folder.path(), session)).unwrap();
        let first = open("a");
        let old = SystemTime::now() - UNUSED_AFTER - Duration::from_secs(60);
        first.file.as_ref().unwrap().set_modified(old).unwrap();
        assert_ne!(open("a").series_id("x"), first.series_id("x"), "a later visit");

        let kept = open("a");
        let path = folder.path().join(key(folder.path(), "a").file_name());
        fs::write(&path, b"short").unwrap();
        assert_ne!(open("a").series_id("x"), kept.series_id("x"));
        assert_eq!(fs::read(path).unwrap().len(), SALT_BYTES);
    }

    #[test]
    fn a_salt_is_never_printed() {
        let salt = SessionSalt::lost_at_exit().unwrap();
        assert_eq!(format!("{salt:?}"), "SessionSalt { .. }");
    }
}
