//! What two images tell of the volumes between them: the differences of their numbers, and the time.

use corticast_bold::time::RepetitionTime;

use super::Facts;
use crate::dicom::clock::{Moment, elapsed_us};

/// The numbers of a header that may count volumes, in the order in which they are believed.
pub(super) const SOURCES: [&str; 3] = ["temporal position", "AcquisitionNumber", "InstanceNumber"];

/// How much a number rises from one volume to the next; `None` while that is not known.
pub(super) type Units = [Option<i64>; 3];

/// A time is this near to a whole number of repetition times, as a part of one, if it counts them.
const NEAR_TRS: f64 = 0.1;
/// So many steps in a row the clock must agree with the numbers before it outweighs them.
const STEPS_OF_TRUST: u32 = 2;

impl Facts {
    /// The numbers, in the order of [`SOURCES`].
    pub(super) fn numbers(&self) -> [Option<i64>; 3] {
        let numbers = self.numbers;
        [numbers.temporal, numbers.acquisition, numbers.instance].map(|n| n.map(i64::from))
    }
}

/// From one image to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Differences of the numbers; `None` for a number that lacks or is the same in both.
    pub(super) numbers: [Option<i64>; 3],
    /// The most believed number is the same in both.
    pub(super) stuck: Option<usize>,
    /// Time between them in microseconds; `None` if it is not known or 0.
    us: Option<i64>,
    tr_s: Option<f64>,
}

/// How the numbers count, from the difference of two images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Count {
    /// Volumes from one image to the other.
    pub(super) n_volume: i64,
    /// Steps of the numbers.
    pub(super) units: Units,
    /// Another image could not show that they count otherwise.
    pub(super) is_sure: bool,
}

impl Step {
    pub(super) fn between(from: &Facts, to: &Facts, repetition: Option<RepetitionTime>) -> Self {
        let (a, b) = (from.numbers(), to.numbers());
        let both: [Option<i64>; 3] = std::array::from_fn(|at| Some(b[at]? - a[at]?));
        let elapsed = |from: Option<Moment>, to: Option<Moment>| {
            Some(elapsed_us(from?.us, to?.us)).filter(|us| *us != 0)
        };
        Self {
            numbers: both.map(|step| step.filter(|step| *step != 0)),
            stuck: both.iter().position(Option::is_some).filter(|at| both[*at] == Some(0)),
            // Some exports give all images the time of the series, but not of the content.
            us: elapsed(from.time, to.time).or_else(|| elapsed(from.content, to.content)),
            // Volumes that were counted have no gaps.
            tr_s: repetition.filter(|_| !to.is_counted).map(|tr| tr.as_secs()),
        }
    }

    /// Volumes between them by the clock, if it counts repetition times.
    pub(super) fn by_clock(&self) -> Option<i64> {
        let trs = self.us? as f64 / 1e6 / self.tr_s?;
        let whole = trs.round();
        ((trs - whole).abs() <= NEAR_TRS && whole.abs() >= 1.0).then_some(whole as i64)
    }

    /// Whether the times of the two images are known and differ.
    pub(super) fn is_timed(&self) -> bool {
        self.us.is_some()
    }

    /// Volumes between them by their times, where no number tells: at least one, in their order.
    fn by_order(&self) -> Option<i64> {
        let us = self.us?;
        let trs = self.tr_s.map_or(0.0, |tr_s| (us as f64 / 1e6 / tr_s).round());
        Some(if trs.abs() < 1.0 { us.signum() } else { trs as i64 })
    }

    /// How the numbers count; `None` if none differs.
    pub(super) fn count(&self) -> Option<Count> {
        let least = self.numbers.into_iter().flatten().min_by_key(|step| step.abs())?;
        let clock = self.by_clock().filter(|clock| {
            // No number rises by less than one a volume.
            clock.signum() == least.signum() && clock.abs() <= least.abs() && least % clock == 0
        });
        let (n_volume, is_sure) = match clock {
            Some(clock) => (clock, true),
            // Maybe a gap, maybe numbers that count in steps.
            None => (least, least.abs() == 1),
        };
        Some(Count { n_volume, units: units(self.numbers, n_volume), is_sure })
    }

    /// How the numbers count, from two steps without a clock: in steps of what divides both.
    pub(super) fn count_with(&self, later: &Self) -> Option<Count> {
        let units: Units = std::array::from_fn(|at| {
            Some(divisor(self.numbers[at]?.abs(), later.numbers[at]?.abs()))
        });
        let at = units.iter().position(Option::is_some)?;
        let n_volume = self.numbers[at]? / units[at]?;
        Some(Count { n_volume, units, is_sure: true })
    }

    /// Volumes from one image to the other, the likeliest first; empty if nothing tells. `n_agreed`:
    /// how many steps before this one the clock agreed with the numbers.
    pub(super) fn candidates(&self, units: &Units, n_agreed: u32) -> Vec<i64> {
        let counted = |at: usize| {
            let (step, unit) = (self.numbers[at]?, units[at]?);
            (step % unit == 0).then_some(step / unit)
        };
        let mut told: Vec<i64> = (0..SOURCES.len()).filter_map(counted).collect();
        if told.is_empty() {
            told.extend(self.count().map(|count| count.n_volume));
        }
        let mut all = Vec::new();
        if let Some(&first) = told.first() {
            let clock = self.by_clock();
            let is_less =
                |clock: i64| clock.signum() == first.signum() && clock.abs() < first.abs();
            all.push(match clock {
                // The numbers leave some out, but no time passed in which these were acquired.
                Some(clock) if n_agreed >= STEPS_OF_TRUST && is_less(clock) => clock,
                Some(clock) if told.contains(&clock) => clock,
                _ => {
                    let same = told.iter().filter(|step| step.signum() == first.signum());
                    same.min_by_key(|step| step.abs()).copied().unwrap_or(first)
                }
            });
        }
        for step in told.into_iter().chain(self.by_order()) {
            if !all.contains(&step) {
                all.push(step);
            }
        }
        all
    }
}

/// The steps of numbers that rise evenly over so many volumes.
pub(super) fn units(numbers: [Option<i64>; 3], n_volume: i64) -> Units {
    numbers.map(|step| {
        let step = step?;
        let is_even = step % n_volume == 0 && step / n_volume > 0;
        is_even.then_some(step / n_volume)
    })
}

fn divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { divisor(b, a % b) }
}
