//! Decode: from the bytes that the scanner stored to signal in scanner units.
//!
//! `signal = slope · stored + intercept`, in f32. [`spatial_mask`](crate::spatial_mask) applies
//! this to the voxels of a mask only, where they lie in the stored bytes. The volume as a whole is
//! converted only for stages that need all of it.
//!
//! A volume with too few or too many bytes for its matrix is an error. Later volumes are
//! unaffected.

use serde::{Deserialize, Serialize};

use crate::{time::TrIndex, volume::Volume};

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
    /// Start of acquisition, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// Voxels along x, y, z.
    pub matrix: [usize; 3],
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

/// From one stored value to signal in scanner units.
#[derive(Clone, Copy, Debug)]
struct Scale {
    slope: f32,
    intercept: f32,
}

impl Scale {
    fn of(self, stored: f32) -> f32 {
        self.slope * stored + self.intercept
    }
}

/// Uses the voxels of a volume, whatever their dtype.
pub(crate) trait UseVoxels {
    /// What comes of it.
    type Output;

    /// Uses the voxels in their stored order. `signal` gives the signal of one of them, in scanner
    /// units.
    fn use_voxels<T: Copy>(self, voxels: &[T], signal: impl Fn(T) -> f32) -> Self::Output;
}

impl StoredVolume<'_> {
    /// Hands the voxels to `user`, compiled for each dtype.
    ///
    /// # Errors
    ///
    /// Fails when the number of bytes does not match matrix and dtype.
    pub(crate) fn voxels_to<U: UseVoxels>(&self, user: U) -> Result<U::Output, WrongSize> {
        let expected = self.matrix.iter().product::<usize>() * self.dtype.size_bytes();
        if self.voxels.len() != expected {
            return Err(WrongSize { tr: self.tr, found: self.voxels.len(), expected });
        }
        let scale = Scale {
            slope: self.slope.filter(|&s| s.abs() > 0.0).unwrap_or(1.0) as f32,
            intercept: self.intercept.unwrap_or(0.0) as f32,
        };
        // A frame can start at any address, so the bytes are read and never cast.
        let (pairs, words) = (self.voxels.as_chunks::<2>().0, self.voxels.as_chunks::<4>().0);
        Ok(match self.dtype {
            Dtype::Int16 => user.use_voxels(pairs, |b| scale.of(i16::from_le_bytes(b).into())),
            Dtype::UInt16 => user.use_voxels(pairs, |b| scale.of(u16::from_le_bytes(b).into())),
            Dtype::Float32 => user.use_voxels(words, |b| scale.of(f32::from_le_bytes(b))),
        })
    }

    /// The signal of every voxel, in the stored order, in scanner units. Shape `[n_voxel]`.
    ///
    /// # Errors
    ///
    /// Fails when the number of bytes does not match matrix and dtype.
    pub fn signal(&self) -> Result<Vec<f32>, WrongSize> {
        struct All;
        impl UseVoxels for All {
            type Output = Vec<f32>;

            fn use_voxels<T: Copy>(self, voxels: &[T], signal: impl Fn(T) -> f32) -> Vec<f32> {
                voxels.iter().map(|&voxel| signal(voxel)).collect()
            }
        }
        self.voxels_to(All)
    }

    /// The signal of every voxel, in scanner units.
    ///
    /// # Errors
    ///
    /// Fails when the number of bytes does not match matrix and dtype.
    pub fn to_volume(&self) -> Result<Volume, WrongSize> {
        let signal = self.signal()?;
        let signal = match self.order {
            Order::F => signal,
            Order::C => x_fastest(&signal, self.matrix),
        };
        let Self { tr, acquisition_time_s, matrix, .. } = *self;
        Ok(Volume { tr, acquisition_time_s, matrix, signal })
    }
}

/// Voxels of a volume with z fastest, reordered so that x is fastest.
fn x_fastest(z_fastest: &[f32], [nx, ny, nz]: [usize; 3]) -> Vec<f32> {
    let mut signal = vec![0.0; z_fastest.len()];
    for y in 0..ny {
        for x in 0..nx {
            let line = &z_fastest[(x * ny + y) * nz..][..nz];
            for (z, &value) in line.iter().enumerate() {
                signal[x + nx * (y + ny * z)] = value;
            }
        }
    }
    signal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(voxels: &[u8]) -> StoredVolume<'_> {
        StoredVolume {
            tr: TrIndex(3),
            acquisition_time_s: 6.0,
            matrix: [2, 3, 1],
            dtype: Dtype::Int16,
            order: Order::C,
            slope: Some(2.0),
            intercept: Some(1.0),
            voxels,
        }
    }

    #[test]
    fn every_dtype_is_read_and_scaled() {
        let read = |dtype, voxels: Vec<u8>| {
            let signal = StoredVolume { dtype, ..stored(&voxels) }.signal().unwrap();
            signal.into_iter().map(|value| value as i32).collect::<Vec<_>>()
        };
        let signed = (-3_i16..3).flat_map(i16::to_le_bytes).collect();
        assert_eq!(read(Dtype::Int16, signed), [-5, -3, -1, 1, 3, 5]);
        let unsigned = (65_530_u16..=65_535).flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(Dtype::UInt16, unsigned)[5], 2 * 65_535 + 1);
        let float = (0_u8..6).flat_map(|i| (f32::from(i) / 2.0).to_le_bytes()).collect();
        assert_eq!(read(Dtype::Float32, float), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn without_slope_and_intercept_the_signal_is_what_was_stored() {
        let voxels: Vec<u8> = (0_i16..6).flat_map(i16::to_le_bytes).collect();
        for slope in [None, Some(0.0), Some(-0.0)] {
            let plain = StoredVolume { slope, intercept: None, ..stored(&voxels) };
            assert_eq!(plain.signal().unwrap()[5] as i32, 5);
        }
    }

    #[test]
    fn a_whole_volume_has_x_fastest() {
        let voxels: Vec<u8> = (0_i16..6).flat_map(i16::to_le_bytes).collect();
        let signal = |order| StoredVolume { order, ..stored(&voxels) }.to_volume().unwrap().signal;
        let plain = signal(Order::F).into_iter().map(|v| v as i32).collect::<Vec<_>>();
        assert_eq!(plain, [1, 3, 5, 7, 9, 11]);
        // Stored as [x, y] = [0, 0], [0, 1], [0, 2], [1, 0], …
        let turned = signal(Order::C).into_iter().map(|v| v as i32).collect::<Vec<_>>();
        assert_eq!(turned, [1, 7, 3, 9, 5, 11]);
    }

    proptest! {
        /// Any number of bytes gives a signal or an error, for every dtype.
        #[test]
        fn bytes_of_any_number_never_panic(
            voxels in proptest::collection::vec(any::<u8>(), 0..30),
            dtype in prop_oneof![Just(Dtype::Int16), Just(Dtype::UInt16), Just(Dtype::Float32)],
        ) {
            let decoded = StoredVolume { dtype, ..stored(&voxels) }.signal();
            prop_assert_eq!(decoded.is_ok(), voxels.len() == 6 * dtype.size_bytes());
        }
    }
}
