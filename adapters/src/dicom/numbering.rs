//! Which volume of its series an image is.
//!
//! Scanners write several numbers, and none of them is the volume's everywhere: one is the same in
//! all images, one counts in steps (10, 20, 30) or begins anywhere, one begins anew. So numbers and
//! times are evidence (`evidence`), and only two images show how a number counts:
//!
//! ```text
//! AcquisitionNumber   10   20   40        counts in steps of 10
//! InstanceNumber       1    1    1        does not count
//! time / TR            0    1    3        index 0, 1, 3: one volume lacks
//! ```
//!
//! A series has therefore *begun* only with its second image: until then, the index of the first can
//! change. If no number differs, the times put the images in order, and an image that is earlier
//! than all others may still come; so the caller waits a little ([`Numbering::wait_trs`]) and then
//! calls [`Numbering::begin`].

mod evidence;

use std::collections::HashMap;

use corticast_bold::time::{RepetitionTime, TrIndex};

use self::evidence::{Count, SOURCES, Step, Units, units};
use super::{
    clock::Moment,
    scan::{MAX_NUMBER, Numbers},
};

/// The first image waits so long for the second, in repetition times.
const WAIT_TRS: f64 = 1.5;
/// It waits so long for the third, if two do not show how the numbers count.
const WAIT_UNSURE_TRS: f64 = 2.5;
/// So many images begin a series, whatever they show.
const MOST_BEFORE_BEGIN: usize = 8;
/// Images without numbers whose times are this close together, in volumes, are put one after another.
const MOST_CROWDED: i64 = 8;

/// What is known of an image.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The numbers in its header.
    pub numbers: Numbers,
    /// When it was acquired.
    pub time: Option<Moment>,
    /// When its content was made.
    pub content: Option<Moment>,
    /// The volume was put together by counting images, so it follows the one before.
    pub is_counted: bool,
    /// Checksum of its voxels.
    pub crc32: u32,
}

/// Why an image has no number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoNumber {
    /// The same voxels came before.
    #[error("the same image arrived before")]
    Copy,
    /// Another image has all its numbers.
    #[error("another image with the numbers of {0} arrived before and is kept")]
    Taken(TrIndex),
    /// It is earlier than the first volume, which was passed on.
    #[error("it was acquired {0} volumes before the first one, which was sent already")]
    TooEarly(u64),
    /// Its number is too large.
    #[error("its number is {0}, expected 1 to {MAX_NUMBER}")]
    OutOfRange(i64),
}

/// The numbers of one series.
#[derive(Debug, Default)]
pub struct Numbering {
    units: Units,
    /// The images by index, with their checksums. Relative to the first one that came, until the series has begun.
    seen: HashMap<i64, u32>,
    last: Option<(i64, Facts)>,
    /// The images that came before the series began.
    first: Vec<(i64, Facts)>,
    is_begun: bool,
    /// The index of the first one that came.
    base: i64,
    /// How many steps in a row the clock agreed with the numbers.
    n_agreed: u32,
    is_unsure: bool,
    is_doubtful: bool,
}

