//! A volume as a scanner or a file delivers it, before it is a message.

use bytes::Bytes;
use corticast_bold::{
    decode::{Dtype, Order},
    time::TrIndex,
};
use corticast_wire::message::{VolumeHeader, VolumeMessage};

/// A volume as the scanner stored it.
#[derive(Clone, Debug, PartialEq)]
pub struct AcquiredVolume {
    /// Position in the run.
    pub index: TrIndex,
    /// Start of acquisition in seconds since the start of index 0, if the scanner reports it.
    pub acquisition_time_s: Option<f64>,
    /// Data type of one voxel.
    pub dtype: Dtype,
    /// Order of the voxels.
    pub order: Order,
    /// `signal = slope · stored + intercept`.
    pub slope: Option<f64>,
    /// See `slope`.
    pub intercept: Option<f64>,
    /// Time of day by the scanner's clock, `HH:MM:SS.ffffff`.
    pub scanner_wall_time: Option<String>,
    /// Little-endian voxels, exactly as many as the run's matrix has.
    pub voxels: Bytes,
}

impl AcquiredVolume {
    /// The message that carries this volume, for a run of this name.
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
