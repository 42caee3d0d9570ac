//! How regularly volumes arrive, and how late.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

/// Upper ends of the classes of the histogram, in repetition times. The last class is open.
const CLASSES: [f64; 5] = [0.5, 0.9, 1.1, 1.5, 2.0];
/// Files that were written within this time of each other were copied.
const COPIED: Duration = Duration::from_millis(200);
/// Length of the longest bar.
const BAR: u64 = 40;

/// Whether times are those of an export, and not of a copy made at once.
pub(crate) fn are_apart(times: impl Iterator<Item = SystemTime>) -> bool {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let gaps = times.windows(2).filter_map(|pair| pair[1].duration_since(pair[0]).ok());
    let n_gap = gaps.filter(|gap| *gap > COPIED).count();
    times.len() > 1 && 4 * n_gap > times.len().min(40)
}

/// How regularly volumes arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Regularity {
    /// Volumes in each class of the histogram.
    counts: [u64; CLASSES.len() + 1],
    /// Median and longest time between volumes, in seconds.
    pub(crate) median_s: f64,
    pub(crate) longest_s: f64,
    /// Pauses of more than two repetition times.
    pub(crate) n_stall: u64,
}

impl Regularity {
    /// From the times of arrival, in seconds. `None` with fewer than three.
    pub(crate) fn of(arrived_s: &[f64], repetition_s: f64) -> Option<Self> {
        if arrived_s.len() < 3 {
            return None;
        }
        let mut sorted = arrived_s.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut gaps: Vec<f64> = sorted.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut counts = [0; CLASSES.len() + 1];
        for gap in &gaps {
            let trs = gap / repetition_s;
            counts[CLASSES.iter().position(|end| trs < *end).unwrap_or(CLASSES.len())] += 1;
        }
        gaps.sort_by(f64::total_cmp);
        let longest_s = gaps.last().copied()?;
        let n_stall = counts[CLASSES.len()];
        Some(Self { counts, median_s: gaps[gaps.len() / 2], longest_s, n_stall })
    }

    /// The lines of a page.
    pub(crate) fn text(&self) -> String {
        let (median, longest) = (self.median_s, self.longest_s);
        let mut text =
            format!("  arrival: every {median:.3} s (median), at most {longest:.3} s apart\n");
        let most = self.counts.iter().copied().max().unwrap_or(1).max(1);
        for (at, n) in self.counts.iter().enumerate() {
            let class = match CLASSES.get(at) {
                Some(end) => format!("below {end:.1} TR"),
                None => "longer".into(),
            };
            let bar = "#".repeat((n * BAR).div_ceil(most) as usize);
            text += format!("    {class:<13}{n:>6} {bar}").trim_end();
            text.push('\n');
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "median_s": self.median_s,
            "longest_s": self.longest_s,
            "stalls": self.n_stall,
            "classes_tr": CLASSES,
            "volumes": self.counts,
        })
    }
}

/// How much later than the earliest of them volumes arrived, each against its time of acquisition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lateness {
    /// Half of the volumes are no later, in seconds.
    pub(crate) median_s: f64,
    /// 95 of 100 are no later.
    pub(crate) most_s: f64,
    /// The latest one.
    pub(crate) latest_s: f64,
    /// From the end of acquisition to the arrival of the median volume, if both clocks agree.
    pub(crate) after_acquisition_s: Option<f64>,
}

impl Lateness {
    /// From times of acquisition and of arrival, in seconds. `None` with fewer than three.
    pub(crate) fn of(volumes: &[(f64, f64)]) -> Option<Self> {
        let late = |(acquired_s, arrived_s): &(f64, f64)| arrived_s - acquired_s;
        let earliest_s = volumes.iter().map(late).fold(f64::INFINITY, f64::min);
        let mut late: Vec<f64> = volumes.iter().map(|volume| late(volume) - earliest_s).collect();
        if late.len() < 3 || late.iter().any(|late| !late.is_finite()) {
            return None;
        }
        late.sort_by(f64::total_cmp);
        Some(Self {
            median_s: late[late.len() / 2],
            most_s: late[(late.len() * 95).div_ceil(100) - 1],
            latest_s: late[late.len() - 1],
            after_acquisition_s: None,
        })
    }

    /// The lines of a page.
    pub(crate) fn text(&self) -> String {
        let (median, most, latest) = (self.median_s, self.most_s, self.latest_s);
        let mut text = format!(
            "  late: half at most {median:.3} s behind the earliest, 95 of 100 at most {most:.3} s, \
             the latest {latest:.3} s\n"
        );
        if let Some(after_s) = self.after_acquisition_s {
            text += &format!(
                "  delay: {after_s:.2} s from the end of acquisition, if the clocks of scanner and \
                 computer agree\n"
            );
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "median_s": self.median_s,
            "most_s": self.most_s,
            "latest_s": self.latest_s,
            "after_acquisition_s": self.after_acquisition_s,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_and_what_came_after_it_are_seen() {
        let arrived: Vec<f64> = (0..10).map(f64::from).chain([14.0, 14.1, 14.2]).collect();
        let regularity = Regularity::of(&arrived, 1.0).unwrap();
        assert_eq!((regularity.counts, regularity.n_stall), ([2, 0, 9, 0, 0, 1], 1));
        assert!((regularity.longest_s - 5.0).abs() < 1e-9, "{regularity:?}");
        assert_eq!(Regularity::of(&[0.0, 1.0], 1.0), None);
    }

    #[test]
    fn lateness_is_against_the_acquisition_and_the_earliest() {
        // The fourth volume came 2 s late, and those that waited for it less and less.
        let arrived = [5.0, 6.0, 7.1, 10.0, 10.1, 10.2];
        let volumes: Vec<(f64, f64)> =
            arrived.iter().enumerate().map(|(k, at)| (k as f64, *at)).collect();
        let late = Lateness::of(&volumes).unwrap();
        assert!(
            (late.latest_s - 2.0).abs() < 1e-9 && (late.median_s - 0.2).abs() < 1e-9,
            "{late:?}"
        );
    }
}
