//! A run: its name, geometry and timing, known before its first volume.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{settings::Axis, space::VoxelSpace, time::RepetitionTime};

/// The BIDS entities that name a run. Values come without their key: `01`, not `sub-01`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntities {
    /// Subject label (a pseudonym; never a patient's identity).
    pub sub: String,
    /// Session label.
    pub ses: Option<String>,
    /// Task label.
    pub task: Option<String>,
    /// Run label.
    pub run: Option<String>,
}

/// An entity value that BIDS does not allow.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("BIDS entity `{key}` must be 1 to 64 letters, digits or `+`, got `{value}`")]
pub struct InvalidEntity {
    /// Which entity.
    pub key: &'static str,
    /// The value found.
    pub value: String,
}

impl RunEntities {
    /// Checks the values; a prefix that repeats the key (`sub-01`) is removed.
    ///
    /// # Errors
    ///
    /// Fails when a value holds anything but letters, digits and `+`, because values become part
    /// of file names and metric labels, or when there is no subject.
    pub fn checked(
        sub: &str,
        ses: Option<&str>,
        task: Option<&str>,
        run: Option<&str>,
    ) -> Result<Self, InvalidEntity> {
        let label = |key: &'static str, value: &str| {
            let bare = value.strip_prefix(key).and_then(|v| v.strip_prefix('-')).unwrap_or(value);
            let fine = (1..=64).contains(&bare.len())
                && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '+');
            if fine {
                Ok(bare.to_owned())
            } else {
                Err(InvalidEntity { key, value: value.chars().take(80).collect() })
            }
        };
        Ok(Self {
            sub: label("sub", sub)?,
            ses: ses.map(|v| label("ses", v)).transpose()?,
            task: task.map(|v| label("task", v)).transpose()?,
            run: run.map(|v| label("run", v)).transpose()?,
        })
    }

    /// Reads the entities out of a name such as `sub-01_ses-02_task-movie_run-1_bold.nii.gz`.
    /// Keys other than the four are ignored. `None` when there is no `sub-`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let stem = name.split('.').next().unwrap_or(name);
        let value =
            |key: &str| stem.split('_').find_map(|part| part.strip_prefix(key)?.strip_prefix('-'));
        Self::checked(value("sub")?, value("ses"), value("task"), value("run")).ok()
    }
}

/// The run's name as BIDS writes it: `sub-01_ses-02_task-movie_run-1`.
impl fmt::Display for RunEntities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sub-{}", self.sub)?;
        for (key, value) in [("ses", &self.ses), ("task", &self.task), ("run", &self.run)] {
            if let Some(value) = value {
                write!(f, "_{key}-{value}")?;
            }
        }
        Ok(())
    }
}

/// When the slices of each volume are acquired, as the scanner states it.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceTimes {
    /// Seconds after the start of the volume, one for each slice in the order of the run's matrix.
    pub times_s: Vec<f64>,
    /// The axis of the run's matrix along which the slices lie.
    pub axis: Axis,
}

impl SliceTimes {
    /// Longest time from the start of a volume to one of its slices, in s: the longest TR.
    pub const MAX_S: f64 = 60.0;

    /// Times that a scanner or a file states, if they can be slice times: one for each slice of the
    /// matrix, each within the longest TR, and not all at one time.
    #[must_use]
    pub fn checked(times_s: Vec<f64>, axis: Axis, matrix: [usize; 3]) -> Option<Self> {
        let is_in_range = times_s.iter().all(|time| (0.0..=Self::MAX_S).contains(time));
        let differ = times_s.iter().any(|time| (time - times_s[0]).abs() > 1e-4);
        let fits = times_s.len() == matrix[axis.position()];
        (fits && is_in_range && differ).then_some(Self { times_s, axis })
    }
}

/// A run as the adapter announces it before the first volume.
#[derive(Clone, Debug, PartialEq)]
pub struct RunHeader {
    /// Name of the session the run belongs to, as the adapter sent it.
    pub session: String,
    /// BIDS entities.
    pub entities: RunEntities,
    /// Time between volumes.
    pub repetition_time: RepetitionTime,
    /// Matrix and affine of every volume.
    pub space: VoxelSpace,
    /// Volumes in the scan protocol, if the scanner reports them.
    pub n_volumes: Option<u32>,
    /// Name of the adapter and of its data source.
    pub source: String,
    /// Distinguishes repeated acquisitions of this run, e.g. a hash of the DICOM
    /// SeriesInstanceUID. Two messages with the same name and series are the same run.
    pub series_id: String,
    /// When slices are acquired, if the scanner states it.
    pub slice_times: Option<SliceTimes>,
}

impl RunHeader {
    /// The run's name: its BIDS entities.
    #[must_use]
    pub fn run_id(&self) -> String {
        self.entities.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_as_bids_does() {
        let name = "sub-01_ses-02_task-movie_acq-mb4_run-1_bold.nii.gz";
        let entities = RunEntities::from_name(name).unwrap();
        assert_eq!(entities.to_string(), "sub-01_ses-02_task-movie_run-1");
        assert_eq!(RunEntities::from_name("bold.nii"), None);
    }

    #[test]
    fn only_times_that_can_be_of_slices_are_taken() {
        let checked = |times_s: &[f64]| SliceTimes::checked(times_s.to_vec(), Axis::Y, [9, 3, 9]);
        assert!(checked(&[0.0, 1.0, 0.5]).is_some());
        for wrong in [&[0.0, 1.0][..], &[0.0; 3], &[], &[0.0, 500.0, 1.0], &[0.0, f64::NAN, 1.0]] {
            assert_eq!(checked(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_label_that_would_leave_its_folder_is_refused() {
        let error = RunEntities::checked("../../etc", None, None, None).unwrap_err();
        assert_eq!(error.key, "sub");
        assert_eq!(RunEntities::checked("sub-01", None, None, None).unwrap().sub, "01");
    }
}
