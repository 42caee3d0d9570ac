//! What a results file holds when it is opened.

use std::{
    collections::{HashSet, hash_map::RandomState},
    fs::File,
    hash::BuildHasher as _,
    io::{self, BufRead as _, BufReader},
    path::Path,
};

use serde::Deserialize;

/// Longest line that is compared; a longer one is no result.
const MAX_LINE_BYTES: usize = 16 << 20;

/// The parts of a line that identify its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "Line")]
pub(super) struct Key {
    run: String,
    index: u32,
    stimulus_time_bits: u64,
}

#[derive(Deserialize)]
struct Line {
    run: String,
    index: u32,
    stimulus_time_s: f64,
}

impl From<Line> for Key {
    fn from(Line { run, index, stimulus_time_s }: Line) -> Self {
        Self { run, index, stimulus_time_bits: stimulus_time_s.to_bits() }
    }
}

/// The key of a line; `None` if the line is no result.
pub(super) fn key_of(line: &[u8]) -> Option<Key> {
    serde_json::from_slice(line).ok()
}

/// The keys of many results, 16 bytes each.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Names of the runs. There are few, and results of one run come together.
    runs: Vec<String>,
    /// Place of the run's name, index, and the bits of the stimulus time.
    keys: HashSet<(u32, u32, u64)>,
}

impl Keys {
    pub(super) fn insert(&mut self, key: Key) {
        let known = self.runs.iter().rposition(|run| *run == key.run);
        let run = known.unwrap_or_else(|| {
            self.runs.push(key.run);
            self.runs.len() - 1
        });
        self.keys.insert((run as u32, key.index, key.stimulus_time_bits));
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        let run = self.runs.iter().rposition(|run| *run == key.run);
        run.is_some_and(|run| self.keys.contains(&(run as u32, key.index, key.stimulus_time_bits)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Results of its whole lines.
    pub(super) keys: Keys,
    /// The last line, if it has no end.
    pub(super) cut: Option<Vec<u8>>,
    /// Hashes of the whole lines. The hasher has a random key, so two lines share a hash by bad
    /// luck only, once in 10^13 pairs of files with a thousand lines each.
    lines: HashSet<u64>,
    hasher: RandomState,
}

impl Held {
    /// Reads a file, line by line. `None` if there is no file.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut held = Self::default();
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line)? > 0 {
            match line.strip_suffix(b"\n") {
                Some(text) => {
                    held.lines.insert(held.hasher.hash_one(text));
                    if text.len() <= MAX_LINE_BYTES {
                        key_of(text).into_iter().for_each(|key| held.keys.insert(key));
                    }
                }
                None => held.cut = Some(line.clone()),
            }
            line.clear();
        }
        Ok(Some(held))
    }

    /// Whether the file holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.cut.is_none()
    }

    /// Whether one of the whole lines is this one, byte for byte.
    pub(super) fn has_line(&self, line: &[u8]) -> bool {
        self.lines.contains(&self.hasher.hash_one(line))
    }

    /// Frees what only [`Held::has_line`] needs.
    pub(super) fn forget_lines(&mut self) {
        self.lines = HashSet::new();
    }

    /// Whether the last line was cut and is the beginning of this one, which no whole line holds.
    pub(super) fn is_completed_by(&self, line: &[u8]) -> bool {
        // A short beginning fits several lines: complete it to one that is not there yet.
        let is_new = || key_of(line).is_none_or(|key| !self.keys.has(&key));
        self.cut.as_ref().is_some_and(|cut| line.starts_with(cut)) && is_new()
    }
}
