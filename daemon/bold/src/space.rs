//! Where voxels are: the matrix of a scan and the affine that places it in the scanner.

use serde::{Deserialize, Serialize};

/// Largest plausible number of voxels along one axis; a header with more counts as damaged.
pub const MAX_AXIS_VOXELS: usize = 1024;
/// Largest plausible number of voxels in one volume (256 MiB of f32).
pub const MAX_VOLUME_VOXELS: usize = 1 << 26;
/// How far two affines may differ, in mm, and still count as the same space. Allows for the
/// rounding of DICOM headers.
pub const AFFINE_TOLERANCE_MM: f64 = 1e-2;

/// Matrix and affine of a scan or of a mask.
///
/// Voxel `[x, y, z]` lies at `affine * [x, y, z, 1]` mm, in RAS+ axes (right, anterior,
/// superior), as in NIfTI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct VoxelSpace {
    matrix: [usize; 3],
    affine: [[f64; 4]; 4],
}

#[derive(Deserialize)]
struct Written {
    matrix: [usize; 3],
    affine: [[f64; 4]; 4],
}

/// An invalid matrix or affine.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidSpace {
    /// An axis is empty or too long.
    #[error(
        "a matrix must have 1 to {MAX_AXIS_VOXELS} voxels along each axis and at most \
         {MAX_VOLUME_VOXELS} in total, got {0:?}"
    )]
    Matrix([usize; 3]),
    /// The affine is invalid.
    #[error(
        "an affine must be finite, have 0 0 0 1 as its last row and three independent axes, \
         got {0:?}"
    )]
    Affine([[f64; 4]; 4]),
}

/// How two spaces differ.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpaceMismatch {
    /// The numbers of voxels differ.
    #[error("matrix is {found:?}, expected {expected:?}")]
    Matrix {
        /// Voxels along x, y, z that were found.
        found: [usize; 3],
        /// Voxels along x, y, z that were expected.
        expected: [usize; 3],
    },
    /// The matrix is the same, but its position in the scanner differs.
    #[error(
        "affine places a corner {distance_mm:.3} mm from its expected position \
         (found {found:?}, expected {expected:?})"
    )]
    Affine {
        /// Largest displacement of a corner voxel, in mm.
        distance_mm: f64,
        /// The affine found.
        found: [[f64; 4]; 4],
        /// The affine expected.
        expected: [[f64; 4]; 4],
    },
}

impl VoxelSpace {
    /// A space from its matrix (voxels along x, y, z) and its affine (voxel → RAS+ mm, rows).
    ///
    /// # Errors
    ///
    /// Fails when the matrix is empty or larger than the limits above, or when the affine is not
    /// finite, is not affine, or maps the volume to a plane.
    pub fn new(matrix: [usize; 3], affine: [[f64; 4]; 4]) -> Result<Self, InvalidSpace> {
        let in_range = matrix.iter().all(|&n| (1..=MAX_AXIS_VOXELS).contains(&n));
        if !in_range || matrix.iter().product::<usize>() > MAX_VOLUME_VOXELS {
            return Err(InvalidSpace::Matrix(matrix));
        }
        let finite = affine.iter().flatten().all(|value| value.is_finite());
        let last_row =
            affine[3].iter().zip([0.0, 0.0, 0.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-9);
        if !finite || !last_row || determinant(&affine).abs() < 1e-9 {
            return Err(InvalidSpace::Affine(affine));
        }
        Ok(Self { matrix, affine })
    }

    /// Voxels along x, y, z.
    #[must_use]
    pub fn matrix(&self) -> [usize; 3] {
        self.matrix
    }

    /// Voxel → RAS+ mm, rows.
    #[must_use]
    pub fn affine(&self) -> &[[f64; 4]; 4] {
        &self.affine
    }

    /// Voxels of one volume.
    #[must_use]
    pub fn n_voxel(&self) -> usize {
        self.matrix.iter().product()
    }

    /// Size of a voxel along x, y, z, in mm.
    #[must_use]
    pub fn voxel_size_mm(&self) -> [f64; 3] {
        std::array::from_fn(|axis| {
            (0..3).map(|row| self.affine[row][axis].powi(2)).sum::<f64>().sqrt()
        })
    }

    /// Centre of a voxel, in RAS+ mm.
    #[must_use]
    pub fn position_mm(&self, voxel: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|row| {
            let linear: f64 = (0..3).map(|axis| self.affine[row][axis] * voxel[axis]).sum();
            linear + self.affine[row][3]
        })
    }

    /// Checks that `self`, the space found, is the `expected` one: the same matrix, and no corner
    /// of the volume further than [`AFFINE_TOLERANCE_MM`] from its expected position.
    ///
    /// # Errors
    ///
    /// Fails when matrix or affine differ. The error holds both values.
    pub fn check_is(&self, expected: &Self) -> Result<(), SpaceMismatch> {
        if self.matrix != expected.matrix {
            return Err(SpaceMismatch::Matrix { found: self.matrix, expected: expected.matrix });
        }
        // Two affine maps differ most at a corner.
        let distance_mm = (0..8)
            .map(|corner| {
                let voxel: [f64; 3] = std::array::from_fn(|axis| {
                    if corner >> axis & 1 == 1 { self.matrix[axis] as f64 } else { 0.0 }
                });
                let (here, there) = (self.position_mm(voxel), expected.position_mm(voxel));
                here.iter().zip(there).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
            })
            .fold(0.0, f64::max);
        if distance_mm > AFFINE_TOLERANCE_MM {
            return Err(SpaceMismatch::Affine {
                distance_mm,
                found: self.affine,
                expected: expected.affine,
            });
        }
        Ok(())
    }
}

impl TryFrom<Written> for VoxelSpace {
    type Error = InvalidSpace;

    fn try_from(written: Written) -> Result<Self, InvalidSpace> {
        Self::new(written.matrix, written.affine)
    }
}

fn determinant(a: &[[f64; 4]; 4]) -> f64 {
    a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1])
        - a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0])
        + a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagonal(x: f64, y: f64, z: f64) -> [[f64; 4]; 4] {
        [[x, 0., 0., 0.], [0., y, 0., 0.], [0., 0., z, 0.], [0., 0., 0., 1.]]
    }

    #[test]
    fn flat_infinite_and_empty_spaces_are_refused() {
        assert!(VoxelSpace::new([2, 2, 2], diagonal(3., 3., 0.)).is_err());
        assert!(VoxelSpace::new([2, 2, 2], diagonal(3., f64::INFINITY, 3.)).is_err());
        assert!(VoxelSpace::new([2, 0, 2], diagonal(3., 3., 3.)).is_err());
        assert!(VoxelSpace::new([1024, 1024, 1024], diagonal(3., 3., 3.)).is_err());
    }

    #[test]
    fn a_shifted_affine_is_another_space_and_rounding_is_not() {
        let space = VoxelSpace::new([64, 64, 32], diagonal(3., 3., 3.)).unwrap();
        let mut rounded = diagonal(3., 3., 3.);
        rounded[0][3] = 0.001;
        let rounded = VoxelSpace::new([64, 64, 32], rounded).unwrap();
        assert_eq!(rounded.check_is(&space), Ok(()));
        let mut shifted = diagonal(3., 3., 3.);
        shifted[2][3] = 1.5;
        let shifted = VoxelSpace::new([64, 64, 32], shifted).unwrap();
        let message = shifted.check_is(&space).unwrap_err().to_string();
        assert!(message.contains("1.500 mm"), "{message}");
    }
}
