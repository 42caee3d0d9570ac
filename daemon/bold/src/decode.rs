//! Decode: from the bytes that the scanner stored to signal in scanner units.
//!
//! `signal = slope · stored + intercept`, in f32. The axes of the result are x, y, z for either
//! order of the stored voxels; only the strides differ, so nothing is transposed.
//!
//! A volume with too few or too many bytes for its matrix is an error. Later volumes are
//! unaffected.

use ndarray::{Array3, ShapeBuilder};
use serde::{Deserialize, Serialize};

use crate::{run::RunHeader, time::TrIndex, volume::Volume};

/// How one voxel is stored. Always little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dtype {
    /// Signed 16 bit.
    #[serde(rename = "<i2", alias = "int16", alias = "i2")]
    Int16,
    /// Unsigned 16 bit.
    #[serde(rename = "<u2", alias = "uint16", alias = "u2")]
    UInt16,
    /// IEEE 754 single.
    #[serde(rename = "<f4", alias = "float32", alias = "f4")]
    Float32,
}

impl Dtype {
    /// Bytes of one voxel.
    #[must_use]
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Int16 | Self::UInt16 => 2,
            Self::Float32 => 4,
        }
    }
}

/// Order of the stored voxels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Order {
    /// `index = (x·ny + y)·nz + z`: x slowest, as in numpy.
    #[default]
    C,
    /// x fastest, as in NIfTI and DICOM.
    F,
}

/// A volume as the scanner stored it.
#[derive(Clone, Copy, Debug)]
pub struct StoredVolume<'a> {
    /// Position in the run.
    pub tr: TrIndex,
    /// Start of acquisition, seconds since the start of volume index 0. Absent: `index · TR`.
    pub acquisition_time_s: Option<f64>,
    /// How one voxel is stored.
    pub dtype: Dtype,
    /// Order of the voxels.
    pub order: Order,
    /// `signal = slope · stored + intercept`. Absent or 0: 1.
    pub slope: Option<f64>,
    /// See `slope`. Absent: 0.
    pub intercept: Option<f64>,
    /// Little-endian voxels in this order.
    pub voxels: &'a [u8],
}

/// The number of voxel bytes does not match the run's matrix and the dtype.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tr} has {found} bytes of voxels, expected {expected} for its matrix and dtype")]
pub struct WrongSize {
    /// Which volume.
    pub tr: TrIndex,
    /// Bytes found.
    pub found: usize,
    /// Bytes expected from matrix and dtype.
    pub expected: usize,
}

impl StoredVolume<'_> {
    /// The volume in scanner units.
    ///
    /// # Errors
    ///
    /// Fails when the number of voxels differs from the run's matrix.
    pub fn to_volume(&self, run: &RunHeader) -> Result<Volume, WrongSize> {
        let Self { tr, dtype, order, voxels, .. } = *self;
        let wrong_size = || WrongSize {
            tr,
            found: voxels.len(),
            expected: run.space.n_voxel() * dtype.size_bytes(),
        };
        let slope = self.slope.filter(|&s| s.abs() > 0.0).unwrap_or(1.0) as f32;
        let intercept = self.intercept.unwrap_or(0.0) as f32;
        let scale = |stored: f32| slope * stored + intercept;
        // A frame can start at any address, so the bytes are read and never cast.
        let pairs = || voxels.as_chunks::<2>().0.iter().copied();
        let signal: Vec<f32> = match dtype {
            Dtype::Int16 => pairs().map(|b| scale(i16::from_le_bytes(b).into())).collect(),
            Dtype::UInt16 => pairs().map(|b| scale(u16::from_le_bytes(b).into())).collect(),
            Dtype::Float32 => {
                let (words, _) = voxels.as_chunks::<4>();
                words.iter().map(|&b| scale(f32::from_le_bytes(b))).collect()
            }
        };
        let matrix = run.space.matrix();
        let shaped = match order {
            Order::C => Array3::from_shape_vec(matrix, signal),
            Order::F => Array3::from_shape_vec(matrix.f(), signal),
        };
        let voxels = shaped.map_err(|_| wrong_size())?;
        let acquisition_time_s =
            self.acquisition_time_s.unwrap_or_else(|| run.repetition_time.start_of(tr));
        Ok(Volume { tr, acquisition_time_s, voxels })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{run::RunEntities, space::VoxelSpace, time::RepetitionTime};

    fn run() -> RunHeader {
        let affine = [[3., 0., 0., -9.], [0., 3., 0., -9.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
        RunHeader {
            session: String::new(),
            entities: RunEntities::checked("01", None, None, None).unwrap(),
            repetition_time: RepetitionTime::from_secs(2.0).unwrap(),
            space: VoxelSpace::new([2, 3, 1], affine).unwrap(),
            n_volumes: None,
            source: "test".into(),
            series_id: "a".into(),
        }
    }

    fn stored(voxels: &[u8], order: Order) -> StoredVolume<'_> {
        StoredVolume {
            tr: TrIndex(3),
            acquisition_time_s: None,
            dtype: Dtype::Int16,
            order,
            slope: Some(2.0),
            intercept: Some(1.0),
            voxels,
        }
    }

    #[test]
    fn both_orders_put_a_voxel_where_it_belongs() {
        let voxels: Vec<u8> = (0_i16..6).flat_map(i16::to_le_bytes).collect();
        // C: index = (x·3 + y)·1 + z, so [1, 0, 0] is the fourth stored value, 3.
        let c = stored(&voxels, Order::C).to_volume(&run()).unwrap();
        assert_eq!(c.voxels[[1, 0, 0]] as i32, 2 * 3 + 1);
        // F: x fastest, so [1, 0, 0] is the second stored value, 1.
        let f = stored(&voxels, Order::F).to_volume(&run()).unwrap();
        assert_eq!(f.voxels[[1, 0, 0]] as i32, 2 + 1);
        assert_eq!(f.acquisition_time_s.to_bits(), 6.0_f64.to_bits(), "index 3 at TR 2 s");
    }

    proptest! {
        /// Any number of bytes gives a volume or an error, for every dtype.
        #[test]
        fn bytes_of_any_number_never_panic(
            voxels in proptest::collection::vec(any::<u8>(), 0..30),
            dtype in prop_oneof![Just(Dtype::Int16), Just(Dtype::UInt16), Just(Dtype::Float32)],
            order in prop_oneof![Just(Order::C), Just(Order::F)],
        ) {
            let decoded = StoredVolume { dtype, ..stored(&voxels, order) }.to_volume(&run());
            // A trailing part of a voxel is cut off here; the daemon refuses it on arrival.
            let whole = voxels.len() / dtype.size_bytes() == 6;
            prop_assert_eq!(decoded.is_ok(), whole);
        }
    }
}
