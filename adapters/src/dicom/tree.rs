//! The watched folder and the folders below it, down to [`MAX_DEPTH`] levels: consoles make a folder
//! for each visit, and within it one for each series.
//!
//! A folder that appears is watched from then on, and named in the log by a hash. The folder itself is
//! listed in every poll; one below it when its time of modification has changed, for a minute after
//! that, and otherwise in turn. So the folders of past sessions cost little.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use crossbeam::channel::{Receiver, Sender};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{
    backlog::Found,
    file_name::hashed,
    polling::{LATELY, Polling},
    watch::Pattern,
};

/// Levels of folders below the watched one.
pub(super) const MAX_DEPTH: usize = 2;
/// Most folders for which notifications are asked for; others are only polled.
const MAX_NOTIFIED: usize = 1024;
/// Most folders that are looked into.
const MAX_FOLDERS: usize = 20_000;
/// Folders without a change that are listed in one poll.
const OLD_FOLDERS_A_POLL: usize = 16;
/// The pause between two polls is at least this many times as long as a poll takes.
const PAUSE_FACTOR: u32 = 4;

/// A folder of the tree.
struct Node {
    path: PathBuf,
    depth: usize,
    modified: Option<SystemTime>,
    /// When it last changed, as far as it was seen.
    changed: Instant,
    polling: Polling,
}

/// See the module docs.
pub(super) struct Tree {
    pattern: Pattern,
    nodes: Vec<Node>,
    watcher: Option<RecommendedWatcher>,
    n_notified: usize,
    next_old: usize,
    is_told_of_limit: bool,
}

impl Tree {
    /// The tree below `root`. Returns also the files that it holds now, which are reported when they
    /// change. Notifications begin before the files are listed, so none is missed in between.
    ///
    /// # Errors
    ///
    /// Fails when `root` cannot be read.
    pub(super) fn open(
        root: &Path,
        pattern: &Pattern,
        watcher: Option<RecommendedWatcher>,
    ) -> io::Result<(Self, Vec<Found>)> {
        let mut tree = Self {
            pattern: pattern.clone(),
            nodes: Vec::new(),
            watcher,
            n_notified: 0,
            next_old: 0,
            is_told_of_limit: false,
        };
        let now = Instant::now();
        tree.add(root.to_owned(), 0, now);
        let mut found = Vec::new();
        let mut at = 0;
        while at < tree.nodes.len() {
            let node = &mut tree.nodes[at];
            let (depth, path) = (node.depth, node.path.clone());
            let mut folders = Vec::new();
            match node.polling.know(&mut folders) {
                Ok(files) => found.extend(files.into_iter().map(|(name, version)| {
                    let below = path.strip_prefix(root).unwrap_or(Path::new(""));
                    Found { name: below.join(name).into_os_string(), version }
                })),
                Err(error) if depth == 0 => return Err(error),
                Err(_) => {}
            }
            folders.into_iter().for_each(|folder| tree.add(folder, depth + 1, now));
            at += 1;
        }
        Ok((tree, found))
    }

    /// Number of folders.
    pub(super) fn n_folder(&self) -> usize {
        self.nodes.len()
    }

    /// Polls until `stopped` is disconnected or nobody receives the files. `appeared` tells that there may
    /// be a new folder.
    pub(super) fn run(
        mut self,
        every: Duration,
        sender: &Sender<PathBuf>,
        appeared: &Receiver<()>,
        stopped: &Receiver<()>,
    ) {
        let mut is_there = true;
        let mut pause = every;
        loop {
            crossbeam::select! {
                recv(stopped) -> _ => return,
                recv(appeared) -> _ => {}
                default(pause) => {}
            }
            let started = Instant::now();
            match self.poll(started) {
                Ok(settled) => {
                    is_there = true;
                    for path in settled {
                        if sender.send(path).is_err() {
                            return;
                        }
                    }
                }
                // A network share may be unavailable for a moment.
                Err(error) if is_there => {
                    is_there = false;
                    tracing::warn!(kind = ?error.kind(), "cannot read the folder; still trying");
                }
                Err(_) => {}
            }
            pause = every.max(started.elapsed().saturating_mul(PAUSE_FACTOR));
        }
    }

