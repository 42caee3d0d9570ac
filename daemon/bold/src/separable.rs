//! Linear filters along x, y and z, one after the other: smoothing and the coefficients of splines.
//!
//! A filter of one axis is a matrix with a narrow band, so borders are exact and cost nothing
//! extra. Rows are kept in blocks of 16 voxels, which the compiler turns into vector instructions
//! of any machine; every sum has one fixed order, so results are the same to the bit everywhere.
//!
//! The result may have a margin of mirrored voxels on every side. A spline that is evaluated
//! inside the volume then needs no border checks.

/// Voxels of a block.
const LANES: usize = 16;
type Block = [f32; LANES];

/// Weights below this fraction of the largest are left out: less than the rounding of f32.
const NEGLIGIBLE: f64 = 3e-8;

/// What one axis does: output `i` is the sum of `row(i)[j]` times input `j`.
pub(crate) struct Axis {
    n: usize,
    /// Shape `[n][n]`.
    rows: Vec<Vec<f64>>,
}

impl Axis {
    /// From the rows of a square matrix.
    pub(crate) fn new(rows: Vec<Vec<f64>>) -> Self {
        Self { n: rows.len(), rows }
    }

    /// Weights of the inputs in one output.
    #[cfg(test)]
    pub(crate) fn row(&self, output: usize) -> &[f64] {
        &self.rows[output]
    }

    /// First this filter, then `next`.
    pub(crate) fn then(&self, next: &Self) -> Self {
        let row = |weights: &Vec<f64>| {
            let mut sum = vec![0.0; self.n];
            for (weight, row) in weights.iter().zip(&self.rows).filter(|(w, _)| w.abs() > 0.0) {
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
            }
            sum
        };
        Self::new(next.rows.iter().map(row).collect())
    }

    /// First and last column of each row that is not negligible.
    fn bands(&self) -> Vec<(usize, usize)> {
        let largest = self.rows.iter().flatten().fold(0.0_f64, |most, w| most.max(w.abs()));
        let counts = |weight: &f64| weight.abs() > NEGLIGIBLE * largest;
        self.rows
            .iter()
            .enumerate()
            .map(|(i, row)| {
                let first = row.iter().position(counts).unwrap_or(i);
                (first, row.iter().rposition(counts).unwrap_or(i))
            })
            .collect()
    }
}

/// Where an index outside the volume is mirrored to; the edge is not repeated.
fn mirrored(index: isize, n: usize) -> usize {
    let period = 2 * (n as isize - 1).max(1);
    let folded = index.rem_euclid(period);
    (folded.min(period - folded) as usize).min(n - 1)
}

/// The filter along y or z: each output is a sum of whole rows.
#[derive(Clone, Debug)]
struct Across {
    n_in: usize,
    n_tap: usize,
    /// First input of each output. Shape `[n_out]`.
    start: Vec<usize>,
    /// Shape `[n_out, n_tap]`.
    weights: Vec<f32>,
}

impl Across {
    fn new(axis: &Axis, margin: usize) -> Self {
        let bands = axis.bands();
        let n_tap = bands.iter().map(|(first, last)| last - first + 1).max().unwrap_or(1);
        let mut across = Self { n_in: axis.n, n_tap, start: Vec::new(), weights: Vec::new() };
        for output in 0..axis.n + 2 * margin {
            let row = mirrored(output as isize - margin as isize, axis.n);
            let start = bands[row].0.min(axis.n - n_tap);
            across.start.push(start);
            let weights = &axis.rows[row][start..start + n_tap];
            across.weights.extend(weights.iter().map(|&w| w as f32));
        }
        across
    }

    fn n_out(&self) -> usize {
        self.start.len()
    }

    /// Filters `n_in` rows that lie `step_in` blocks apart into `n_out` rows that lie `step_out`
    /// blocks apart. Rows have `n_block` blocks.
    fn apply(&self, input: &[Block], output: &mut [Block], steps: [usize; 2], n_block: usize) {
        let [step_in, step_out] = steps;
        for (index, &start) in self.start.iter().enumerate() {
            let weights = &self.weights[index * self.n_tap..][..self.n_tap];
            let output = &mut output[index * step_out..][..n_block];
            for (at, sum) in output.iter_mut().enumerate() {
                let mut total = [0.0; LANES];
                let mut from = start * step_in + at;
                for &weight in weights {
                    let row = &input[from];
                    (0..LANES).for_each(|lane| total[lane] += weight * row[lane]);
                    from += step_in;
                }
                *sum = total;
            }
        }
    }
}

/// The filter along x: weights differ from lane to lane.
#[derive(Clone, Debug)]
struct Along {
    n: usize,
    margin: usize,
    radius: usize,
    /// Weight of input `x + tap - radius` for each x. Shape `[2·radius + 1, n_block]`.
    weights: Vec<Block>,
    n_block: usize,
    /// One row with room on both sides, where it is zero.
    row: Vec<f32>,
}

impl Along {
    fn new(axis: &Axis, margin: usize) -> Self {
        let (n, bands) = (axis.n, axis.bands());
        let reach = |(x, (first, last)): (usize, &(usize, usize))| {
            x.abs_diff(*first).max(x.abs_diff(*last))
        };
        let radius = bands.iter().enumerate().map(reach).max().unwrap_or(0);
        let n_block = (n + 2 * margin).div_ceil(LANES);
        let mut weights = vec![[0.0; LANES]; (2 * radius + 1) * n_block];
        for (x, row) in axis.rows.iter().enumerate() {
            for (from, &weight) in
                row.iter().enumerate().take(x + radius + 1).skip(x.saturating_sub(radius))
            {
                let place = margin + x;
                let tap = from + radius - x;
                weights[tap * n_block + place / LANES][place % LANES] = weight as f32;
            }
        }
        let row = vec![0.0; n_block * LANES + 2 * radius];
        Self { n, margin, radius, weights, n_block, row }
    }

