//! Time in the units of fMRI: volumes, repetition times, seconds of stimulus.
//!
//! Time 0 of a run is the start of the acquisition of volume index 0, discarded volumes
//! included. A volume's time is the *start* of its acquisition.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Position of a volume in its run, from 0. Volumes that never arrived keep their index.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct TrIndex(pub u32);

impl TrIndex {
    /// The volume after this one. Saturates at `u32::MAX`, which no run reaches.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for TrIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "volume {}", self.0)
    }
}

/// Repetition time: seconds from the start of one volume to the start of the next.
///
/// This is BIDS `RepetitionTime`. DICOM (0018,0080) holds the same quantity in milliseconds;
/// adapters convert once, in [`RepetitionTime::from_dicom_ms`].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct RepetitionTime(f64);

/// An invalid repetition time.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("a repetition time must be positive, finite and at most 60 s, got {0} s")]
pub struct InvalidRepetitionTime(pub f64);

impl RepetitionTime {
    /// A repetition time in seconds.
    ///
    /// # Errors
    ///
    /// Fails unless the value is positive, finite and at most 60 s: a larger value is most likely
    /// in milliseconds.
    pub fn from_secs(seconds: f64) -> Result<Self, InvalidRepetitionTime> {
        if seconds.is_finite() && seconds > 0.0 && seconds <= 60.0 {
            Ok(Self(seconds))
        } else {
            Err(InvalidRepetitionTime(seconds))
        }
    }

    /// A repetition time from DICOM (0018,0080), in milliseconds.
    ///
    /// # Errors
    ///
    /// As [`RepetitionTime::from_secs`].
    pub fn from_dicom_ms(milliseconds: f64) -> Result<Self, InvalidRepetitionTime> {
        Self::from_secs(milliseconds / 1000.0)
    }

    /// Seconds.
    #[must_use]
    pub fn as_secs(self) -> f64 {
        self.0
    }

    /// Start of the acquisition of a volume, in seconds since the run's start, if the scanner
    /// keeps the repetition time exactly.
    #[must_use]
    pub fn start_of(self, tr: TrIndex) -> f64 {
        self.0 * f64::from(tr.0)
    }

    /// Whether two repetition times differ by less than 0.1 ms, which is less than a scanner's
    /// own rounding.
    #[must_use]
    pub fn agrees_with(self, other: Self) -> bool {
        (self.0 - other.0).abs() < 1e-4
    }
}

impl TryFrom<f64> for RepetitionTime {
    type Error = InvalidRepetitionTime;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        Self::from_secs(seconds)
    }
}

impl From<RepetitionTime> for f64 {
    fn from(time: RepetitionTime) -> Self {
        time.0
    }
}

impl fmt::Display for RepetitionTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_taken_for_seconds_are_refused() {
        assert_eq!(RepetitionTime::from_secs(2500.0), Err(InvalidRepetitionTime(2500.0)));
        assert!(RepetitionTime::from_secs(f64::NAN).is_err());
        assert_eq!(
            RepetitionTime::from_dicom_ms(2500.0).unwrap().as_secs().to_bits(),
            2.5f64.to_bits()
        );
    }
}
