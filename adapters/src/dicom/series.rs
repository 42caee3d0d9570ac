//! One series: the volumes that have arrived, and the acquisition time of each.
//!
//! The same image can appear twice in a folder (copies, retries, a scanner that writes under two
//! names). So its own identifier and its number in the series identify an image, never the file's
//! name. Acquisition times are times of day; they are used while they match the repetition time.

use std::collections::HashSet;

use corticast_bold::{run::RunHeader, space::SpaceMismatch, time::TrIndex};

use super::{clock::elapsed_us, image::Image};

/// Why an image is not a further volume of its series.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The same image arrived before.
    #[error("the same image arrived before")]
    SameImage,
    /// Another image with the same number arrived before.
    #[error("another image of {0} arrived before and is kept")]
    SameNumber(TrIndex),
    /// The matrix of the image differs from that of the series.
    #[error("matrix is {found:?}, expected {expected:?}")]
    Matrix {
        /// Voxels along x, y, z of the image.
        found: [usize; 3],
        /// Voxels along x, y, z of the first image.
        expected: [usize; 3],
    },
    /// The repetition time of the image differs from that of the series.
    #[error("repetition time is {found} s, expected {expected} s")]
    RepetitionTime {
        /// Repetition time of the image, in seconds.
        found: f64,
        /// Repetition time of the first image, in seconds.
        expected: f64,
    },
}

/// Decision on an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A further volume of its series, to be delivered.
    Volume,
    /// The image arrived before.
    Duplicate,
    /// The image does not match its series, or its series is over.
    Refused,
}

/// State of one series.
#[derive(Debug)]
pub struct Series {
    /// The run header from its first image.
    pub header: RunHeader,
    /// Whether another series has begun, so that volumes of this one are no longer delivered.
    pub over: bool,
    numbers: HashSet<TrIndex>,
    instances: HashSet<u64>,
    /// Time of day at which index 0 began.
    start_us: Option<i64>,
    warned_of_time: bool,
    warned_of_affine: bool,
}

impl Series {
    /// A series without volumes.
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

    /// Decides whether an image is delivered, and logs the reason if not.
    pub fn place(&mut self, image: &Image, file: &str) -> Place {
        match self.accept(image) {
            Ok(()) if self.over => {
                tracing::warn!(
                    file, index = %image.index,
                    "volume skipped: another series has begun (--series selects one)"
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

    /// Registers an image that is to be delivered.
    ///
    /// # Errors
    ///
    /// Fails when the image is not a further volume of this series.
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
            // Scanners with prospective motion correction move the slices with the head.
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

    /// Whether as many volumes were delivered as the header announces.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.header.n_volumes.is_some_and(|n| self.numbers.len() >= n as usize)
    }

    /// Number of missing volumes before the last delivered one.
    #[must_use]
    pub fn n_missing(&self) -> usize {
        let last = self.numbers.iter().map(|index| index.0 as usize + 1).max();
        last.unwrap_or(0) - self.numbers.len()
    }

    /// Start of acquisition, in seconds since the start of index 0.
    ///
    /// The scanner's clock is used while it stays within half a repetition time of the time
    /// computed from index and repetition time. Otherwise (clock adjusted, times anonymised) the
    /// computed time is used.
    pub fn acquisition_time_s(&mut self, image: &Image) -> Option<f64> {
        let time_us = image.time_of_day_us?;
        let beat_s = self.header.repetition_time.start_of(image.index);
        let start_us = *self.start_us.get_or_insert(time_us - (beat_s * 1e6).round() as i64);
        let clock_s = elapsed_us(start_us, time_us) as f64 / 1e6;
        // For a run longer than half a day the clock wraps around, and the computed time is used.
        if (clock_s - beat_s).abs() <= self.header.repetition_time.as_secs() / 2.0 {
            return Some(clock_s);
        }
        if !self.warned_of_time {
            self.warned_of_time = true;
            tracing::warn!(
                index = %image.index, clock_s, beat_s,
                "acquisition times do not match the repetition time; using the repetition time"
            );
        }
        Some(beat_s)
    }
}

/// The label of the series that follows `further` series after the one labelled `first`.
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