    fn apply(&mut self, input: &[f32], output: &mut [Block]) {
        let (n, margin) = (self.n, self.margin);
        self.row[self.radius + margin..][..n].copy_from_slice(input);
        for (block, sum) in output.iter_mut().enumerate() {
            let mut total = [0.0; LANES];
            for (tap, weights) in self.weights.chunks_exact(self.n_block).enumerate() {
                let (from, weights) = (&self.row[block * LANES + tap..][..LANES], &weights[block]);
                (0..LANES).for_each(|lane| total[lane] += weights[lane] * from[lane]);
            }
            *sum = total;
        }
        let row = output.as_flattened_mut();
        for place in 0..margin {
            row[place] = row[margin + mirrored(place as isize - margin as isize, n)];
            row[margin + n + place] = row[margin + mirrored((n + place) as isize, n)];
        }
    }
}

/// A filter of whole volumes. Its buffers are used again for each volume.
#[derive(Clone, Debug)]
pub(crate) struct Separable {
    x: Along,
    y: Across,
    z: Across,
    after_x: Vec<Block>,
    after_y: Vec<Block>,
    after_z: Vec<Block>,
}

/// A filtered volume with its margin. Voxel `[x, y, z]` without the margin is at
/// `x + stride_y·y + stride_z·z`, where the volume's own voxels begin at `margin` along each axis.
/// Behind the last voxel there are at least 16 further values, all finite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filtered<'a> {
    pub values: &'a [f32],
    pub stride_y: usize,
    pub stride_z: usize,
}

impl Separable {
    /// Filters along x, y and z, whose lengths are those of `axes`, with a mirrored margin.
    pub(crate) fn new(axes: [Axis; 3], margin: usize) -> Self {
        let (x, y) = (Along::new(&axes[0], margin), Across::new(&axes[1], margin));
        let z = Across::new(&axes[2], margin);
        let blocks = |n_row: usize| vec![[0.0; LANES]; n_row * x.n_block];
        let after_x = blocks(y.n_in * z.n_in);
        let after_y = blocks(y.n_out() * z.n_in);
        let mut after_z = blocks(y.n_out() * z.n_out());
        after_z.push([0.0; LANES]);
        Self { x, y, z, after_x, after_y, after_z }
    }

    /// Filters a volume, x fastest.
    pub(crate) fn apply(&mut self, signal: &[f32]) -> Filtered<'_> {
        let n_block = self.x.n_block;
        for (row, out) in signal.chunks_exact(self.x.n).zip(self.after_x.chunks_exact_mut(n_block))
        {
            self.x.apply(row, out);
        }
        let (slice_in, slice_out) = (self.y.n_in * n_block, self.y.n_out() * n_block);
        let slices = self.after_x.chunks_exact(slice_in);
        for (input, output) in slices.zip(self.after_y.chunks_exact_mut(slice_out)) {
            self.y.apply(input, output, [n_block; 2], n_block);
        }
        // One row of every slice at a time: these fit into the fastest cache.
        for from in (0..slice_out).step_by(n_block) {
            let (input, output) = (&self.after_y[from..], &mut self.after_z[from..]);
            self.z.apply(input, output, [slice_out; 2], n_block);
        }
        self.filtered()
    }

    /// The volume that was filtered last; zeros before the first.
    pub(crate) fn filtered(&self) -> Filtered<'_> {
        let stride_y = self.x.n_block * LANES;
        let stride_z = stride_y * self.y.n_out();
        Filtered { values: self.after_z.as_flattened(), stride_y, stride_z }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Equal to the sums written out, margin included, for every matrix.
        #[test]
        fn equals_the_sums_written_out(
            matrix in prop::array::uniform3(1_usize..20),
            reach in 0_usize..4,
            margin in 0_usize..3,
        ) {
            let weight = |from: usize, to: usize| {
                let distance = from.abs_diff(to);
                if distance <= reach { 1.0 / (1 + distance + to % 3) as f64 } else { 0.0 }
            };
            let axis = |n: usize| Axis::new((0..n).map(|i| (0..n).map(|j| weight(j, i)).collect()).collect());
            let [nx, ny, nz] = matrix;
            let value = |x: usize, y: usize, z: usize| ((x + 3 * y + 7 * z) % 11) as f64;
            let signal: Vec<f32> = (0..nx * ny * nz)
                .map(|i| value(i % nx, i / nx % ny, i / nx / ny) as f32)
                .collect();
            let mut filter = Separable::new(matrix.map(axis), margin);
            // A second volume must not see the first.
            filter.apply(&vec![99.0; signal.len()]);
            let filtered = filter.apply(&signal);
            // Margins wider than the volume are not needed by anyone.
            let inside = |n: usize, i: usize| mirrored(i as isize - margin as isize, n);
            for z in 0..nz + 2 * margin {
                for y in 0..ny + 2 * margin {
                    for x in 0..nx + 2 * margin {
                        let to = [inside(nx, x), inside(ny, y), inside(nz, z)];
                        let mut expected = 0.0;
                        for k in 0..nz { for j in 0..ny { for i in 0..nx {
                            expected += weight(i, to[0]) * weight(j, to[1]) * weight(k, to[2]) * value(i, j, k);
                        } } }
                        let found = filtered.values[x + y * filtered.stride_y + z * filtered.stride_z];
                        prop_assert!((f64::from(found) - expected).abs() < 1e-3 * (1.0 + expected));
                    }
                }
            }
        }
    }
}
