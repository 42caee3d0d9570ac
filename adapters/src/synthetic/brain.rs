//! A simulated brain: position and baseline of its voxels, and their response to each class.
//!
//! The brain depends on the pattern seed alone, so a model trained on one run can decode another.

use corticast_bold::space::{InvalidSpace, VoxelSpace};

use super::rng::Rng;

/// Width of the field of view, in mm.
const FIELD_OF_VIEW_MM: f64 = 192.0;
/// Share of the brain's voxels that respond to stimuli.
const RESPONSIVE: f64 = 0.1;
/// Response that all classes share, in units of the response that distinguishes them.
const COMMON_RESPONSE: f32 = 0.5;

/// See the module docs. Voxels in C order: `index = (x·ny + y)·nz + z`.
#[derive(Clone, Debug)]
pub struct Brain {
    /// Matrix and affine.
    pub space: VoxelSpace,
    /// Indices of the brain's voxels, ascending.
    pub mask: Vec<u32>,
    /// Signal at rest, for every voxel of the matrix. Scanner units.
    pub baseline: Vec<f32>,
    /// Indices of the voxels that respond, ascending.
    pub responsive: Vec<u32>,
    /// Response of the responsive voxels to each class. Shape `[n_class][n_responsive]`.
    pub patterns: Vec<Vec<f32>>,
}

impl Brain {
    /// An ellipsoid brain in a matrix.
    ///
    /// # Errors
    ///
    /// Fails when the matrix is empty or too large.
    pub fn new(matrix: [usize; 3], n_class: usize, seed: u64) -> Result<Self, InvalidSpace> {
        let size_mm = FIELD_OF_VIEW_MM / matrix[0].max(1) as f64;
        let mut affine = [[0.0; 4], [0.0; 4], [0.0; 4], [0.0, 0.0, 0.0, 1.0]];
        for axis in 0..3 {
            affine[axis][axis] = size_mm;
            affine[axis][3] = -size_mm * (matrix[axis] as f64 - 1.0) / 2.0;
        }
        let space = VoxelSpace::new(matrix, affine)?;

        let [nx, ny, nz] = matrix;
        let mut texture = Rng::new(seed, 0);
        let mut baseline = Vec::with_capacity(space.n_voxel());
        let mut mask = Vec::new();
        for x in 0..nx {
            for y in 0..ny {
                for z in 0..nz {
                    let radius = radius([x, y, z], matrix);
                    let grain = texture.normal();
                    if radius <= 1.0 {
                        mask.push(baseline.len() as u32);
                        baseline.push(700.0 + 300.0 * (1.0 - radius as f32) + 20.0 * grain);
                    } else {
                        baseline.push(30.0);
                    }
                }
            }
        }
        let mut choice = Rng::new(seed, 1);
        let responsive: Vec<u32> =
            mask.iter().copied().filter(|_| choice.uniform() < RESPONSIVE).collect();
        let patterns = (0..n_class)
            .map(|class| {
                let mut rng = Rng::new(seed, 2 + class as u64);
                responsive.iter().map(|_| COMMON_RESPONSE + rng.normal()).collect()
            })
            .collect();
        Ok(Self { space, mask, baseline, responsive, patterns })
    }

    /// Voxels that respond to a class with at least three times the response that classes share.
    /// Indices as in `mask`.
    #[must_use]
    pub fn region(&self, class: usize) -> Vec<u32> {
        let responses = self.responsive.iter().zip(&self.patterns[class]);
        let strong = responses.filter(|(_, response)| **response >= 3.0 * COMMON_RESPONSE);
        strong.map(|(&voxel, _)| voxel).collect()
    }
}

/// Squared distance from the middle, 1 at the brain's edge.
fn radius(voxel: [usize; 3], matrix: [usize; 3]) -> f64 {
    (0..3)
        .map(|axis| {
            let half = 0.42 * matrix[axis] as f64;
            let offset = (voxel[axis] as f64 - (matrix[axis] as f64 - 1.0) / 2.0) / half;
            offset * offset
        })
        .sum()
}
