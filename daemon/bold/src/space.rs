//! Where voxels are: the matrix of a scan and the affine that places it in the scanner.

use serde::{Deserialize, Serialize};

use crate::turn::Turn;

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
        "affine places a corner {distance_mm:.3} mm from its expected position, the centre \
         {centre_mm:.3} mm (found {found:?}, expected {expected:?})"
    )]
    Affine {
        /// Largest displacement of a corner voxel, in mm.
        distance_mm: f64,
        /// Displacement of the middle of the matrix, in mm.
        centre_mm: f64,
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

    /// The directions in which voxels are counted along x, y, z, e.g. `LPS`: to the left, to the
    /// back (posterior), to the head (superior).
    #[must_use]
    pub fn orientation(&self) -> String {
        const LETTERS: [[char; 2]; 3] = [['R', 'L'], ['A', 'P'], ['S', 'I']];
        let mut letters = [' '; 3];
        for (world, (axis, reversed)) in Turn::to_ras(self).axes().into_iter().enumerate() {
            letters[axis] = LETTERS[world][usize::from(reversed)];
        }
        letters.iter().collect()
    }

    /// Checks that `self`, the space found, is the `expected` one in the same voxel order: the same
    /// matrix, and no corner of the volume further than [`AFFINE_TOLERANCE_MM`] from its expected
    /// position. [`Turn::between`] accepts any voxel order.
    ///
    /// # Errors
    ///
    /// Fails when matrix or affine differ. The error holds both values.
    pub fn check_is(&self, expected: &Self) -> Result<(), SpaceMismatch> {
        let is_same = self.matrix == expected.matrix
            && self.corner_distance_mm(expected) <= AFFINE_TOLERANCE_MM;
        if is_same { Ok(()) } else { Err(self.mismatch(expected)) }
    }

    /// How `self`, the space found, differs from the `expected` one.
    pub(crate) fn mismatch(&self, expected: &Self) -> SpaceMismatch {
        if self.matrix != expected.matrix {
            return SpaceMismatch::Matrix { found: self.matrix, expected: expected.matrix };
        }
        SpaceMismatch::Affine {
            distance_mm: self.corner_distance_mm(expected),
            centre_mm: self.distance_mm(expected, self.matrix.map(|n| (n as f64 - 1.0) / 2.0)),
            found: self.affine,
            expected: expected.affine,
        }
    }

    /// The largest distance of a corner from the same corner of another space of the same matrix,
    /// in mm. Two affine maps differ most at a corner.
    #[must_use]
    pub fn corner_distance_mm(&self, other: &Self) -> f64 {
        let corner = |corner: usize| {
            std::array::from_fn(|axis| {
                if corner >> axis & 1 == 1 { self.matrix[axis] as f64 } else { 0.0 }
            })
        };
        (0..8).map(|at| self.distance_mm(other, corner(at))).fold(0.0, f64::max)
    }

    /// The distance of a voxel from the same voxel of another space, in mm.
    fn distance_mm(&self, other: &Self, voxel: [f64; 3]) -> f64 {
        let (here, there) = (self.position_mm(voxel), other.position_mm(voxel));
        here.iter().zip(there).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
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
