//! Which volume of its series an image is.
//!
//! Scanners write several numbers, and none of them is the volume's everywhere. The first of
//! temporal position, acquisition number, instance number and time of acquisition is believed
//! until it gives two images one number; then the next one counts on from there.

use std::collections::HashMap;

use corticast_bold::time::{RepetitionTime, TrIndex};

use super::{
    clock::{Moment, elapsed_us},
    scan::{MAX_NUMBER, Numbers},
};

/// What tells the volume's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Temporal,
    Acquisition,
    Instance,
    Time,
    Arrival,
}

const SCHEMES: [Scheme; 5] =
    [Scheme::Temporal, Scheme::Acquisition, Scheme::Instance, Scheme::Time, Scheme::Arrival];

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Temporal => "temporal position",
            Self::Acquisition => "AcquisitionNumber",
            Self::Instance => "InstanceNumber",
            Self::Time => "the time of acquisition",
            Self::Arrival => "order of arrival",
        }
    }
}

/// What is known of an image.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The numbers in its header.
    pub numbers: Numbers,
    /// When it was acquired.
    pub time: Option<Moment>,
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
    /// Its number is too large or too small.
    #[error("its number is {0}, expected 1 to {MAX_NUMBER}")]
    OutOfRange(i64),
}

/// The numbers of one series.
#[derive(Debug)]
pub struct Numbering {
    scheme: Option<Scheme>,
    offset: i64,
    seen: HashMap<TrIndex, Facts>,
    last: Option<(TrIndex, Facts)>,
    first_time: Option<Moment>,
    is_switched: bool,
}

impl Numbering {
    /// A series without images.
    #[must_use]
    pub fn new() -> Self {
        Self {
            scheme: None,
            offset: 0,
            seen: HashMap::new(),
            last: None,
            first_time: None,
            is_switched: false,
        }
    }

    /// Whether a number was found to name two images.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.is_switched
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Number of images that lack before the last one.
    #[must_use]
    pub fn n_missing(&self) -> usize {
        let last = self.seen.keys().map(|index| index.0 as usize + 1).max();
        last.unwrap_or(0).saturating_sub(self.seen.len())
    }

    /// The index of a further image. `repetition` is needed to count by time.
    ///
    /// # Errors
    ///
    /// Fails when the image came before, or has no number of its own.
    pub fn index(
        &mut self,
        facts: Facts,
        repetition: Option<RepetitionTime>,
    ) -> Result<TrIndex, NoNumber> {
        self.first_time = self.first_time.or(facts.time);
        let scheme = match self.scheme {
            Some(scheme) => scheme,
            None => {
                let usable = |scheme: &Scheme| self.raw(*scheme, &facts, repetition).is_some();
                SCHEMES.into_iter().find(usable).unwrap_or(Scheme::Arrival)
            }
        };
        self.scheme = Some(scheme);
        let raw = self.raw(scheme, &facts, repetition);
        let raw = raw.unwrap_or_else(|| self.next() - self.offset);
        let wanted = raw + self.offset;
        let Some(index) = in_range(wanted) else { return Err(NoNumber::OutOfRange(wanted + 1)) };
        let Some(same) = self.seen.get(&index) else { return Ok(self.accept(index, facts)) };
        if same.crc32 == facts.crc32 {
            return Err(NoNumber::Copy);
        }
        let index = self.go_on(index, scheme, &facts, repetition)?;
        Ok(self.accept(index, facts))
    }

    /// The index by the next number that tells this image from all before.
    fn go_on(
        &mut self,
        taken: TrIndex,
        scheme: Scheme,
        facts: &Facts,
        repetition: Option<RepetitionTime>,
    ) -> Result<TrIndex, NoNumber> {
        let Some((last_index, last)) = self.last else { return Err(NoNumber::Taken(taken)) };
        let later = SCHEMES.into_iter().skip_while(|s| *s != scheme).skip(1);
        for next in later.filter(|scheme| *scheme != Scheme::Arrival) {
            let raw = self.raw(next, facts, repetition).zip(self.raw(next, &last, repetition));
            let Some((raw, before)) = raw else { continue };
            let offset = i64::from(last_index.0) - before;
            let Some(index) = in_range(raw + offset) else { continue };
            if raw != before && !self.seen.contains_key(&index) {
                (self.scheme, self.offset, self.is_switched) = (Some(next), offset, true);
                tracing::warn!(
                    "{} gives two images one number; volumes are counted by {} from here on",
                    scheme.name(),
                    next.name()
                );
                return Ok(index);
            }
        }
        Err(NoNumber::Taken(taken))
    }

