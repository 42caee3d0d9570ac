//! Spikes: volumes that moved or changed too much to be trusted.
//!
//! A volume is a spike if its FD or its DVARS lies above the session's threshold. Only the mark is
//! made here; what follows from it is the session's policy. A measure that does not exist (the
//! first volume, after a gap, no realignment) marks nothing. One that is NaN does: it cannot be
//! trusted.

use serde::{Deserialize, Serialize};

/// The largest values that are no spike.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SpikeThresholds {
    fd_mm: Option<f64>,
    dvars: Option<f64>,
}

/// A threshold that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the spike threshold of {measure} must be a positive number, got {found}")]
pub struct InvalidThreshold {
    /// Which measure.
    pub measure: &'static str,
    /// The threshold found.
    pub found: f64,
}

/// Which measures marked a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spike {
    /// Its FD is above the threshold.
    pub fd: bool,
    /// Its DVARS is above the threshold.
    pub dvars: bool,
}

impl Spike {
    /// Whether any measure marked the volume.
    #[must_use]
    pub fn any(self) -> bool {
        self.fd || self.dvars
    }
}

impl SpikeThresholds {
    /// FD in mm, DVARS in tenths of a percent; `None` turns a measure off. Power et al. 2012 use
    /// 0.5 mm and 5.
    ///
    /// # Errors
    ///
    /// Fails unless a threshold is positive and finite.
    pub fn new(fd_mm: Option<f64>, dvars: Option<f64>) -> Result<Self, InvalidThreshold> {
        for (measure, threshold) in [("FD, in mm,", fd_mm), ("DVARS", dvars)] {
            if let Some(found) = threshold.filter(|t| !(t.is_finite() && *t > 0.0)) {
                return Err(InvalidThreshold { measure, found });
            }
        }
        Ok(Self { fd_mm, dvars })
    }

    /// Judges a volume by its measures.
    #[must_use]
    pub fn judge(&self, fd_mm: Option<f64>, dvars: Option<f64>) -> Spike {
        let above = |found: Option<f64>, threshold: Option<f64>| {
            found.zip(threshold).is_some_and(|(found, most)| found.is_nan() || found > most)
        };
        Spike { fd: above(fd_mm, self.fd_mm), dvars: above(dvars, self.dvars) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measure_marks_by_its_own_threshold() {
        let thresholds = SpikeThresholds::new(Some(0.5), Some(5.0)).unwrap();
        let judge = |fd, dvars| thresholds.judge(fd, dvars);
        assert!(!judge(Some(0.5), Some(5.0)).any(), "at the threshold");
        assert_eq!(judge(Some(0.6), Some(1.0)), Spike { fd: true, dvars: false });
        assert_eq!(judge(Some(0.1), Some(5.1)), Spike { fd: false, dvars: true });
        assert!(!judge(None, None).any(), "the first volume");
        assert!(judge(Some(f64::NAN), None).fd, "cannot be trusted");
    }

    #[test]
    fn a_measure_without_threshold_marks_nothing() {
        let spike = SpikeThresholds::default().judge(Some(99.0), Some(99.0));
        assert!(!spike.any());
    }

    #[test]
    fn a_threshold_must_be_positive_and_finite() {
        let error = SpikeThresholds::new(Some(0.0), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the spike threshold of FD, in mm, must be a positive number, got 0"
        );
        assert!(SpikeThresholds::new(None, Some(f64::INFINITY)).is_err());
    }
}
