//! One series: which of its volumes came already, and when each was acquired.
//!
//! A folder hands out the same image twice (copies, retries, a scanner that writes under two
//! names), so an image is known by its own identifier and by its number in the series, never by
//! its file's name. Acquisition times are times of day; they are used as long as they keep
//! the beat of the repetition time.

use std::collections::HashSet;

use corticast_bold::{run::RunHeader, space::SpaceMismatch, time::TrIndex};

use super::{clock::elapsed_us, image::Image};

/// Why an image is not a further volume of its series.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The very same image.
    #[error("the same image came before")]
    SameImage,
    /// Another image with the same number.
    #[error("{0} came before as another image, the first is kept")]
    SameNumber(TrIndex),
    /// The image has another matrix than the series.
    #[error("matrix is {found:?}, expected {expected:?}")]
    Matrix {
        /// Voxels along x, y, z of the image.
        found: [usize; 3],
        /// Voxels along x, y, z of the first image.
        expected: [usize; 3],
    },
    /// Another repetition time than the series.
    #[error("repetition time is {found} s, expected {expected} s")]
    RepetitionTime {
        /// What the image says.
        found: f64,
        /// What the first image said.
        expected: f64,
    },
}

/// What becomes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A further volume of its series, to be handed on.
    Volume,
    /// It came before.
    Duplicate,
    /// It does not fit its series, or its series is over.
    Refused,
}

/// What is known of a series.
#[derive(Debug)]
pub struct Series {
    /// What its first image said.
    pub header: RunHeader,
    /// Whether another series began since: its volumes are no longer handed on.
    pub over: bool,
    numbers: HashSet<TrIndex>,
    instances: HashSet<u64>,
    /// Time of day at which index 0 began.
    start_us: Option<i64>,
    warned_of_time: bool,
    warned_of_affine: bool,
}

impl Series {
    /// A series of which nothing came yet.
    #[must_use]
    pub fn new(header: RunHeader) -> Self {
        Self {
            header,
            over: false,
            numbers: HashSet::new(),
            instances: HashSet::new(),
            start_us: None,
            warned_of_time: false,
            warned_of_affine: false,
        }
    }

    /// Decides what becomes of an image, and logs why it is not handed on.
    pub fn place(&mut self, image: &Image, file: &str) -> Place {
        match self.accept(image) {
            Ok(()) if self.over => {
                tracing::warn!(
                    file, index = %image.index,
                    "volume skipped, another series began since (--series takes only one)"
                );
                Place::Refused
            }
            Ok(()) => Place::Volume,
            Err(reason @ Refusal::SameImage) => {
                tracing::debug!(file, %reason, "file skipped");
                Place::Duplicate
            }
            Err(reason @ Refusal::SameNumber(_)) => {
                tracing::warn!(file, %reason, "file skipped");
                Place::Duplicate
            }
            Err(reason) => {
                tracing::warn!(file, %reason, "file skipped");
                Place::Refused
            }
        }
    }

    /// Takes note of an image that is to be handed on.
    ///
    /// # Errors
    ///
    /// Fails when it is not a further volume of this series.
    fn accept(&mut self, image: &Image) -> Result<(), Refusal> {
        if !self.instances.insert(image.instance) {
            return Err(Refusal::SameImage);
        }
        let expected = self.header.repetition_time;
        if !image.repetition_time.agrees_with(expected) {
            let (found, expected) = (image.repetition_time.as_secs(), expected.as_secs());
            return Err(Refusal::RepetitionTime { found, expected });
        }
        match image.space.check_is(&self.header.space) {
            Err(SpaceMismatch::Matrix { found, expected }) => {
                return Err(Refusal::Matrix { found, expected });
            }
            // Scanners that follow the head move the slices with it, on purpose.
            Err(mismatch @ SpaceMismatch::Affine { .. }) if !self.warned_of_affine => {
                self.warned_of_affine = true;
                tracing::warn!(index = %image.index, %mismatch, "slices moved during the run");
            }
            _ => {}
        }
        if !self.numbers.insert(image.index) {
            return Err(Refusal::SameNumber(image.index));
        }
        Ok(())
    }

