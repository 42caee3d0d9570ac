//! The judgement on a run: what was lost, how much it moved, and all of it in one line.

use super::{
    facts::{RunFacts, VolumeRow},
    settings::Settings,
};

/// A quantity of each volume, summarised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stats {
    pub(super) n: usize,
    pub(super) mean: f64,
    pub(super) max: f64,
    pub(super) max_index: u32,
    pub(super) threshold: Option<f64>,
    /// Volumes above the threshold, if there is one.
    pub(super) n_above: Option<usize>,
}

/// Volumes that did not reach the model, by what happened to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) n_missing: u32,
    pub(super) n_late: u32,
    pub(super) n_dropped: u32,
}

/// The judgement on a run.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// What happened, in one line.
    pub(super) verdict: String,
    /// Volumes that were acquired.
    pub(super) n_acquired: u32,
    /// Of these, volumes that were used.
    pub(super) n_used: u32,
    pub(super) lost: Lost,
    /// Indices without a recorded volume, up to the last recorded one.
    pub(super) missing: Vec<u32>,
    /// `None` when there is no threshold.
    pub(super) n_spikes: Option<u32>,
    pub(super) fd: Option<Stats>,
    pub(super) dvars: Option<Stats>,
    pub(super) n_alarms: usize,
}

impl Judged {
    /// Judges a run.
    pub(super) fn of(run: &RunFacts) -> Self {
        let settings = Settings(&run.session);
        let end = run.recorded.last().map_or(0, |last| last + 1);
        let missing: Vec<u32> = (0..end).filter(|index| !run.recorded.contains(index)).collect();
        let n_recorded = run.recorded.len() as u32;
        let (n_received, lost) = match &run.last {
            Some(last) => {
                let (n_missing, n_late, n_dropped) = (last.n_missing, last.n_late, last.n_dropped);
                (last.n_received.max(n_recorded), Lost { n_missing, n_late, n_dropped })
            }
            None => (n_recorded, Lost { n_missing: missing.len() as u32, ..Lost::default() }),
        };
        let thresholds = (settings.fd_threshold_mm(), settings.dvars_threshold());
        let n_marked = run.volumes.iter().filter(|volume| volume.is_spike).count() as u32;
        let n_marked = n_marked.max(run.last.as_ref().map_or(0, |last| last.n_spikes));
        let has_limit = thresholds.0.is_some() || thresholds.1.is_some() || n_marked > 0;
        let mut judged = Self {
            verdict: String::new(),
            n_acquired: n_received.saturating_add(lost.n_missing),
            n_used: n_received.saturating_sub(lost.n_late).saturating_sub(lost.n_dropped),
            lost,
            missing,
            n_spikes: has_limit.then_some(n_marked),
            fd: stats(&run.volumes, thresholds.0, |volume| volume.fd_mm),
            dvars: stats(&run.volumes, thresholds.1, |volume| volume.dvars),
            n_alarms: run.notes.iter().filter(|note| note.kind == "alarm").count(),
        };
        judged.verdict = judged.words(run);
        judged
    }

    fn words(&self, run: &RunFacts) -> String {
        let mut words = match (run.has_ended, run.is_cut_short) {
            (true, _) => String::new(),
            (false, false) => "The recording does not hold the end of the run. ".to_owned(),
            (false, true) => "The recording does not hold the end of the run: it is still being \
                              written, or the daemon was killed. "
                .to_owned(),
        };
        let Lost { n_missing, n_late, n_dropped } = self.lost;
        words += &format!("{} of {} volumes", self.n_used, self.n_acquired);
        let lost = [
            (n_missing, "never arrived"),
            (n_late, "came too late"),
            (n_dropped, "could not be used"),
        ];
        let lost: Vec<String> =
            lost.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        match lost.is_empty() {
            true => words += ", none lost",
            false => words += &format!(": {}", lost.join(", ")),
        }
        match self.n_spikes {
            Some(n) => words += &format!(", {}", counted(n as usize, "spike")),
            None => words += ", no threshold for spikes",
        }
        if self.n_alarms > 0 {
            words += &format!(", {}", counted(self.n_alarms, "alarm"));
        }
        let n_restarts = run.n_restarts();
        if n_restarts > 0 {
            words += &format!(", {}", counted(n_restarts, "restart"));
        }
        words.push('.');
        let restarts = run.notes.iter().filter(|note| note.kind == "restart" && note.time_s >= 0.0);
        let at: Vec<String> = restarts.map(|note| format!("{:.0} s", note.time_s)).collect();
        if !at.is_empty() {
            words += &format!(" The daemon was restarted at {}", at.join(", "));
            words +=
                if lost.is_empty() && run.faults.is_empty() { "; nothing was lost." } else { "." };
        }
        if !run.faults.is_empty() {
            words += " The recording is damaged: this shows what could be read.";
        }
        words
    }
}

/// `1 spike`, `2 spikes`.
pub(super) fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn stats(
    volumes: &[VolumeRow],
    threshold: Option<f64>,
    value: impl Fn(&VolumeRow) -> Option<f64>,
) -> Option<Stats> {
    let values = || volumes.iter().filter_map(|volume| Some((volume.index, value(volume)?)));
    let n = values().count();
    let (max_index, max) = values().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
    let n_above = threshold.map(|limit| values().filter(|(_, value)| *value > limit).count());
    let mean = values().map(|(_, value)| value).sum::<f64>() / n as f64;
    Some(Stats { n, mean, max, max_index, threshold, n_above })
}

/// Indices as ranges, e.g. `3, 7–9`; after `most` ranges the rest is counted.
pub(super) fn ranges(indices: &[u32], most: usize) -> String {
    let groups: Vec<&[u32]> = indices.chunk_by(|a, b| a + 1 == *b).collect();
    let texts =
        groups.iter().take(most).filter_map(|group| match (group.first()?, group.last()?) {
            (first, last) if first == last => Some(first.to_string()),
            (first, last) => Some(format!("{first}–{last}")),
        });
    let mut text = texts.collect::<Vec<_>>().join(", ");
    if groups.len() > most {
        text += &format!(" and {} more", groups.iter().skip(most).map(|g| g.len()).sum::<usize>());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(index: u32, fd_mm: Option<f64>) -> VolumeRow {
        VolumeRow { index, fd_mm, ..VolumeRow::default() }
    }

    #[test]
    fn a_quantity_is_summarised_over_the_volumes_that_have_it() {
        let rows = [row(0, None), row(1, Some(0.25)), row(2, Some(1.25)), row(5, Some(1.25))];
        let found = stats(&rows, Some(0.5), |row| row.fd_mm).unwrap();
        assert_eq!((found.n, found.max_index, found.n_above), (3, 2, Some(2)));
        assert!((found.mean - 2.75 / 3.0).abs() < 1e-12 && (found.max - 1.25).abs() < 1e-12);
        assert_eq!(stats(&rows[..1], None, |row| row.fd_mm), None);
    }

    #[test]
    fn neighbours_are_a_range_and_many_ranges_are_counted() {
        assert_eq!(ranges(&[3, 7, 8, 9], 10), "3, 7–9");
        assert_eq!(ranges(&[1, 3, 5, 6], 2), "1, 3 and 2 more");
        assert_eq!(ranges(&[], 2), "");
    }
}
