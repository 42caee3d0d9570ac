//! Volumes like a scanner's: a bright head in a dark field, with noise that never repeats, which
//! makes them hard to compress.

use bytes::Bytes;
use corticast_bold::{
    decode::{Dtype, Order},
    run::{RunEntities, RunHeader},
    space::VoxelSpace,
    time::{RepetitionTime, TrIndex},
};
use corticast_images::acquired::AcquiredVolume;
use corticast_wire::message::{Encoding, FromAdapter};

/// Voxels along x, y, z in every figure except DICOM's.
pub const MATRIX: [usize; 3] = [64, 64, 32];
/// Bytes of one such volume, int16.
pub const VOLUME_BYTES: usize = 64 * 64 * 32 * 2;

/// Makes volumes; the same seed gives the same volumes.
pub struct Scan {
    head: Vec<i16>,
    state: u64,
}

impl Scan {
    pub fn new(matrix: [usize; 3], seed: u64) -> Self {
        let centre = matrix.map(|n| (n as f64 - 1.0) / 2.0);
        // A single slice is one voxel thick; a reach of 0 would divide by zero.
        let reach = centre.map(|half| (0.9 * half).max(0.5));
        let mut head = Vec::with_capacity(matrix.iter().product());
        for z in 0..matrix[2] {
            for y in 0..matrix[1] {
                for x in 0..matrix[0] {
                    let at = [x as f64, y as f64, z as f64];
                    let radius = (0..3).map(|i| ((at[i] - centre[i]) / reach[i]).powi(2));
                    head.push(if radius.sum::<f64>() < 1.0 { 900 } else { 60 });
                }
            }
        }
        Self { head, state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// The next volume, int16 little-endian, x fastest. Noise has a standard deviation of 18:
    /// 2 % of the head's signal.
    pub fn volume(&mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 * self.head.len());
        for voxel in &self.head {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            // The sum of four numbers of 0..32 has a standard deviation of 18.5.
            let noise: u64 = (0..4).map(|i| self.state >> (16 * i) & 31).sum();
            bytes.extend_from_slice(&(voxel + noise as i16).to_le_bytes());
        }
        bytes
    }
}

/// Header of a run of such volumes.
pub fn run_header(name: &str, n_volumes: u32) -> anyhow::Result<RunHeader> {
    let affine = [[3., 0., 0., -96.], [0., 3., 0., -96.], [0., 0., 3., -48.], [0., 0., 0., 1.]];
    Ok(RunHeader {
        session: "bench".to_owned(),
        entities: RunEntities::checked("bench", None, Some(name), None)?,
        repetition_time: RepetitionTime::from_secs(0.1)?,
        space: VoxelSpace::new(MATRIX, affine)?,
        n_volumes: Some(n_volumes),
        source: "bench".to_owned(),
        series_id: name.to_owned(),
        slice_times: None,
    })
}

/// A volume as an adapter sends it: framed, with its checksum.
pub fn frames(run: &str, index: u32, voxels: Bytes) -> Vec<Bytes> {
    let volume = AcquiredVolume {
        index: TrIndex(index),
        acquisition_time_s: None,
        dtype: Dtype::Int16,
        order: Order::F,
        slope: None,
        intercept: None,
        scanner_wall_time: None,
        voxels,
    };
    FromAdapter::Volume(volume.into_message(run)).to_frames(Encoding::MessagePack)
}
