//! `vol`: one volume, as the scanner stored it.
//!
//! A volume is checked against its run before its voxels are used: matrix, number of bytes,
//! checksum.

use bytes::Bytes;
use corticast_bold::{
    decode::{Dtype, Order, StoredVolume},
    run::RunHeader,
    space::VoxelSpace,
    time::TrIndex,
};
use serde::{Deserialize, Serialize};

use super::{error::MessageError, run::run_name};

/// `vol`: one volume. With its voxels frame it is a [`VolumeMessage`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeHeader {
    /// Name of the run, from `ready`. A map of BIDS entities is accepted too.
    #[serde(deserialize_with = "run_name", alias = "run_id")]
    pub run: String,
    /// Position in the run, from 0.
    pub index: TrIndex,
    /// Start of acquisition, seconds since the start of index 0. Absent: `index · TR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquisition_time_s: Option<f64>,
    /// How one voxel is stored.
    pub dtype: Dtype,
    /// Voxels along x, y, z. Absent: the run's matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
    /// Order of the voxels.
    #[serde(default)]
    pub order: Order,
    /// CRC-32/ISO-HDLC of the voxel bytes as sent. Absent: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32: Option<u32>,
    /// `signal = slope · stored + intercept`. Absent or 0: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slope: Option<f64>,
    /// See `slope`. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intercept: Option<f64>,
    /// Time of day by the scanner's clock, if the scanner sends one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanner_wall_time: Option<String>,
}

/// A volume on the wire. Its bytes are exactly those that the scanner stored.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeMessage {
    /// Describes the bytes.
    pub header: VolumeHeader,
    /// Raw voxels.
    pub voxels: Bytes,
}

impl VolumeMessage {
    /// Checks the volume against its run: matrix, size, checksum.
    ///
    /// # Errors
    ///
    /// Fails when matrix, size or checksum differ. Later volumes are unaffected.
    pub fn check(&self, space: &VoxelSpace) -> Result<(), MessageError> {
        let tr = self.header.index;
        if let Some(shape) = &self.header.shape
            && shape.as_slice() != space.matrix()
        {
            let found = shape.iter().copied().take(8).collect();
            return Err(MessageError::WrongMatrix { tr, found, expected: space.matrix() });
        }
        let expected = space.n_voxel() * self.header.dtype.size_bytes();
        if self.voxels.len() != expected {
            return Err(MessageError::Truncated { tr, found: self.voxels.len(), expected });
        }
        if let Some(expected) = self.header.crc32 {
            let found = crc32fast::hash(&self.voxels);
            if found != expected {
                return Err(MessageError::Checksum { tr, found, expected });
            }
        }
        Ok(())
    }

    /// The stored voxels of this run, ready to decode. A volume without an acquisition time was
    /// acquired at `index · TR`.
    #[must_use]
    pub fn stored(&self, run: &RunHeader) -> StoredVolume<'_> {
        let VolumeHeader { index, acquisition_time_s, dtype, order, slope, intercept, .. } =
            self.header;
        StoredVolume {
            tr: index,
            acquisition_time_s: acquisition_time_s
                .unwrap_or_else(|| run.repetition_time.start_of(index)),
            matrix: run.space.matrix(),
            dtype,
            order,
            slope,
            intercept,
            voxels: &self.voxels,
        }
    }
}
