//! The carpet: a sample of the voxels with signal over time, slice by slice (Power 2017,
//! NeuroImage 154:150).
//!
//! Which voxels are taken is decided with the first volume that has signal. A column is the mean
//! of `width` volumes; when there are too many columns, pairs become one. So a run of any length
//! fits, in one pass.

use super::{otsu, voxels::VoxelSums};

/// Most rows: one for each voxel of the sample.
const MAX_ROWS: usize = 600;

/// Most columns.
const MAX_COLUMNS: usize = 1000;

/// A z-score of this size is black or white.
pub(super) const WHITE_Z: f64 = 2.0;

/// Signal of a sample of voxels. See the module docs.
#[derive(Clone, Debug)]
pub(super) struct Carpet {
    /// Voxels of the sample, x fastest, so slice by slice.
    voxels: Vec<usize>,
    first_index: u32,
    /// Volumes in one column.
    pub(super) width: u32,
    columns: Vec<Column>,
    /// After [`Carpet::finish`]: z-scores, one row for each voxel. `None` where no volume is.
    pub(super) rows: Vec<Vec<Option<f32>>>,
}

/// Sums of the volumes of one column.
#[derive(Clone, Debug)]
struct Column {
    n: u32,
    sum_t: f64,
    /// Shape `[n_row]`.
    sums: Vec<f64>,
}

impl Carpet {
    /// A carpet whose sample is chosen from this volume. `None` if it has no signal.
    pub(super) fn new(index: u32, signal: &[f32]) -> Option<Self> {
        let threshold = otsu::threshold(signal)?;
        let has_signal = signal.iter().enumerate().filter(|(_, value)| **value >= threshold);
        let inside: Vec<usize> = has_signal.map(|(voxel, _)| voxel).collect();
        let n_row = inside.len().min(MAX_ROWS);
        let voxels = (0..n_row).map(|row| inside[row * inside.len() / n_row]).collect();
        let (columns, rows) = (Vec::new(), Vec::new());
        Some(Self { voxels, first_index: index, width: 1, columns, rows })
    }

    /// Adds a volume, whose voxels are in order x fastest.
    pub(super) fn add(&mut self, index: u32, signal: &[f32]) {
        let Some(since) = index.checked_sub(self.first_index) else { return };
        while (since / self.width) as usize >= MAX_COLUMNS {
            self.halve();
        }
        let at = (since / self.width) as usize;
        let n_row = self.voxels.len();
        if self.columns.len() <= at {
            self.columns.resize_with(at + 1, || Column::empty(n_row));
        }
        let column = &mut self.columns[at];
        column.n += 1;
        column.sum_t += f64::from(index);
        for (sum, &voxel) in column.sums.iter_mut().zip(&self.voxels) {
            *sum += signal.get(voxel).copied().map_or(0.0, f64::from);
        }
    }

    fn halve(&mut self) {
        self.width = self.width.saturating_mul(2);
        let n_row = self.voxels.len();
        let pairs = self.columns.chunks(2).map(|pair| {
            let mut both = Column::empty(n_row);
            for column in pair {
                both.n += column.n;
                both.sum_t += column.sum_t;
                both.sums.iter_mut().zip(&column.sums).for_each(|(sum, more)| *sum += more);
            }
            both
        });
        self.columns = pairs.collect();
    }

    /// Turns sums into z-scores: a line is taken out of each voxel, and the rest is divided by its
    /// s.d.
    pub(super) fn finish(&mut self, sums: &VoxelSums) {
        let columns = std::mem::take(&mut self.columns);
        self.rows = self
            .voxels
            .iter()
            .enumerate()
            .map(|(row, &voxel)| {
                let fit = sums.fit(voxel).unwrap_or_default();
                let z = |column: &Column| {
                    let n = f64::from(column.n);
                    let line = fit.mean + fit.slope * (column.sum_t / n - fit.centre);
                    let z = (column.sums[row] / n - line) / fit.sd;
                    (column.n > 0).then_some(if z.is_finite() { z as f32 } else { 0.0 })
                };
                columns.iter().map(z).collect()
            })
            .collect();
    }

    /// Index of the first volume, and of the first one behind the last column.
    pub(super) fn span(&self) -> (u32, u32) {
        let n_column = self.rows.first().map_or(0, Vec::len) as u32;
        let end = self.first_index.saturating_add(n_column.saturating_mul(self.width));
        (self.first_index, end)
    }
}

impl Column {
    fn empty(n_row: usize) -> Self {
        Self { n: 0, sum_t: 0.0, sums: vec![0.0; n_row] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carpet(volumes: &[(u32, Vec<f32>)]) -> Carpet {
        let (first, signal) = &volumes[0];
        let mut carpet = Carpet::new(*first, signal).unwrap();
        let mut sums = VoxelSums::new(*first, signal.clone());
        for (index, signal) in volumes {
            carpet.add(*index, signal);
            sums.add(*index, signal);
        }
        carpet.finish(&sums);
        carpet
    }

    #[test]
    fn rows_are_voxels_with_signal_and_a_missing_volume_is_a_gap() {
        // Two dark voxels; around the line 101 + 2 t of the third: +1, -1, -1, +1; no volume 3.
        let values = [(0, 100.0), (1, 99.0), (2, 99.0), (4, 100.0)];
        let volumes = values.map(|(t, y)| (t, vec![0.0, 1.0, y]));
        let carpet = carpet(&volumes);
        assert_eq!(carpet.rows.len(), 1);
        let row = &carpet.rows[0];
        assert_eq!(row.len(), 5);
        assert_eq!(row[3], None);
        let sum: f32 = row.iter().flatten().sum();
        assert!(sum.abs() < 1e-5 && row[0].unwrap() > 0.0 && row[1].unwrap() < 0.0, "{row:?}");
        assert_eq!(carpet.span(), (0, 5));
    }

    #[test]
    fn a_long_run_has_at_most_a_thousand_columns() {
        let volumes: Vec<_> =
            (7..2507).map(|t| (t, vec![0.0, 100.0 + (t % 3) as f32, 100.0])).collect();
        let carpet = carpet(&volumes);
        assert_eq!((carpet.width, carpet.rows.len(), carpet.rows[0].len()), (4, 2, 625));
        assert_eq!(carpet.span(), (7, 2507));
        assert!(carpet.rows[1].iter().flatten().all(|z| z.abs() < 1e-6), "a constant voxel");
    }

    #[test]
    fn at_most_six_hundred_voxels_are_taken_from_all_slices() {
        let signal: Vec<f32> = (0..9000).map(|at| if at % 2 == 0 { 0.0 } else { 500.0 }).collect();
        let carpet = Carpet::new(0, &signal).unwrap();
        assert_eq!(carpet.voxels.len(), 600);
        assert!(carpet.voxels.iter().all(|voxel| voxel % 2 == 1));
        assert!(carpet.voxels[0] < 20 && carpet.voxels[599] > 8900);
        assert!(Carpet::new(0, &[3.0; 8]).is_none());
    }
}