impl Numbering {
    /// Whether the most believed number does not tell the volumes apart.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// Whether the indices of the images so far are final.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// How long the images so far should wait for another one, in repetition times.
    #[must_use]
    pub fn wait_trs(&self) -> f64 {
        if self.is_unsure { WAIT_UNSURE_TRS } else { WAIT_TRS }
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Number of images that lack before the last one.
    #[must_use]
    pub fn n_missing(&self) -> usize {
        let last = self.seen.keys().max().map_or(0, |index| self.absolute(*index) + 1);
        usize::try_from(last).unwrap_or(0).saturating_sub(self.seen.len())
    }

    /// The indices of the images that came before the series began, in order of arrival.
    pub fn first_indices(&self) -> impl Iterator<Item = TrIndex> {
        self.first.iter().map(|(index, _)| TrIndex(self.absolute(*index).max(0) as u32))
    }

    /// The images so far wait for no other one.
    pub fn begin(&mut self) {
        if !self.is_begun && !self.first.is_empty() {
            self.is_begun = true;
            self.tell();
        }
    }

    /// The index of a further image. While the series has not begun, the indices of all images can
    /// change with it.
    ///
    /// # Errors
    ///
    /// Fails when the image came before, or has no number of its own.
    pub fn index(
        &mut self,
        facts: Facts,
        repetition: Option<RepetitionTime>,
    ) -> Result<TrIndex, NoNumber> {
        let index = self.place(facts, repetition)?;
        if !self.is_begun {
            self.first.push((index, facts));
            self.count(repetition);
        }
        let at = self.last.map_or(index, |(last, _)| last);
        Ok(TrIndex(self.absolute(at).max(0) as u32))
    }

    /// Finds the place of an image beside the last one, and takes it.
    fn place(&mut self, facts: Facts, repetition: Option<RepetitionTime>) -> Result<i64, NoNumber> {
        let Some((last, before)) = self.last else {
            self.last = Some((0, facts));
            self.seen.insert(0, facts.crc32);
            return Ok(0);
        };
        let step = Step::between(&before, &facts, repetition);
        let mut candidates = step.candidates(&self.units, self.n_agreed);
        if candidates.is_empty() {
            let next = self.seen.keys().max().map_or(0, |largest| largest + 1);
            candidates.push(if facts.is_counted { next - last } else { 0 });
        }
        let wanted = last + candidates[0];
        if self.seen.get(&wanted) == Some(&facts.crc32) {
            return Err(NoNumber::Copy);
        }
        let mut free = candidates.iter().map(|n| last + n).find(|index| self.is_free(*index));
        if free.is_none() && step.numbers == [None; 3] && step.is_timed() {
            // The times are not exact.
            let way = candidates[0].signum();
            free = (1..MOST_CROWDED).map(|n| wanted + way * n).find(|index| self.is_free(*index));
        }
        let index = free.ok_or_else(|| self.no_place(wanted))?;
        self.note(&step, index - last, index != wanted);
        self.seen.insert(index, facts.crc32);
        self.last = Some((index, facts));
        Ok(index)
    }

    fn is_free(&self, index: i64) -> bool {
        let is_early = self.is_begun && self.absolute(index) < 0;
        !self.seen.contains_key(&index) && !is_early && self.absolute(index) < MAX_NUMBER
    }

    fn no_place(&self, wanted: i64) -> NoNumber {
        let index = self.absolute(wanted);
        match u32::try_from(index) {
            Err(_) if index < 0 => NoNumber::TooEarly(index.unsigned_abs()),
            Ok(index) if i64::from(index) < MAX_NUMBER => NoNumber::Taken(TrIndex(index)),
            _ => NoNumber::OutOfRange(index + 1),
        }
    }

    /// Learns from a step of so many volumes. `is_anew`: the numbers say another one.
    fn note(&mut self, step: &Step, n_volume: i64, is_anew: bool) {
        match step.by_clock() {
            Some(clock) if clock == n_volume => self.n_agreed += 1,
            _ if step.is_timed() => self.n_agreed = 0,
            _ => {}
        }
        if self.is_begun {
            // A number that moves for the first time.
            let new = units(step.numbers, n_volume);
            self.units.iter_mut().zip(new).for_each(|(unit, new)| *unit = unit.or(new));
        }
        let counting = step.numbers.iter().position(Option::is_some);
        let misled = if is_anew { counting } else { step.stuck };
        if let Some(at) = misled.filter(|_| !self.is_doubtful) {
            self.is_doubtful = true;
            let other = counting.filter(|_| !is_anew).map(|other| SOURCES[other]);
            tracing::warn!(
                "{} gives two images one number; volumes are counted by {}",
                SOURCES[at],
                other.unwrap_or("the time of acquisition")
            );
        }
    }

    /// Decides from the first images how the numbers count, and where they begin.
    fn count(&mut self, repetition: Option<RepetitionTime>) {
        let steps: Vec<Step> = self
            .first
            .windows(2)
            .map(|pair| Step::between(&pair[0].1, &pair[1].1, repetition))
            .collect();
        let counts: Vec<Count> = steps.iter().filter_map(Step::count).collect();
        let both = steps.windows(2).find_map(|two| two[0].count_with(&two[1]));
        let sure = counts.iter().find(|count| count.is_sure).copied().or(both);
        if let Some(count) = sure.or(counts.first().copied()) {
            self.units = count.units;
            self.is_unsure = !count.is_sure;
            self.place_again(repetition);
        }
        self.base = self.start();
        let is_enough = sure.is_some() || self.first.len() >= MOST_BEFORE_BEGIN;
        if is_enough {
            self.begin();
        }
    }

    /// Places the first images anew, now that it is known how the numbers count.
    fn place_again(&mut self, repetition: Option<RepetitionTime>) {
        let images = std::mem::take(&mut self.first);
        let mut again = Self { units: self.units, is_doubtful: true, ..Self::default() };
        for (_, facts) in &images {
            match again.place(*facts, repetition) {
                Ok(index) => again.first.push((index, *facts)),
                Err(_) => {
                    self.first = images;
                    return;
                }
            }
        }
        (self.seen, self.last, self.first) = (again.seen, again.last, again.first);
    }

    /// The index of the first image that came: the least that a number which counts gives.
    fn start(&self) -> i64 {
        let Some((earliest, facts)) = self.first.iter().min_by_key(|(index, _)| *index) else {
            return 0;
        };
        let numbers = facts.numbers();
        let index = match self.first.len() {
            1 => numbers.iter().flatten().map(|number| number - 1).min(),
            _ => {
                let counted = numbers.iter().zip(self.units);
                counted.filter_map(|(number, unit)| Some(((*number)? - 1) / unit?)).min()
            }
        };
        index.unwrap_or(0).max(0) - earliest
    }

    /// Tells the operator how the number counts that is believed, if not by one.
    fn tell(&self) {
        let at = self.units.iter().position(Option::is_some);
        if let Some((at, unit)) = at.and_then(|at| Some((at, self.units[at]?)))
            && unit > 1
        {
            tracing::info!(
                "{} counts in steps of {unit}: its numbers are taken as volumes one after another",
                SOURCES[at]
            );
        }
    }

    fn absolute(&self, index: i64) -> i64 {
        index + self.base
    }
}

#[cfg(test)]
mod tests;
