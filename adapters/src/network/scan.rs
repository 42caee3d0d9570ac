//! What a sender announces and sends, in the terms of a scan.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use corticast_bold::decode::{Dtype, Order};

/// Bytes of one volume that are accepted: 64 MiB are 16 million voxels in `float32`.
pub const MAX_VOLUME_BYTES: usize = 64 << 20;

/// A scan as its sender announces it. Not yet checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Identifies the acquisition. Volumes with another `series` are another run.
    pub series: String,
    /// Time between volumes in seconds, if the sender says it.
    pub repetition_time_s: Option<f64>,
    /// Voxels along x, y, z.
    pub matrix: [usize; 3],
    /// Voxel → RAS+ mm, rows.
    pub affine: [[f64; 4]; 4],
    /// Volumes of the run, if the sender says it.
    pub n_volumes: Option<u32>,
    /// Start of each slice along z in seconds after that of the volume; empty if the sender says none.
    pub slice_times_s: Vec<f64>,
    /// The protocol and its values, for the header of the run.
    pub source: String,
}

/// One volume. Its voxels fit the matrix of its scan.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Position in the run, from 0.
    pub index: u32,
    /// Start of acquisition in seconds since the start of index 0, if the sender says it.
    pub acquisition_time_s: Option<f64>,
    /// Data type of one voxel.
    pub dtype: Dtype,
    /// Order of the voxels.
    pub order: Order,
    /// `signal = slope · stored + intercept`.
    pub slope: Option<f64>,
    /// See `slope`.
    pub intercept: Option<f64>,
    /// Little-endian voxels.
    pub voxels: Bytes,
}

/// What came from the scanner.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// A volume of a scan.
    Volume(Arc<Scan>, Picture),
    /// The sender ended the run, or is gone.
    End,
    /// A volume or a whole sender was refused or lost. The source has logged why.
    Refused,
    /// Nothing came in time.
    Quiet,
    /// Nothing will come any more.
    Over,
}

/// A protocol by which volumes arrive.
pub trait Source: Send {
    /// Waits for what comes next, until `until`, or for ever.
    fn next(&mut self, until: Option<Instant>) -> Arrival;
}
