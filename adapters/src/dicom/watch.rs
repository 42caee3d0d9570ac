//! Reports files in a folder as soon as they may be complete.
//!
//! Two mechanisms are used, because each misses files that the other finds:
//!
//! - the kernel's notifications report at once that a file was closed after writing or renamed
//!   into place, but do not report files that *another host* wrote to a network share;
//! - polling every few hundred milliseconds finds every file, but cannot tell whether the writer
//!   is done: some copies reserve the whole size first. So it reports a file only when size and
//!   modification time are the same in two successive polls (`polling`).
//!
//! The creation of a file is ignored, because the file is still empty. Both mechanisms write to one
//! bounded queue. When the queue is full they wait; the kernel's own queue holds further
//! notifications.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};

use super::{
    backlog::{self, Found},
    polling::Polling,
};

/// Capacity of the queue of files to read. When it is full, the watching threads wait.
const QUEUE_FILES: usize = 1024;

/// Selects files in a folder by name.
#[derive(Clone, Debug)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern with `*` for any text and `?` for any one character.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// Whether a file of this name is selected. Hidden names never are, because tools that rename
    /// files into place write them under hidden names first.
    #[must_use]
    pub fn matches(&self, name: &OsStr) -> bool {
        let name = name.to_string_lossy();
        !name.starts_with('.') && wild(self.0.as_bytes(), name.as_bytes())
    }
}

/// Wildcard match that goes back to the last `*` only, so it takes at most n·m steps.
fn wild(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match back {
                Some((star, at)) => {
                    back = Some((star, at + 1));
                    (p, n) = (star + 1, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

/// A watched folder. Dropping it ends the watching.
#[derive(Debug)]
pub struct Arrivals {
    // Dropped first, so that a thread that waits for space in the queue ends.
    files: Receiver<PathBuf>,
    _stop: Sender<()>,
    _watcher: Option<RecommendedWatcher>,
}

impl Arrivals {
    /// Watches a folder, and polls it every `poll`. Also returns the files that are in the folder
    /// now: they are reported when they change.
    ///
    /// # Errors
    ///
    /// Fails when the folder cannot be read or no thread can be started. If notifications are
    /// unavailable, the folder is only polled, and a warning is logged.
    pub(super) fn watch(
        folder: &Path,
        pattern: &Pattern,
        poll: Duration,
    ) -> std::io::Result<(Self, Vec<Found>)> {
        let (sender, files) = bounded(QUEUE_FILES);
        let (stop, stopped) = bounded(0);
        if !folder.exists() {
            let (folder, pattern) = (folder.to_owned(), pattern.clone());
            thread::Builder::new()
                .name("dicom-poll".into())
                .spawn(move || wait_for(&folder, &pattern, poll, &sender, &stopped))?;
            return Ok((Self { files, _stop: stop, _watcher: None }, Vec::new()));
        }
        let watcher = notifications_or_none(folder, pattern, &sender);
        // Listed after the notifications began, or files that arrive in between are noticed late.
        let found = backlog::list(folder, pattern)?;
        let known = found.iter().map(|file| (file.name.as_os_str(), file.version));
        let polling = Polling::new(folder, pattern.clone(), known);
        thread::Builder::new()
            .name("dicom-poll".into())
            .spawn(move || polling.run(poll, &sender, &stopped))?;
        Ok((Self { files, _stop: stop, _watcher: watcher }, found))
    }

    /// The queue of files to read.
    #[must_use]
    pub fn files(&self) -> &Receiver<PathBuf> {
        &self.files
    }
}

/// Waits until the folder is there, then watches it. All its files are new.
fn wait_for(
    folder: &Path,
    pattern: &Pattern,
    poll: Duration,
    sender: &Sender<PathBuf>,
    stopped: &Receiver<()>,
) {
    while !folder.is_dir() {
        if stopped.recv_timeout(poll) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
    tracing::info!("the folder is there now");
    let _watcher = notifications_or_none(folder, pattern, sender);
    Polling::new(folder, pattern.clone(), []).run(poll, sender, stopped);
}

/// The folder's notifications; without them it is only polled.
fn notifications_or_none(
    folder: &Path,
    pattern: &Pattern,
    sender: &Sender<PathBuf>,
) -> Option<RecommendedWatcher> {
    notifications(folder, pattern.clone(), sender.clone())
        .inspect_err(|error| {
            // The error may contain the folder's name, which may contain a patient's name.
            let kind = std::mem::discriminant(&error.kind);
            tracing::warn!(?kind, "no notifications for the folder; polling only");
        })
        .ok()
}

fn notifications(
    folder: &Path,
    pattern: Pattern,
    sender: Sender<PathBuf>,
) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let complete = matches!(
            event.kind,
            EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(RenameMode::To))
        );
        if !complete {
            return;
        }
        for path in event.paths {
            if path.file_name().is_some_and(|name| pattern.matches(name))
                && sender.send(path).is_err()
            {
                return; // the adapter is gone
            }
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_names_and_never_hidden_ones() {
        let matches = |pattern: &str, name: &str| Pattern::new(pattern).matches(OsStr::new(name));
        assert!(matches("*.dcm", "001_000013_000005.dcm"));
        assert!(matches("001_*_00000?.dcm", "001_000013_000005.dcm"));
        assert!(matches("*", "anything.IMA"));
        assert!(!matches("*.dcm", "001.dcm.part"));
        assert!(!matches("*", ".001_000013_000005.dcm.x7"));
    }
}
