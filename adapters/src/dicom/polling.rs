//! Polling of a folder: finds files that are new or have changed, without opening any.
//!
//! A file is reported when size and modification time are the same in two successive polls, and
//! again whenever they differ from what was reported. So a file that was given up is read again
//! once its writer completes it, also on a share that sends no notifications.
//!
//! A folder can hold the 10^5 files of a long session. A poll lists their names and remembers
//! each by a hash. It asks for the size only of new files, of files that changed lately, and of
//! [`OLD_FILES_A_POLL`] others in turn.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs,
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use super::watch::{Pattern, is_hidden};

/// Size and modification time of a file.
pub(super) type Version = (u64, Option<SystemTime>);

/// A file that changed less than this ago is looked at in every poll.
pub(super) const LATELY: Duration = Duration::from_secs(60);
/// Other known files whose size is asked for in one poll.
const OLD_FILES_A_POLL: usize = 256;

/// Size and modification time.
pub(super) fn version(metadata: &fs::Metadata) -> Version {
    (metadata.len(), metadata.modified().ok())
}

/// What is known about a file.
struct Seen {
    version: Version,
    /// When this version was first seen.
    since: Instant,
    /// Whether this version was reported.
    is_reported: bool,
    /// Number of the last poll that found the name.
    in_poll: u32,
}

/// The polling of one folder.
pub(super) struct Polling {
    folder: PathBuf,
    pattern: Pattern,
    /// Whether folders within it are of interest.
    tells_folders: bool,
    /// Random, so that nobody can choose two names with the same hash.
    key: RandomState,
    /// Files by the hash of their name.
    seen: HashMap<u64, Seen>,
    n_poll: u32,
    /// Where the next poll goes on with old files, as a position in the folder's order.
    next_old: usize,
}

impl Polling {
    /// A polling that has reported no file.
    pub(super) fn new(folder: &Path, pattern: Pattern, tells_folders: bool) -> Self {
        Self {
            folder: folder.to_owned(),
            pattern,
            tells_folders,
            key: RandomState::new(),
            seen: HashMap::new(),
            n_poll: 0,
            next_old: 0,
        }
    }

    /// Takes the files that are there as reported, and returns them. Adds the folders to `folders`.
    ///
    /// # Errors
    ///
    /// Fails when the folder cannot be listed.
    pub(super) fn know(
        &mut self,
        folders: &mut Vec<PathBuf>,
    ) -> std::io::Result<Vec<(OsString, Version)>> {
        let now = Instant::now();
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            // A file that is gone, or a link to nothing.
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            if metadata.is_dir() {
                self.tell_folder(&name, folders);
            } else if metadata.is_file() && self.pattern.matches(&name) {
                let version = version(&metadata);
                let seen = Seen { version, since: now, is_reported: true, in_poll: 0 };
                self.seen.insert(self.key.hash_one(name.as_os_str()), seen);
                found.push((name, version));
            }
        }
        Ok(found)
    }

    fn tell_folder(&self, name: &OsStr, folders: &mut Vec<PathBuf>) {
        if self.tells_folders && !is_hidden(name) {
            folders.push(self.folder.join(name));
        }
    }

    /// New and changed files that have not changed since the last poll, in order of their names. Adds
    /// the folders to `folders`.
    ///
    /// # Errors
    ///
    /// Fails when the folder cannot be listed.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        folders: &mut Vec<PathBuf>,
    ) -> std::io::Result<Vec<PathBuf>> {
        self.n_poll = self.n_poll.wrapping_add(1);
        let in_turn = self.next_old..self.next_old + OLD_FILES_A_POLL;
        let mut settled = Vec::new();
        let (mut n_old, mut n_seen) = (0, 0);
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.tell_folder(&name, folders);
                continue;
            }
            if !self.pattern.matches(&name) {
                continue;
            }
            let hash = self.key.hash_one(name.as_os_str());
            if let Some(seen) = self.seen.get_mut(&hash) {
                seen.in_poll = self.n_poll;
                n_seen += 1;
                if seen.is_reported && now.saturating_duration_since(seen.since) > LATELY {
                    n_old += 1;
                    if !in_turn.contains(&(n_old - 1)) {
                        continue;
                    }
                }
            }
            let path = self.folder.join(&name);
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() {
                // A link to a folder.
                self.tell_folder(&name, folders);
                continue;
            }
            let version = version(&metadata);
            match self.seen.get_mut(&hash) {
                Some(seen) if seen.version == version => {
                    if !seen.is_reported {
                        seen.is_reported = true;
                        settled.push(path);
                    }
                }
                _ => {
                    let in_poll = self.n_poll;
                    let seen = Seen { version, since: now, is_reported: false, in_poll };
                    n_seen += usize::from(self.seen.insert(hash, seen).is_none());
                }
            }
        }
        self.next_old = if in_turn.end < n_old { in_turn.end } else { 0 };
        if self.seen.len() > n_seen {
            let n_poll = self.n_poll;
            self.seen.retain(|_, seen| seen.in_poll == n_poll);
        }
        settled.sort();
        Ok(settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polling(folder: &Path) -> Polling {
        Polling::new(folder, Pattern::new("*"), false)
    }

    fn poll(polling: &mut Polling) -> Vec<PathBuf> {
        polling.poll(Instant::now(), &mut Vec::new()).unwrap()
    }

    #[test]
    fn a_file_is_reported_when_two_polls_agree_and_again_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.dcm");
        let mut polling = polling(folder.path());
        fs::write(&path, b"half").unwrap();
        assert!(poll(&mut polling).is_empty(), "seen for the first time");
        fs::write(&path, b"half and half").unwrap();
        assert!(poll(&mut polling).is_empty(), "it grew");
        assert_eq!(poll(&mut polling), std::slice::from_ref(&path));
        assert!(poll(&mut polling).is_empty(), "reported once");

        // Completed after it was given up, with the same size.
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::options().append(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(poll(&mut polling).is_empty(), "changed");
        assert_eq!(poll(&mut polling), std::slice::from_ref(&path));

        fs::remove_file(&path).unwrap();
        assert!(poll(&mut polling).is_empty());
        assert!(polling.seen.is_empty(), "nothing is kept of a file that is gone");
    }

    #[test]
    fn old_files_are_looked_at_in_turn_and_not_all_in_every_poll() {
        let folder = tempfile::tempdir().unwrap();
        let n_file = 2 * OLD_FILES_A_POLL + 10;
        let paths: Vec<_> = (0..n_file).map(|n| folder.path().join(n.to_string())).collect();
        paths.iter().for_each(|path| fs::write(path, b"x").unwrap());
        let mut polling = polling(folder.path());
        drop(poll(&mut polling));
        assert_eq!(poll(&mut polling).len(), n_file);
        // Long after, all of them change at once.
        let later = Instant::now() + 2 * LATELY;
        assert!(polling.poll(later, &mut Vec::new()).unwrap().is_empty());
        paths.iter().for_each(|path| fs::write(path, b"changed").unwrap());
        let n_changed =
            |polling: &Polling| polling.seen.values().filter(|seen| !seen.is_reported).count();
        assert!(polling.poll(later, &mut Vec::new()).unwrap().is_empty());
        assert!(n_changed(&polling) <= OLD_FILES_A_POLL, "{}", n_changed(&polling));
        let reported: usize =
            (0..8).map(|_| polling.poll(later, &mut Vec::new()).unwrap().len()).sum();
        assert_eq!(reported, n_file, "each of them was found");
    }
}
