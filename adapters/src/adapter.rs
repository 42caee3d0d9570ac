//! What every adapter is: a source of runs, and of the volumes of each run.

use std::path::PathBuf;

use bytes::Bytes;
use corticast_bold::{
    run::{InvalidEntity, RunHeader},
    space::{InvalidSpace, SpaceMismatch},
    time::{InvalidRepetitionTime, TrIndex},
};
use corticast_wire::message::{Dtype, Order, VolumeHeader, VolumeMessage};

use crate::nifti::write::WriteError;

/// A volume as the scanner stored it.
#[derive(Clone, Debug, PartialEq)]
pub struct AcquiredVolume {
    /// Position in the run.
    pub index: TrIndex,
    /// Start of acquisition, seconds since the start of index 0, where the scanner says so.
    pub acquisition_time_s: Option<f64>,
    /// How one voxel is stored.
    pub dtype: Dtype,
    /// Order of the voxels.
    pub order: Order,
    /// `signal = slope · stored + intercept`.
    pub slope: Option<f64>,
    /// See `slope`.
    pub intercept: Option<f64>,
    /// Time of day by the scanner's clock, `HH:MM:SS.ffffff`.
    pub scanner_wall_time: Option<String>,
    /// Little-endian voxels, exactly as many as the run's matrix asks for.
    pub voxels: Bytes,
}

impl AcquiredVolume {
    /// The message that carries this volume for the run of this name.
    #[must_use]
    pub fn into_message(self, run: &str) -> VolumeMessage {
        let header = VolumeHeader {
            run: run.to_owned(),
            index: self.index,
            acquisition_time_s: self.acquisition_time_s,
            dtype: self.dtype,
            shape: None,
            order: self.order,
            crc32: Some(crc32fast::hash(&self.voxels)),
            slope: self.slope,
            intercept: self.intercept,
            scanner_wall_time: self.scanner_wall_time,
        };
        VolumeMessage { header, voxels: self.voxels }
    }
}

/// One row of a BIDS `events.tsv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Start, seconds since the start of index 0.
    pub onset_s: f64,
    /// Length in seconds; 0 for an instant.
    pub duration_s: f64,
    /// Condition; `n/a` where the file has no `trial_type`.
    pub trial_type: String,
}

/// One way to get volumes out of a scanner, or out of something that stands in for one.
///
/// An adapter knows one vendor's way of delivering images, and nothing about what happens to
/// a volume afterwards. Volumes come in the order in which they became complete; a volume that
/// never did shows up as a gap in `index`.
pub trait ScannerAdapter: Send {
    /// Waits for a run to start. Returns its geometry and timing, before its first volume;
    /// `None` when there will be no further run.
    ///
    /// # Errors
    ///
    /// Fails when the scanner side cannot go on.
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError>;

    /// Waits for the next complete volume; `None` once the run is over.
    ///
    /// # Errors
    ///
    /// Fails when the scanner side cannot go on. A damaged image is skipped, logged, and shows
    /// up as a gap.
    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError>;

    /// Events known before the run starts, e.g. from a BIDS `events.tsv`.
    fn events(&self) -> &[Event] {
        &[]
    }
}

/// Why the scanner side cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// A volume has another matrix or affine than its run.
    #[error("{path}: {mismatch}")]
    Space {
        /// Which file.
        path: PathBuf,
        /// What differs.
        mismatch: SpaceMismatch,
    },
    /// The scan's geometry cannot be.
    #[error(transparent)]
    InvalidSpace(#[from] InvalidSpace),
    /// The scan's timing cannot be.
    #[error(transparent)]
    InvalidRepetitionTime(#[from] InvalidRepetitionTime),
    /// The run's name cannot be.
    #[error(transparent)]
    InvalidEntity(#[from] InvalidEntity),
    /// What comes cannot be written down as well.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The folder of real scans that tests read, from `CORTICAST_DATA`; says loudly when there is
/// none.
#[cfg(test)]
pub(crate) fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("CORTICAST_DATA").map(PathBuf::from).filter(|f| f.is_dir());
    if folder.is_none() {
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        eprintln!("NOT RUN: {name}: CORTICAST_DATA names no folder of real scans");
    }
    folder
}

/// What every adapter holds to; each adapter's tests run it.
#[cfg(test)]
pub(crate) mod contract {
    use std::collections::HashSet;

    use super::{AcquiredVolume, RunHeader, ScannerAdapter};

    /// Runs the adapter to its end and checks what it gave.
    pub(crate) fn holds(adapter: &mut dyn ScannerAdapter) -> Vec<(RunHeader, Vec<AcquiredVolume>)> {
        let mut runs = Vec::new();
        let mut names = HashSet::new();
        while let Some(header) = adapter.start_run().expect("a run starts") {
            assert!(!header.series_id.is_empty(), "an acquisition can be told from another");
            assert!(
                names.insert((header.run_id(), header.series_id.clone())),
                "two runs of one adapter differ in name or series"
            );
            let onsets: Vec<f64> = adapter.events().iter().map(|event| event.onset_s).collect();
            assert!(onsets.is_sorted(), "events come by onset");
            let mut volumes = Vec::new();
            while let Some(volume) = adapter.next_volume().expect("a volume comes") {
                let message = volume.clone().into_message(&header.run_id());
                message.check(&header.space).expect("a volume fits its run");
                volumes.push(volume);
            }
            let after = adapter.next_volume().expect("a run that is over stays over");
            assert_eq!(after, None);
            runs.push((header, volumes));
        }
        assert!(adapter.start_run().expect("no further run").is_none());
        runs
    }
}