    fn accept(&mut self, index: TrIndex, facts: Facts) -> TrIndex {
        self.seen.insert(index, facts);
        self.last = Some((index, facts));
        index
    }

    fn next(&self) -> i64 {
        self.last.map_or(0, |(index, _)| i64::from(index.0) + 1)
    }

    /// The number that a scheme gives, from 0. `None` when it gives none.
    fn raw(
        &self,
        scheme: Scheme,
        facts: &Facts,
        repetition: Option<RepetitionTime>,
    ) -> Option<i64> {
        let Numbers { temporal, acquisition, instance } = facts.numbers;
        let less_one = |number: Option<u32>| number.map(|number| i64::from(number) - 1);
        match scheme {
            Scheme::Temporal => less_one(temporal),
            Scheme::Acquisition => less_one(acquisition),
            Scheme::Instance => less_one(instance),
            Scheme::Time => {
                let elapsed_s = elapsed_us(self.first_time?.us, facts.time?.us) as f64 / 1e6;
                Some((elapsed_s / repetition?.as_secs()).round() as i64)
            }
            Scheme::Arrival => Some(self.next() - self.offset),
        }
    }
}

fn in_range(index: i64) -> Option<TrIndex> {
    (0..MAX_NUMBER).contains(&index).then_some(TrIndex(index as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(acquisition: u32, instance: u32, second: i64) -> Facts {
        Facts {
            numbers: Numbers {
                temporal: None,
                acquisition: Some(acquisition),
                instance: Some(instance),
            },
            time: Some(Moment { day: 0, us: second * 1_000_000 }),
            crc32: acquisition * 1000 + instance * 10 + second as u32 * 100_000,
        }
    }

    fn indices(images: &[Facts]) -> Vec<Result<u32, NoNumber>> {
        let tr = RepetitionTime::from_secs(2.0).ok();
        let mut numbering = Numbering::new();
        images.iter().map(|facts| numbering.index(*facts, tr).map(|index| index.0)).collect()
    }

    #[test]
    fn acquisition_numbers_that_are_all_one_give_way_to_instance_numbers() {
        let images = [facts(1, 1, 0), facts(1, 2, 2), facts(1, 4, 6), facts(1, 3, 4)];
        assert_eq!(indices(&images), [Ok(0), Ok(1), Ok(3), Ok(2)]);
        // The adapter started late.
        assert_eq!(indices(&[facts(1, 5, 8), facts(1, 6, 10)]), [Ok(0), Ok(1)]);
    }

    #[test]
    fn numbers_that_are_all_one_or_start_anew_give_way_to_the_time() {
        assert_eq!(
            indices(&[facts(1, 1, 0), facts(1, 1, 2), facts(1, 1, 6)]),
            [Ok(0), Ok(1), Ok(3)]
        );
        let anew = [facts(1, 1, 0), facts(2, 2, 2), facts(1, 1, 10), facts(2, 2, 12)];
        assert_eq!(indices(&anew), [Ok(0), Ok(1), Ok(5), Ok(6)]);
    }

    #[test]
    fn copies_are_told_from_other_images_with_the_same_numbers() {
        let (first, second) = (facts(1, 1, 0), facts(2, 2, 2));
        let other = Facts { crc32: 7, ..second };
        let taken = Err(NoNumber::Taken(TrIndex(1)));
        assert_eq!(
            indices(&[first, second, second, other]),
            [Ok(0), Ok(1), Err(NoNumber::Copy), taken]
        );
    }
}