    /// New and changed files of all folders that have not changed since the last poll.
    fn poll(&mut self, now: Instant) -> io::Result<Vec<PathBuf>> {
        let in_turn = self.next_old..self.next_old + OLD_FOLDERS_A_POLL;
        let (mut settled, mut gone) = (Vec::new(), Vec::new());
        let (mut at, mut n_old) = (0, 0);
        while at < self.nodes.len() {
            let node = &mut self.nodes[at];
            at += 1;
            if node.depth > 0 && !node.has_changed(now) {
                n_old += 1;
                if !in_turn.contains(&(n_old - 1)) {
                    continue;
                }
            }
            let depth = node.depth;
            let mut folders = Vec::new();
            match node.polling.poll(now, &mut folders) {
                Ok(files) => settled.extend(files),
                Err(error) if depth == 0 => return Err(error),
                Err(error) if error.kind() == io::ErrorKind::NotFound => gone.push(at - 1),
                Err(_) => {}
            }
            for folder in folders {
                if !self.nodes.iter().any(|known| known.path == folder) {
                    self.appeared(folder, depth + 1, now);
                }
            }
        }
        self.next_old = if in_turn.end < n_old { in_turn.end } else { 0 };
        for at in gone.into_iter().rev() {
            self.nodes.remove(at);
        }
        Ok(settled)
    }

    fn appeared(&mut self, folder: PathBuf, depth: usize, now: Instant) {
        // Never its name, which may be a patient's.
        tracing::info!(
            folder = hashed(&folder),
            "a folder appeared, {depth} level{} below: its files are read as they come",
            if depth == 1 { "" } else { "s" }
        );
        self.add(folder, depth, now);
    }

    fn add(&mut self, path: PathBuf, depth: usize, now: Instant) {
        if self.nodes.len() >= MAX_FOLDERS {
            if !self.is_told_of_limit {
                self.is_told_of_limit = true;
                tracing::warn!("more than {MAX_FOLDERS} folders: name one further down");
            }
            return;
        }
        if let Some(watcher) = self.watcher.as_mut().filter(|_| self.n_notified < MAX_NOTIFIED) {
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => self.n_notified += 1,
                Err(error) => {
                    // The error may contain the folder's name.
                    let kind = std::mem::discriminant(&error.kind);
                    tracing::warn!(?kind, "no notifications for a folder; it is polled only");
                }
            }
        }
        let polling = Polling::new(&path, self.pattern.clone(), depth < MAX_DEPTH);
        self.nodes.push(Node { path, depth, modified: None, changed: now, polling });
    }
}

impl Node {
    /// Whether something may have changed in it.
    fn has_changed(&mut self, now: Instant) -> bool {
        let modified = fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
        if modified != self.modified || modified.is_none() {
            (self.modified, self.changed) = (modified, now);
        }
        now.saturating_duration_since(self.changed) <= LATELY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(root: &Path) -> (Tree, Vec<PathBuf>) {
        let (tree, found) = Tree::open(root, &Pattern::new("*"), None).unwrap();
        let mut found: Vec<_> = found.into_iter().map(|file| root.join(file.name)).collect();
        found.sort();
        (tree, found)
    }

    #[test]
    fn folders_two_levels_down_are_read_whenever_they_appear() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, b"x").unwrap();
            path
        };
        let before = [put("a"), put("v1/b"), put("v1/s1/c")];
        for ignored in ["v1/s1/x/too_deep", ".hidden/d", "v1/.hidden/e"] {
            put(ignored);
        }
        let (mut tree, found) = open(root.path());
        assert_eq!(found, before);
        assert_eq!(tree.n_folder(), 3);
        let mut poll = || tree.poll(Instant::now()).unwrap();
        assert!(poll().is_empty(), "known");
        let after = [put("v1/s1/f"), put("v2/g"), put("v2/s1/h")];
        assert!(poll().is_empty(), "seen for the first time");
        assert_eq!(poll(), after);
        fs::remove_dir_all(root.path().join("v2")).unwrap();
        assert!(poll().is_empty());
        put("v2/g");
        assert!(poll().is_empty());
        assert_eq!(poll(), [root.path().join("v2/g")], "the folder came back");
    }

    #[test]
    fn folders_of_past_sessions_are_listed_in_turn() {
        let root = tempfile::tempdir().unwrap();
        let n = 2 * OLD_FOLDERS_A_POLL + 3;
        for n in 0..n {
            fs::create_dir(root.path().join(n.to_string())).unwrap();
            fs::write(root.path().join(format!("{n}/old")), b"x").unwrap();
        }
        let (mut tree, _) = open(root.path());
        tree.poll(Instant::now()).unwrap();
        // Their files change long after, without any change of the folders.
        for n in 0..n {
            fs::write(root.path().join(format!("{n}/old")), b"other").unwrap();
        }
        let later = Instant::now() + 2 * LATELY;
        let settled: usize = (0..12).map(|_| tree.poll(later).unwrap().len()).sum();
        assert_eq!(settled, n, "each of them was found");
    }
}
