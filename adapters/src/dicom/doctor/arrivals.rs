//! When each file of a folder was seen complete first.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use super::{Arrivals, Pattern};

/// Most files that are noted while watching.
const MAX_SEEN: usize = 100_000;

/// Watches a folder. Returns when each file was seen complete first.
pub(super) fn watch(folder: &Path, time: Duration) -> io::Result<BTreeMap<PathBuf, SystemTime>> {
    let pattern = Pattern::new("*");
    let (arrivals, _) = Arrivals::watch(folder, &pattern, Duration::from_millis(200))?;
    let end = Instant::now() + time;
    let mut seen = BTreeMap::new();
    while let Ok(path) = arrivals.files().recv_deadline(end) {
        if seen.len() < MAX_SEEN {
            seen.entry(path).or_insert_with(SystemTime::now);
        }
    }
    Ok(seen)
}
