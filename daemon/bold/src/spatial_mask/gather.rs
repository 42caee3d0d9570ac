//! Reads the voxels of a mask out of the stored bytes of a volume, in the model's order.
//!
//! A volume is in C or F order. In F order, neighbours in the model's order are a slice apart in
//! memory, so voxels are read tile by tile: each cache line is then loaded once.

use crate::{
    decode::{Order, UseVoxels},
    space::VoxelSpace,
};

/// The voxels of each output.
#[derive(Clone, Debug)]
pub(super) enum Gather {
    /// One voxel per output. `weights` is empty for a boolean mask.
    Voxels { n_voxel: usize, runs: Vec<VoxelRun>, weights: Vec<f32> },
    /// A weighted sum of voxels per output.
    Rows { indptr: Vec<u32>, c: Vec<u32>, f: Vec<u32>, weights: Vec<f32> },
}

/// Neighbouring voxels of a mask along z; they are also neighbours in the model's order.
#[derive(Clone, Copy, Debug)]
pub(super) struct VoxelRun {
    /// Output index of the first voxel.
    output: u32,
    length: u32,
    /// Offset of the first voxel in C order (z fastest); the others follow it directly.
    c: u32,
    /// Offset of the first voxel in F order (x fastest); the others follow, a slice apart.
    f: u32,
}

impl Gather {
    /// One voxel for each output. `weights` is empty for a boolean mask.
    pub(super) fn voxels(space: &VoxelSpace, indices: &[u32], weights: Vec<f32>) -> Self {
        Self::Voxels { n_voxel: indices.len(), runs: voxel_runs(space, indices), weights }
    }

    /// One row of a sparse matrix for each output.
    pub(super) fn rows(
        space: &VoxelSpace,
        indptr: Vec<u32>,
        indices: Vec<u32>,
        weights: Vec<f32>,
    ) -> Self {
        let f = fortran_offsets(space, &indices);
        Self::Rows { indptr, c: indices, f, weights }
    }

    /// The same outputs, with the voxels at other places: `moved` gives the new linear indices of
    /// linear indices, in the matrix of `space`.
    pub(super) fn moved(&self, space: &VoxelSpace, moved: impl Fn(&[u32]) -> Vec<u32>) -> Self {
        match self {
            Self::Voxels { weights, .. } => {
                Self::voxels(space, &moved(&self.indices()), weights.clone())
            }
            Self::Rows { indptr, c, weights, .. } => {
                Self::rows(space, indptr.clone(), moved(c), weights.clone())
            }
        }
    }

    /// The linear index of each voxel, `(x·ny + y)·nz + z`, in the order of the outputs.
    pub(super) fn indices(&self) -> Vec<u32> {
        match self {
            Self::Rows { c, .. } => c.clone(),
            Self::Voxels { n_voxel, runs, .. } => {
                let mut indices = vec![0; *n_voxel];
                for run in runs {
                    let outputs = run.output as usize..(run.output + run.length) as usize;
                    indices[outputs].iter_mut().zip(run.c..).for_each(|(at, c)| *at = c);
                }
                indices
            }
        }
    }

    pub(super) fn n_output(&self) -> usize {
        match self {
            Self::Voxels { n_voxel, .. } => *n_voxel,
            Self::Rows { indptr, .. } => indptr.len() - 1,
        }
    }

    /// Kind of the mask, for messages to people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Voxels { weights, .. } if weights.is_empty() => "boolean",
            Self::Voxels { .. } => "weighted",
            Self::Rows { .. } => "sparse matrix",
        }
    }
}

/// Gathers the outputs of a volume. Their shape is `[n_output]`, in scanner units.
pub(super) struct Gathering<'a> {
    pub(super) gather: &'a Gather,
    pub(super) order: Order,
    /// Matrix of mask and volume.
    pub(super) matrix: [usize; 3],
}

impl UseVoxels for Gathering<'_> {
    type Output = Vec<f32>;

    fn use_voxels<T: Copy>(self, voxels: &[T], signal: impl Fn(T) -> f32) -> Vec<f32> {
        match self.gather {
            Gather::Voxels { n_voxel, runs, weights } => {
                let mut bold = vec![0.0; *n_voxel];
                let [nx, ny, _] = self.matrix;
                for run in runs {
                    let (start, length) = (run.output as usize, run.length as usize);
                    let outputs = bold[start..start + length].iter_mut();
                    match self.order {
                        Order::C => {
                            let voxels = &voxels[run.c as usize..][..length];
                            outputs
                                .zip(voxels)
                                .for_each(|(output, &voxel)| *output = signal(voxel));
                        }
                        Order::F => {
                            let mut at = run.f as usize;
                            for output in outputs {
                                *output = signal(voxels[at]);
                                at += nx * ny;
                            }
                        }
                    }
                }
                // A boolean mask has no weights.
                bold.iter_mut().zip(weights).for_each(|(value, weight)| *value *= weight);
                bold
            }
            Gather::Rows { indptr, c, f, weights } => {
                let offsets = match self.order {
                    Order::C => c,
                    Order::F => f,
                };
                let at = |offset: u32| f64::from(signal(voxels[offset as usize]));
                indptr
                    .windows(2)
                    .map(|row| {
                        let row = row[0] as usize..row[1] as usize;
                        // f64: a parcel may sum thousands of voxels.
                        let entries = offsets[row.clone()].iter().zip(&weights[row]);
                        entries.map(|(&o, &w)| at(o) * f64::from(w)).sum::<f64>() as f32
                    })
                    .collect()
            }
        }
    }
}

/// Position along x, y, z of the linear index `(x·ny + y)·nz + z`.
pub(super) fn position(space: &VoxelSpace, linear: u32) -> [usize; 3] {
    let [_, ny, nz] = space.matrix();
    let linear = linear as usize;
    [linear / (ny * nz), linear / nz % ny, linear % nz]
}

/// Offsets of these voxels in F order (x fastest).
fn fortran_offsets(space: &VoxelSpace, indices: &[u32]) -> Vec<u32> {
    let [nx, ny, _] = space.matrix();
    let offset = |&linear: &u32| {
        let [x, y, z] = position(space, linear);
        (x + nx * (y + ny * z)) as u32
    };
    indices.iter().map(offset).collect()
}

/// Size of a tile in voxels along x and z. Along x, a cache line of int16. Along z, no more
/// slices than one set of the first-level cache has lines, because slices tend to share a set.
pub(super) const TILE: [usize; 2] = [32, 8];

/// The voxels in runs along z, tile by tile along x and z. In the model's order, each read of a
/// volume in F order would touch another cache line.
fn voxel_runs(space: &VoxelSpace, indices: &[u32]) -> Vec<VoxelRun> {
    let offsets = fortran_offsets(space, indices);
    let mut runs: Vec<([usize; 4], VoxelRun)> = Vec::new();
    for (output, (&c, &f)) in (0_u32..).zip(indices.iter().zip(&offsets)) {
        let [x, y, z] = position(space, c);
        let place = [x / TILE[0], z / TILE[1], y, x];
        match runs.last_mut() {
            Some((last, run)) if *last == place && run.c + run.length == c => run.length += 1,
            _ => runs.push((place, VoxelRun { output, length: 1, c, f })),
        }
    }
    runs.sort_unstable_by_key(|(place, run)| (*place, run.output));
    runs.into_iter().map(|(_, run)| run).collect()
}
