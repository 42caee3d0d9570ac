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

use corticast_images::pattern::wild;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use notify::{
    EventKind, RecommendedWatcher,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};

use super::{backlog::Found, tree::Tree};

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
        !is_hidden(name) && wild(&self.0, &name.to_string_lossy())
    }
}

/// Whether a file or folder is hidden.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// A watched folder with those below it. Dropping it ends the watching.
#[derive(Debug)]
pub struct Arrivals {
    // Dropped first, so that a thread that waits for space in the queue ends.
    files: Receiver<PathBuf>,
    _stop: Sender<()>,
}

impl Arrivals {
    /// Watches a folder and those below it (`tree`), and polls them every `poll`. Also returns the files
    /// that they hold now: they are reported when they change.
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
        let (appear, appeared) = bounded(1);
        let watcher = notifications(pattern.clone(), sender.clone(), appear)
            .inspect_err(|error| {
                // The error may contain the folder's name, which may contain a patient's name.
                let kind = std::mem::discriminant(&error.kind);
                tracing::warn!(?kind, "no notifications for the folder; polling only");
            })
            .ok();
        let thread = thread::Builder::new().name("dicom-poll".into());
        if !folder.exists() {
            let (folder, pattern) = (folder.to_owned(), pattern.clone());
            thread.spawn(move || {
                if wait_for(&folder, poll, &stopped)
                    && let Some(tree) = new_tree(&folder, &pattern, watcher, &sender)
                {
                    tree.run(poll, &sender, &appeared, &stopped);
                }
            })?;
            return Ok((Self { files, _stop: stop }, Vec::new()));
        }
        let (tree, found) = Tree::open(folder, pattern, watcher)?;
        tracing::info!(folders = tree.n_folder(), "folders watched");
        thread.spawn(move || tree.run(poll, &sender, &appeared, &stopped))?;
        Ok((Self { files, _stop: stop }, found))
    }

    /// The queue of files to read.
    #[must_use]
    pub fn files(&self) -> &Receiver<PathBuf> {
        &self.files
    }
}

/// Waits until the folder is there; `false` when the adapter is gone.
fn wait_for(folder: &Path, poll: Duration, stopped: &Receiver<()>) -> bool {
    while !folder.is_dir() {
        if stopped.recv_timeout(poll) != Err(RecvTimeoutError::Timeout) {
            return false;
        }
    }
    tracing::info!("the folder is there now");
    true
}

/// The tree of a folder that appeared, whose files are all new.
fn new_tree(
    folder: &Path,
    pattern: &Pattern,
    watcher: Option<RecommendedWatcher>,
    sender: &Sender<PathBuf>,
) -> Option<Tree> {
    let (tree, found) = Tree::open(folder, pattern, watcher)
        .inspect_err(|error| tracing::error!(kind = ?error.kind(), "cannot read the folder"))
        .ok()?;
    for file in found {
        sender.send(folder.join(file.name)).ok()?;
    }
    Some(tree)
}

/// The notifications, of folders that are added later. `appear` is told of folders.
fn notifications(
    pattern: Pattern,
    sender: Sender<PathBuf>,
    appear: Sender<()>,
) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let is_complete = matches!(
            event.kind,
            EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(RenameMode::To))
        );
        let is_moved = matches!(event.kind, EventKind::Modify(ModifyKind::Name(RenameMode::To)));
        let is_new = matches!(event.kind, EventKind::Create(CreateKind::Folder));
        if is_new || is_moved && event.paths.iter().any(|path| path.is_dir()) {
            // One waiting message is enough: all folders are looked at.
            appear.try_send(()).ok();
        }
        if !is_complete {
            return;
        }
        for path in event.paths {
            if path.file_name().is_some_and(|name| pattern.matches(name))
                && sender.send(path).is_err()
            {
                return; // the adapter is gone
            }
        }
    })
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
