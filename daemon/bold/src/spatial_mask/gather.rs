//! Reads the voxels of a mask out of the stored bytes of a volume, in the model's order.
//!
//! A volume is in C or F order. In F order, neighbours in the model's order are a slice apart in
//! memory, so voxels are read tile by tile: each cache line is then loaded once. Blocks of 8 x 8
//! voxels along x and z that lie in the mask as a whole are transposed.

use crate::{
    decode::{Order, UseVoxels},
    space::VoxelSpace,
};

/// The voxels of each output.
#[derive(Clone, Debug)]
pub(super) enum Gather {
    /// One voxel per output. `weights` is empty for a boolean mask.
    Voxels { n_voxel: usize, lines: Vec<Line>, blocks: Blocks, weights: Vec<f32> },
    /// A weighted sum of voxels per output.
    Rows { indptr: Vec<u32>, c: Vec<u32>, f: Vec<u32>, weights: Vec<f32> },
}

/// Voxels of a mask that follow each other in C order (z fastest) and in the model's order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Output index of the first voxel.
    output: u32,
    length: u32,
    /// Offset of the first voxel in C order.
    c: u32,
}

/// Voxels of a mask that are neighbours along z and follow each other in the model's order.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// Output index of the first voxel.
    output: u32,
    length: u32,
    /// Offset of the first voxel in F order (x fastest); the others follow, a slice apart.
    f: u32,
}

/// The voxels of a mask in F order: whole blocks, and what lies in none.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    whole: Vec<Block>,
    rest: Vec<Column>,
}

/// [`SIDE`] columns of [`SIDE`] voxels, which are neighbours along x.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Output index of the first voxel of each column.
    outputs: [u32; SIDE],
    /// Offset of the first voxel in F order.
    f: u32,
}

impl Blocks {
    fn of(space: &VoxelSpace, indices: &[u32]) -> Self {
        let columns = columns(space, indices);
        let (mut whole, mut rest) = (Vec::new(), Vec::new());
        let mut left = &columns[..];
        while let Some(first) = left.first() {
            let is_whole =
                |(column, f): &(&Column, u32)| column.length as usize == SIDE && column.f == *f;
            if left.iter().zip(first.f..).take(SIDE).take_while(is_whole).count() == SIDE {
                let outputs = std::array::from_fn(|x| left[x].output);
                whole.push(Block { outputs, f: first.f });
                left = &left[SIDE..];
            } else {
                rest.push(*first);
                left = &left[1..];
            }
        }
        Self { whole, rest }
    }
}

impl Block {
    /// Writes the voxels of the block to their outputs. Slices are `slice` voxels apart.
    fn transpose<T: Copy>(
        &self,
        voxels: &[T],
        slice: usize,
        signal: &impl Fn(T) -> f32,
        bold: &mut [f32],
    ) {
        let mut tile = [[0.0; SIDE]; SIDE];
        for (z, row) in tile.iter_mut().enumerate() {
            let voxels = &voxels[self.f as usize + z * slice..][..SIDE];
            row.iter_mut().zip(voxels).for_each(|(value, &voxel)| *value = signal(voxel));
        }
        for (x, &output) in self.outputs.iter().enumerate() {
            let outputs = &mut bold[output as usize..][..SIDE];
            outputs.iter_mut().zip(&tile).for_each(|(value, row)| *value = row[x]);
        }
    }
}

impl Gather {
    /// One voxel for each output. `weights` is empty for a boolean mask.
    pub(super) fn voxels(space: &VoxelSpace, indices: &[u32], weights: Vec<f32>) -> Self {
        let (lines, blocks) = (lines(indices), Blocks::of(space, indices));
        Self::Voxels { n_voxel: indices.len(), lines, blocks, weights }
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
            Self::Voxels { n_voxel, lines, .. } => {
                let mut indices = vec![0; *n_voxel];
                for line in lines {
                    let outputs = line.output as usize..(line.output + line.length) as usize;
                    indices[outputs].iter_mut().zip(line.c..).for_each(|(at, c)| *at = c);
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
            Gather::Voxels { n_voxel, lines, blocks, weights } => {
                let mut bold = vec![0.0; *n_voxel];
                let slice = self.matrix[0] * self.matrix[1];
                match self.order {
                    Order::C => {
                        for line in lines {
                            let voxels = &voxels[line.c as usize..][..line.length as usize];
                            let outputs = bold[line.output as usize..].iter_mut().zip(voxels);
                            outputs.for_each(|(output, &voxel)| *output = signal(voxel));
                        }
                    }
                    Order::F => {
                        for block in &blocks.whole {
                            block.transpose(voxels, slice, &signal, &mut bold);
                        }
                        for column in &blocks.rest {
                            let Column { output, length, f } = *column;
                            let voxels = voxels[f as usize..].iter().step_by(slice);
                            let outputs = bold[output as usize..][..length as usize].iter_mut();
                            outputs
                                .zip(voxels)
                                .for_each(|(output, &voxel)| *output = signal(voxel));
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
pub(super) const TILE: [usize; 2] = [32, SIDE];

/// Voxels of a block along x and z.
const SIDE: usize = 8;

/// The voxels in lines, in the model's order.
fn lines(indices: &[u32]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (output, &c) in (0_u32..).zip(indices) {
        match lines.last_mut() {
            Some(line) if line.c + line.length == c => line.length += 1,
            _ => lines.push(Line { output, length: 1, c }),
        }
    }
    lines
}

/// The voxels in columns, tile by tile along x and z. In the model's order, each read of a volume
/// in F order would touch another cache line.
fn columns(space: &VoxelSpace, indices: &[u32]) -> Vec<Column> {
    let slice = (space.matrix()[0] * space.matrix()[1]) as u32;
    let offsets = fortran_offsets(space, indices);
    let mut columns: Vec<([usize; 4], Column)> = Vec::new();
    for (output, (&c, &f)) in (0_u32..).zip(indices.iter().zip(&offsets)) {
        let [x, y, z] = position(space, c);
        let place = [x / TILE[0], z / TILE[1], y, x];
        match columns.last_mut() {
            Some((last, column)) if *last == place && column.f + column.length * slice == f => {
                column.length += 1;
            }
            _ => columns.push((place, Column { output, length: 1, f })),
        }
    }
    columns.sort_unstable_by_key(|(place, column)| (*place, column.output));
    columns.into_iter().map(|(_, column)| column).collect()
}
