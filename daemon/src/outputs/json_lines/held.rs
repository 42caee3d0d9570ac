//! What a results file holds when it is opened.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use serde::Deserialize;

/// Longest line that is compared; a longer one is no result.
const MAX_LINE_BYTES: usize = 16 << 20;

/// Run, index, and the bits of the stimulus time of a result.
pub(super) type Key = (Arc<str>, u64, u64);

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) keys: HashSet<Key>,
    /// Whether the file holds a result of this session, or nothing.
    pub(super) is_of_session: bool,
    /// What the last line lacks, if it was cut; without the end of line.
    pub(super) end_of_cut_line: Option<Vec<u8>>,
}

/// The parts of a line that identify its result.
#[derive(Deserialize)]
struct Line {
    run: Arc<str>,
    index: u64,
    stimulus_time_s: f64,
}

/// The key of a line; `None` if the line is no result.
pub(super) fn key_of(line: &[u8]) -> Option<Key> {
    let line: Line = serde_json::from_slice(line).ok()?;
    Some((line.run, line.index, line.stimulus_time_s.to_bits()))
}

impl Held {
    /// Reads a file, line by line. `None` if there is no file. `recorded` are the lines of the
    /// results in the session's recording.
    pub(super) fn read(path: &Path, recorded: &[Bytes]) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let of_session: HashSet<&[u8]> = recorded.iter().map(AsRef::as_ref).collect();
        let mut held = Self::default();
        let (mut line, mut is_empty) = (Vec::new(), true);
        while file.read_until(b'\n', &mut line)? > 0 {
            is_empty = false;
            let is_whole = line.last() == Some(&b'\n');
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            held.is_of_session |= of_session.contains(text);
            let mut key = if text.len() > MAX_LINE_BYTES { None } else { key_of(text) };
            if !is_whole {
                // A short beginning fits several lines: complete it to one that is not there yet.
                let is_new = |whole: &Bytes| key_of(whole).is_none_or(|key| !held.has(&key));
                let fits = |whole: &&Bytes| whole.starts_with(text) && is_new(whole);
                let whole = recorded.iter().find(fits);
                held.is_of_session |= whole.is_some();
                let end = whole.map_or(&[][..], |whole| &whole[text.len()..]);
                held.end_of_cut_line = Some(end.to_vec());
                key = key.or_else(|| key_of(whole?));
            }
            held.keys.extend(key);
            line.clear();
        }
        held.is_of_session |= is_empty;
        Ok(Some(held))
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }
}
