//! The private folder for images that wait to be read. Nothing in it outlives the session.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// A folder of this name holds images.
const PREFIX: &str = "corticast-store-";
/// A file is read at once. This long after it arrived it is removed.
const KEEP: Duration = Duration::from_secs(120);
/// Interval at which files that were read are removed.
const SWEEP: Duration = Duration::from_secs(10);
/// Bytes of images that wait; more are refused.
const MAX_BYTES: u64 = 2 << 30;
/// A sender that is in the middle of an image can add a file while the folder is removed.
const REMOVALS: u32 = 100;
/// Owner only.
const FOLDER_MODE: u32 = 0o700;

/// A private folder, removed when this is dropped.
#[derive(Debug)]
pub struct Spool {
    folder: Arc<TempDir>,
    shared: Shared,
}

/// What those who write into the folder share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    path: PathBuf,
    number: Arc<AtomicU64>,
    bytes: Arc<Mutex<u64>>,
    /// The folder is being removed.
    is_closed: Arc<AtomicBool>,
}

impl Spool {
    /// Makes the folder within `parent`, and removes those that killed adapters left there.
    ///
    /// # Errors
    ///
    /// Fails when the folder cannot be made.
    pub fn new(parent: &Path) -> io::Result<Self> {
        remove_left(parent)?;
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).permissions(fs::Permissions::from_mode(FOLDER_MODE));
        let folder = Arc::new(builder.tempdir_in(parent)?);
        let shared = Shared {
            path: folder.path().to_owned(),
            number: Arc::default(),
            bytes: Arc::default(),
            is_closed: Arc::default(),
        };
        let (watched, sweeper) = (Arc::downgrade(&folder), shared.clone());
        thread::Builder::new().name("store-sweep".into()).spawn(move || {
            while watched.strong_count() > 0 {
                sweeper.sweep();
                thread::park_timeout(SWEEP);
            }
        })?;
        Ok(Self { folder, shared })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn shared(&self) -> Shared {
        self.shared.clone()
    }
}

/// Removes the folder, although a sender may be in the middle of an image.
impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::Release);
        for _ in 0..REMOVALS {
            match fs::remove_dir_all(&self.shared.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => thread::yield_now(),
                _ => return,
            }
        }
        tracing::error!("the folder with images that wait could not be removed");
    }
}

impl Shared {
    /// Begins a file; hidden until it is whole.
    pub(super) fn begin(&self, start: &[u8]) -> io::Result<Incoming> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(io::Error::other("the adapter is ending"));
        }
        if *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) > MAX_BYTES {
            return Err(io::Error::other("more than 2 GiB of images wait to be read"));
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let hidden = self.path.join(format!(".{number:08}.part"));
        let mut file = File::create_new(&hidden)?;
        let incoming = Incoming {
            hidden,
            whole: self.path.join(format!("{number:08}.dcm")),
            n_bytes: start.len() as u64,
            bytes: Arc::clone(&self.bytes),
        };
        file.write_all(start)?;
        Ok(incoming)
    }

    /// Removes files that were read, and counts the others.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        let mut left = 0;
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
            if age.is_some_and(|age| age > KEEP) {
                fs::remove_file(entry.path()).ok();
            } else {
                left += metadata.len();
            }
        }
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }
}

/// A file that is arriving. It is removed unless it becomes whole.
#[derive(Debug)]
pub(super) struct Incoming {
    hidden: PathBuf,
    whole: PathBuf,
    n_bytes: u64,
    bytes: Arc<Mutex<u64>>,
}

impl Incoming {
    /// Adds bytes, up to `most` in all.
    pub(super) fn add(&mut self, bytes: &[u8], most: u64) -> io::Result<()> {
        self.n_bytes += bytes.len() as u64;
        if self.n_bytes > most {
            return Err(io::Error::other(format!("an image of more than {} MiB", most >> 20)));
        }
        File::options().append(true).open(&self.hidden)?.write_all(bytes)
    }

    /// The file is whole.
    pub(super) fn finish(self) -> io::Result<()> {
        fs::rename(&self.hidden, &self.whole)?;
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) += self.n_bytes;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        fs::remove_file(&self.hidden).ok();
    }
}

/// Removes the folders of adapters that are gone.
fn remove_left(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)?.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        let Some(owner) = owner.and_then(|owner| owner.parse::<u32>().ok()) else { continue };
        if !Path::new(&format!("/proc/{owner}")).exists() {
            tracing::warn!("images that a killed adapter left are removed");
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_behind() {
        let parent = tempfile::tempdir().unwrap();
        // No process has this number.
        let left = parent.path().join(format!("{PREFIX}4294967295-x"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("1.dcm"), "x").unwrap();
        let spool = Spool::new(parent.path()).unwrap();
        assert!(!left.exists());
        let mode = fs::metadata(spool.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let shared = spool.shared();
        let mut whole = shared.begin(b"ab").unwrap();
        whole.add(b"cd", 100).unwrap();
        whole.finish().unwrap();
        let mut cut = shared.begin(b"ab").unwrap();
        assert!(cut.add(&[0; 100], 100).is_err());
        drop(cut);
        let files: Vec<_> = fs::read_dir(spool.path()).unwrap().flatten().collect();
        assert_eq!(files.len(), 1);
        assert_eq!(fs::read(files[0].path()).unwrap(), b"abcd");
        drop(spool);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
