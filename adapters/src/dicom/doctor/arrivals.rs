//! How regularly volumes arrive.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use corticast_bold::time::RepetitionTime;

use super::{Arrivals, Pattern};

/// Upper ends of the classes of the histogram, in repetition times. The last class is open.
pub(super) const CLASSES: [f64; 5] = [0.5, 0.9, 1.1, 1.5, 2.0];
/// Files that were written within this time of each other were copied.
const COPIED: Duration = Duration::from_millis(200);
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

/// Whether times are those of an export, and not of a copy made at once.
pub(super) fn are_apart(times: impl Iterator<Item = SystemTime>) -> bool {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let gaps = times.windows(2).filter_map(|pair| pair[1].duration_since(pair[0]).ok());
    let n_gap = gaps.filter(|gap| *gap > COPIED).count();
    times.len() > 1 && 4 * n_gap > times.len().min(40)
}

/// How regularly the volumes of a series became complete.
pub(super) struct Regularity {
    /// Volumes in each class of the histogram.
    pub(super) counts: [u64; CLASSES.len() + 1],
    /// Median and longest time between volumes, in seconds.
    pub(super) median_s: f64,
    pub(super) longest_s: f64,
}

impl Regularity {
    /// `None` when the files were copied at once, or are too few.
    pub(super) fn of(complete: &[SystemTime], repetition: RepetitionTime) -> Option<Self> {
        if complete.len() < 3 || !are_apart(complete.iter().copied()) {
            return None;
        }
        let gaps = complete
            .windows(2)
            .map(|pair| pair[1].duration_since(pair[0]).unwrap_or_default().as_secs_f64());
        let mut gaps: Vec<f64> = gaps.collect();
        let mut counts = [0; CLASSES.len() + 1];
        for gap in &gaps {
            let trs = gap / repetition.as_secs();
            counts[CLASSES.iter().position(|end| trs < *end).unwrap_or(CLASSES.len())] += 1;
        }
        gaps.sort_by(f64::total_cmp);
        let longest_s = gaps.last().copied()?;
        Some(Self { counts, median_s: gaps[gaps.len() / 2], longest_s })
    }
}