    /// Whether every volume that the header promises was handed on.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.header.n_volumes.is_some_and(|n| self.numbers.len() >= n as usize)
    }

    /// Volumes that never came, up to the last that did.
    #[must_use]
    pub fn n_missing(&self) -> usize {
        let last = self.numbers.iter().map(|index| index.0 as usize + 1).max();
        last.unwrap_or(0) - self.numbers.len()
    }

    /// Start of acquisition, in seconds since the start of index 0.
    ///
    /// The scanner's clock is used while it stays within half a repetition time of the beat;
    /// otherwise the beat is used (a clock that was set, or times that were scrubbed).
    pub fn acquisition_time_s(&mut self, image: &Image) -> Option<f64> {
        let time_us = image.time_of_day_us?;
        let beat_s = self.header.repetition_time.start_of(image.index);
        let start_us = *self.start_us.get_or_insert(time_us - (beat_s * 1e6).round() as i64);
        let clock_s = elapsed_us(start_us, time_us) as f64 / 1e6;
        // A run of more than half a day comes round again.
        if (clock_s - beat_s).abs() <= self.header.repetition_time.as_secs() / 2.0 {
            return Some(clock_s);
        }
        if !self.warned_of_time {
            self.warned_of_time = true;
            tracing::warn!(
                index = %image.index, clock_s, beat_s,
                "acquisition times do not keep the repetition time, which is used instead"
            );
        }
        Some(beat_s)
    }
}

/// The label of the `further`th series after the one that was named `first`.
#[must_use]
pub fn run_label(first: &str, further: u64) -> String {
    match first.parse::<u64>() {
        _ if further == 0 => first.to_owned(),
        Ok(number) => format!("{:0width$}", number.saturating_add(further), width = first.len()),
        Err(_) => format!("{first}{}", further + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::fixture;

    fn image(number: u32, time: &str) -> Image {
        let edits = [(fixture::ACQUISITION_TIME, time)];
        Image::parse(&fixture::volume("skyra", number, &edits)).unwrap().0
    }

    fn series(first: &Image) -> Series {
        Series::new(RunHeader {
            session: String::new(),
            entities: corticast_bold::run::RunEntities::default(),
            repetition_time: first.repetition_time,
            space: first.space.clone(),
            n_volumes: Some(2),
            source: String::new(),
            series_id: first.series_id.clone(),
        })
    }

    /// Acquisition times, in units of a millisecond.
    fn times_ms(images: &[Image]) -> Vec<i64> {
        let mut series = series(&images[0]);
        let time = |image| (series.acquisition_time_s(image).unwrap() * 1e3).round() as i64;
        images.iter().map(time).collect()
    }

    #[test]
    fn the_clock_is_believed_while_it_keeps_the_beat_also_past_midnight() {
        let images = [image(1, "235958.5"), image(2, "000000.010"), image(3, "000001.480")];
        assert_eq!(times_ms(&images), [0, 1510, 2980]);
    }

    #[test]
    fn a_clock_that_jumps_is_replaced_by_the_beat() {
        let images = [image(1, "100000"), image(2, "110000"), image(3, "100003.0")];
        assert_eq!(times_ms(&images), [0, 1500, 3000]);
    }

    #[test]
    fn the_start_is_reckoned_back_when_the_first_volume_was_not_seen() {
        let images = [image(5, "100006.0"), image(6, "100007.6"), image(1, "100000")];
        assert_eq!(times_ms(&images), [6000, 7600, 0]);
    }

    #[test]
    fn an_image_is_one_volume_whatever_it_is_called() {
        let (first, second) = (image(1, "100000"), image(2, "100001.5"));
        let mut series = series(&first);
        assert_eq!(series.accept(&second), Ok(()));
        assert_eq!(series.n_missing(), 1);
        assert_eq!(series.accept(&second), Err(Refusal::SameImage));
        let other = Image { instance: 7, ..second };
        assert_eq!(series.accept(&other), Err(Refusal::SameNumber(TrIndex(1))));
        assert!(!series.is_complete());
        assert_eq!(series.accept(&first), Ok(()));
        assert!(series.is_complete());
    }

    #[test]
    fn further_series_are_further_runs() {
        let labels = [run_label("01", 0), run_label("01", 9), run_label("loc", 1)];
        assert_eq!(labels, ["01", "10", "loc2"]);
    }
}
