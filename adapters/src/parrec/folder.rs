//! Finds pairs in a folder, and waits until both files of a pair are whole.
//!
//! The folder is listed after each notification of the kernel, and every `--poll-ms`, because
//! shares that another machine writes to send no notifications. Only files that are new or changed
//! are opened. When the adapter starts, the pairs of the newest name come first; older ones are
//! left out, unless `--once` asks for all.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, event::AccessKind};

use super::{
    ParRecOptions,
    header::{MAX_PAR_BYTES, Par, is_whole},
};

/// Shortest wait before an incomplete pair is looked at again.
const RETRY: Duration = Duration::from_millis(5);

/// Bytes of a REC that tell it from others.
const HASHED_REC_BYTES: u64 = 1 << 20;

/// A whole pair.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) par: Par,
    pub(super) rec: PathBuf,
    /// The name without its number and extension.
    pub(super) prefix: String,
    /// The number at the end of the name.
    pub(super) number: Option<u64>,
    /// Of the name, the PAR and the beginning of the REC.
    pub(super) hash: blake3::Hash,
}

/// What the folder gives.
pub(super) enum Next {
    Pair(Box<Found>),
    /// A pair was refused; the reason is logged.
    Skipped,
    Quiet,
    End,
}

/// Length and time of both files.
type Version = [Option<(u64, SystemTime)>; 2];

/// A watched folder. See the module docs.
pub(super) struct Folder {
    path: PathBuf,
    once: bool,
    poll: Duration,
    deadline: Duration,
    /// Versions that were read or skipped, by name.
    done: HashMap<PathBuf, Version>,
    /// When an incomplete pair was first seen.
    pending: HashMap<PathBuf, Instant>,
    listed: bool,
    wakes: Option<(RecommendedWatcher, Receiver<()>)>,
    said_absent: bool,
}

impl Folder {
    /// Looks at the folder once: what is there before the adapter is its past.
    pub(super) fn new(options: &ParRecOptions) -> Self {
        let mut folder = Self {
            path: options.folder.clone(),
            once: options.once,
            poll: Duration::from_millis(options.poll_ms),
            deadline: options.deadline_s,
            done: HashMap::new(),
            pending: HashMap::new(),
            listed: false,
            wakes: None,
            said_absent: false,
        };
        folder.list();
        folder
    }

    /// The next whole pair, waiting until `until` or for ever.
    pub(super) fn next(&mut self, until: Option<Instant>) -> Next {
        loop {
            for (key, par, rec) in self.list() {
                if let Some(next) = self.look(key, &par, rec.as_deref()) {
                    return next;
                }
            }
            if self.once {
                return Next::End;
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Next::Quiet;
            }
            self.wait(until);
        }
    }

