//! What an adapter remembers of a session: the salt with which it hashes the series before it
//! sends them, and the order in which it met them.
//!
//! A hash of a series UID alone is a lasting pseudonym: a reader with the list of UIDs of an archive
//! can hash each of them and find the patient. So every `series_id` is hashed with a random salt, which is
//! never sent.
//!
//! ```text
//! FOLDER/<hash of source and labels>.session    mode 0600
//!     32 random bytes: the salt
//!      8 bytes for each series that became a run, in order: its salted hash
//! ```
//!
//! An adapter that is restarted, also after it was killed, finds the salt and the series in this
//! file. So it announces its run under the same name and id, and the daemon continues the run.
//! Another session has another file. While an adapter runs it keeps its file fresh. A file that
//! was not used for [`UNUSED_AFTER`] belongs to a session that is over, and the next adapter
//! removes it: nobody can then find out which series an id was made of.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// The state that no adapter used for this long belongs to a session that is over.
pub const UNUSED_AFTER: Duration = Duration::from_secs(12 * 3600);
/// How often a running adapter keeps its state from ageing.
pub const KEEP_FRESH: Duration = Duration::from_secs(600);

const SALT_BYTES: usize = 32;
/// Bytes of the salted hash of a series.
const HASH_BYTES: usize = 8;
const EXTENSION: &str = "session";
/// Most series of a session; only a folder that is no export has more.
const MAX_SERIES: usize = 10_000;
/// Largest file that is read.
const MAX_BYTES: u64 = (SALT_BYTES + HASH_BYTES * MAX_SERIES) as u64;
/// Owner only.
const FILE_MODE: u32 = 0o600;
/// Owner only.
const FOLDER_MODE: u32 = 0o700;

/// The state of a session. Its salt is never printed.
#[derive(Clone)]
pub struct SessionState {
    salt: [u8; SALT_BYTES],
    /// Salted hashes of the series, in the order in which they became runs.
    series: Arc<Mutex<Vec<u64>>>,
    /// `None` for a state that is lost when the adapter ends.
    file: Option<Arc<File>>,
}

/// What a state belongs to. None of it is sent or written.
#[derive(Clone, Copy, Debug)]
pub struct SessionKey<'a> {
    /// Kind of source, e.g. `dicom`.
    pub kind: &'a str,
    /// The folder or file that the volumes come from.
    pub place: &'a Path,
    /// `--session`, `--sub`, `--ses` and what else tells two adapters of this place apart.
    pub labels: [&'a str; 6],
}

impl SessionState {
    /// A state that is lost when the adapter ends.
    ///
    /// # Errors
    ///
    /// Fails when the system gives no random bytes.
    pub fn lost_at_exit() -> io::Result<Self> {
        Ok(Self { salt: random()?, series: Arc::default(), file: None })
    }

    /// The session's state from `folder`; makes the folder and the state if they do not exist.
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
                    let mut bytes = Vec::new();
                    (&mut file).take(MAX_BYTES).read_to_end(&mut bytes)?;
                    if let Some((salt, series)) = bytes.split_first_chunk::<SALT_BYTES>() {
                        // A last hash that a crash cut short is overwritten.
                        let series = series.as_chunks().0.iter().copied().map(u64::from_be_bytes);
                        let series = Arc::new(Mutex::new(series.collect()));
                        let state = Self { salt: *salt, series, file: Some(file.into()) };
                        state.keep_fresh()?;
                        return Ok(state);
                    }
                    // Without its salt the session's series get new ids.
                    fs::remove_file(&path)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            create(folder, &path)?;
        }
        Err(io::Error::other("the file of the session's state is removed again and again"))
    }

    /// Keeps the state from ageing. Called every [`KEEP_FRESH`].
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
        format!("{:016x}", self.hash(series))
    }

    /// Number of series that became runs of this session before this one. A restarted adapter
    /// gets the same number for the same series.
    #[must_use]
    pub fn number_of(&self, series: &str) -> u64 {
        let hash = self.hash(series);
        let mut known = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.iter().position(|other| *other == hash) {
            return number as u64;
        }
        let number = known.len();
        if number < MAX_SERIES {
            known.push(hash);
            let at = SALT_BYTES + HASH_BYTES * number;
            let written = self.file.as_ref().map_or(Ok(()), |file| {
                file.write_all_at(&hash.to_be_bytes(), at as u64)?;
                file.sync_data()
            });
            if let Err(error) = written {
                tracing::warn!(
                    %error,
                    "cannot remember the series: a restarted adapter will begin a new run"
                );
            }
        }
        number as u64
    }

    fn hash(&self, series: &str) -> u64 {
        let digest = blake3::keyed_hash(&self.salt, series.as_bytes());
        let (first, _) = digest.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        u64::from_be_bytes(*first)
    }
}

impl std::fmt::Debug for SessionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionState").finish_non_exhaustive()
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

/// Writes a new salt whole, so that no other adapter reads a part of it. Keeps a file that exists.
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

/// Removes the state of sessions that are over.
fn remove_unused(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_state = path.extension().is_some_and(|extension| extension == EXTENSION);
        let modified = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if is_state && age.is_some_and(|age| age > UNUSED_AFTER) {
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
        SessionKey { kind: "dicom", place, labels: [session, "01", "", "", "", ""] }
    }

    #[test]
    fn a_session_has_one_salt_and_another_session_another() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("made/when/needed");
        let id = |session| {
            let salt = SessionState::of_session(&state, key(folder.path(), session)).unwrap();
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
        let elsewhere = SessionState::of_session(&state, key(other.path(), "a")).unwrap();
        assert_ne!(elsewhere.series_id("1.2.3"), id("a"));
    }

    #[test]
    fn a_salt_that_is_not_used_any_more_is_removed_and_a_damaged_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let open =
            |session| SessionState::of_session(folder.path(), key(folder.path(), session)).unwrap();
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
    fn a_series_keeps_its_number_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let open = || SessionState::of_session(folder.path(), key(folder.path(), "a")).unwrap();
        let first = open();
        assert_eq!(["x", "y", "x"].map(|series| first.number_of(series)), [0, 1, 0]);
        // A crash cut the last hash short.
        assert_eq!(first.number_of("z"), 2);
        let file = first.file.as_ref().unwrap();
        file.set_len(file.metadata().unwrap().len() - 3).unwrap();
        let second = open();
        assert_eq!(["y", "x", "w"].map(|series| second.number_of(series)), [1, 0, 2]);
        assert_eq!(["w", "x"].map(|series| open().number_of(series)), [2, 0]);
    }

    #[test]
    fn a_salt_is_never_printed() {
        let salt = SessionState::lost_at_exit().unwrap();
        assert_eq!(format!("{salt:?}"), "SessionState { .. }");
    }
}