    /// Waits for a notification, or for the next poll.
    fn wait(&mut self, until: Option<Instant>) {
        if self.wakes.is_none() && self.path.is_dir() {
            self.wakes = notifications(&self.path).ok();
        }
        let wait = if self.pending.is_empty() { self.poll } else { RETRY };
        let wake = Instant::now() + wait;
        let wake = until.map_or(wake, |until| until.min(wake));
        match &self.wakes {
            Some((_, wakes)) => match wakes.recv_deadline(wake) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.wakes = None,
            },
            None => std::thread::park_timeout(wake.saturating_duration_since(Instant::now())),
        }
    }

    /// Pairs that are new or changed, in the order of their names: name without extension, PAR, REC.
    fn list(&mut self) -> Vec<(PathBuf, PathBuf, Option<PathBuf>)> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) => {
                if !self.said_absent {
                    let kind = error.kind();
                    tracing::warn!("the folder cannot be listed ({kind}): waiting for it");
                    self.said_absent = true;
                }
                return Vec::new();
            }
        };
        self.said_absent = false;
        let mut pars = BTreeMap::new();
        let mut recs = HashMap::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
            match extension.as_deref() {
                Some("par") => {
                    let (prefix, number) = numbered(&path);
                    pars.insert((prefix, number, path.with_extension("")), path);
                }
                Some("rec") => {
                    recs.insert(path.with_extension(""), path);
                }
                _ => {}
            }
        }
        if !self.listed {
            self.listed = true;
            if !self.once {
                self.leave_out_old(&pars, &recs);
            }
        }
        let pairs = pars.into_iter().map(|((_, _, key), par)| {
            let rec = recs.get(&key).cloned();
            (key, par, rec)
        });
        pairs
            .filter(|(key, par, rec)| self.done.get(key) != Some(&version(par, rec.as_deref())))
            .collect()
    }

    /// Marks all but the newest scan as done.
    fn leave_out_old(
        &mut self,
        pars: &BTreeMap<(String, Option<u64>, PathBuf), PathBuf>,
        recs: &HashMap<PathBuf, PathBuf>,
    ) {
        let modified = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
        let scan = |(prefix, number, key): &(String, Option<u64>, PathBuf)| match number {
            Some(_) => prefix.clone(),
            None => key.display().to_string(),
        };
        let newest = pars.iter().max_by_key(|(_, path)| modified(path)).map(|(name, _)| scan(name));
        let mut n_left = 0;
        for (name, par) in pars {
            if Some(scan(name)) != newest {
                let rec = recs.get(&name.2);
                self.done.insert(name.2.clone(), version(par, rec.map(PathBuf::as_path)));
                n_left += 1;
            }
        }
        if n_left > 0 {
            tracing::info!(
                pairs = n_left,
                "pairs of earlier scans are left out; --once sends them"
            );
        }
    }

    /// Reads a pair if it is whole. `None` while it is not.
    fn look(&mut self, key: PathBuf, par: &Path, rec: Option<&Path>) -> Option<Next> {
        let seen = version(par, rec);
        let reason = match read(par, rec) {
            Ok(found) => {
                self.pending.remove(&key);
                self.done.insert(key, seen);
                return Some(Next::Pair(Box::new(found)));
            }
            Err(Failure::Never(reason)) => reason,
            Err(Failure::NotYet(reason)) => {
                let since = *self.pending.entry(key.clone()).or_insert_with(Instant::now);
                // Without a watch nobody is writing.
                if !self.once && since.elapsed() < self.deadline {
                    return None;
                }
                format!("it is still incomplete: {reason}")
            }
        };
        self.pending.remove(&key);
        let number = numbered(par).1;
        tracing::warn!(?number, reason, "pair skipped");
        self.done.insert(key, seen);
        Some(Next::Skipped)
    }
}

enum Failure {
    NotYet(String),
    Never(String),
}

fn read(par: &Path, rec: Option<&Path>) -> Result<Found, Failure> {
    let kind = |error: std::io::Error| Failure::NotYet(format!("cannot be read: {}", error.kind()));
    let mut bytes = Vec::new();
    File::open(par)
        .and_then(|f| f.take(MAX_PAR_BYTES + 1).read_to_end(&mut bytes))
        .map_err(kind)?;
    if bytes.len() as u64 > MAX_PAR_BYTES {
        return Err(Failure::Never("the PAR exceeds 16 MiB".to_owned()));
    }
    if !is_whole(&bytes) {
        return Err(Failure::NotYet("the PAR has no last line".to_owned()));
    }
    let (prefix, number) = numbered(par);
    let par = Par::parse(&bytes).map_err(Failure::Never)?;
    let rec = rec.ok_or_else(|| Failure::NotYet("there is no REC".to_owned()))?;
    let (found, expected) = (fs::metadata(rec).map_err(kind)?.len(), par.rec_bytes());
    if found < expected {
        let reason = format!("the REC has {found} of {expected} bytes");
        return Err(Failure::NotYet(reason));
    }
    // The name too: two scans of a phantom can begin alike.
    let mut hash = blake3::Hasher::new();
    hash.update(prefix.as_bytes()).update(&bytes);
    let start = File::open(rec).map(|rec| rec.take(HASHED_REC_BYTES));
    start.and_then(|mut start| io::copy(&mut start, &mut hash)).map_err(kind)?;
    let hash = hash.finalize();
    Ok(Found { par, rec: rec.to_owned(), prefix, number, hash })
}

/// A file's name without extension and number, and its number.
fn numbered(path: &Path) -> (String, Option<u64>) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let prefix = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    (prefix.to_owned(), stem[prefix.len()..].parse().ok())
}

fn version(par: &Path, rec: Option<&Path>) -> Version {
    let of = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    [of(par), rec.and_then(of)]
}

fn notifications(folder: &Path) -> notify::Result<(RecommendedWatcher, Receiver<()>)> {
    let (wake, wakes) = bounded(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading opens files, too.
        if event.is_ok_and(|e| matches!(e.kind, EventKind::Access(AccessKind::Open(_)))) {
            return;
        }
        // One waiting wake-up is enough: the folder is listed whole.
        wake.try_send(()).ok();
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok((watcher, wakes))
}
