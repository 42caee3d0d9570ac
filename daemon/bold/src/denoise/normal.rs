//! The sums of a least-squares fit that all voxels share, and its solution for one volume.
//!
//! With rows `x` of the design, signal `y` of a voxel and prior precisions `D`, the coefficients
//! are `b = R⁻¹ s`, where `R = D + Σ x·xᵀ` and `s = Σ x·y`. What a volume needs is only `uᵀb` for
//! the removed part `u` of its row: `wᵀs` with `w = R⁻¹u`. `R` and `w` are shared by all voxels, so
//! a volume costs one factorisation of a small matrix and two operations for each voxel and
//! regressor. `R` never loses its prior, so it stays invertible, with forgetting too:
//! `R ← f·R + (1 - f)·D + x·xᵀ`.
//!
//! The signal enters relative to the run's first volume, so large values cancel before they are
//! summed.

use std::ops::Range;

use super::solve::{Factor, row_times, times};
use crate::state::{Loader, Saver};

/// Voxels worked on together: their sums stay in the first cache.
const BLOCK: usize = 512;

/// The fit. See the module docs.
#[derive(Clone, Debug)]
pub(super) struct NormalEquations {
    /// `D`, a diagonal. Shape `[k]`.
    precisions: Vec<f64>,
    /// `R`. Shape `[k, k]`.
    matrix: Vec<f64>,
    /// `s`. Shape `[k, n_voxel]`.
    sums: Vec<f64>,
    n_voxel: usize,
    n_volume: u32,
    /// The run's first volume. Shape `[n_voxel]`.
    first: Vec<f32>,
    /// Drift of the periods of cosines that are over. Shape `[n_voxel]`.
    shift: Vec<f64>,
    /// Mean signal so far. Shape `[n_voxel]`.
    mean: Vec<f64>,
    mean_f32: Vec<f32>,
}

impl NormalEquations {
    pub(super) fn new(precisions: Vec<f64>, n_voxel: usize) -> Self {
        let k = precisions.len();
        let mut matrix = vec![0.0; k * k];
        for (i, precision) in precisions.iter().enumerate() {
            matrix[i * k + i] = *precision;
        }
        Self {
            precisions,
            matrix,
            sums: vec![0.0; k * n_voxel],
            n_voxel,
            n_volume: 0,
            first: vec![0.0; n_voxel],
            shift: vec![0.0; n_voxel],
            mean: vec![0.0; n_voxel],
            mean_f32: Vec::new(),
        }
    }

    /// Mean signal so far; empty before the first volume. Shape `[n_voxel]`.
    pub(super) fn mean(&self) -> &[f32] {
        &self.mean_f32
    }

    /// Adds a volume (signal in scanner units, shape `[n_voxel]`) with its row of the design.
    /// Returns the signal without what `removed`, a part of the row, explains of it: about its
    /// mean, or about 0.
    pub(super) fn add(
        &mut self,
        bold: &[f32],
        row: &[f64],
        removed: &[f64],
        forget: f64,
        keep_mean: bool,
    ) -> Vec<f32> {
        if self.n_volume == 0 {
            self.first.copy_from_slice(bold);
        }
        self.n_volume = self.n_volume.saturating_add(1);
        self.add_to_matrix(row, forget);
        let weights = Factor::new(&self.matrix, row.len()).solve(removed);

        let mut out = vec![0.0; self.n_voxel];
        let (mut from_first, mut explained) = ([0.0; BLOCK], [0.0; BLOCK]);
        for start in (0..self.n_voxel).step_by(BLOCK) {
            let block = start..self.n_voxel.min(start + BLOCK);
            let (n, bold) = (block.len(), &bold[block.clone()]);
            let (first, shift) = (&self.first[block.clone()], &self.shift[block.clone()]);
            let (from_first, explained) = (&mut from_first[..n], &mut explained[..n]);
            for (((d, &y), &first), &shift) in from_first.iter_mut().zip(bold).zip(first).zip(shift)
            {
                *d = f64::from(y) - f64::from(first) - shift;
            }
            explained.fill(0.0);
            for ((k, &x), &weight) in row.iter().enumerate().zip(&weights) {
                let sums = &mut self.sums[k * self.n_voxel..][block.clone()];
                for ((sum, &d), explained) in sums.iter_mut().zip(&*from_first).zip(&mut *explained)
                {
                    *sum = forget * *sum + x * d;
                    *explained += weight * *sum;
                }
            }
            for (((out, &d), &explained), &first) in
                out[block].iter_mut().zip(&*from_first).zip(&*explained).zip(first)
            {
                let level = if keep_mean { f64::from(first) } else { 0.0 };
                *out = (d - explained + level) as f32;
            }
        }
        self.add_to_mean(bold);
        out
    }

    fn add_to_matrix(&mut self, row: &[f64], forget: f64) {
        let k = row.len();
        for i in 0..k {
            for j in 0..k {
                let prior = if i == j { (1.0 - forget) * self.precisions[i] } else { 0.0 };
                let entry = &mut self.matrix[i * k + j];
                *entry = forget * *entry + prior + row[i] * row[j];
            }
        }
    }

    fn add_to_mean(&mut self, bold: &[f32]) {
        let by_n = 1.0 / f64::from(self.n_volume);
        for (mean, &y) in self.mean.iter_mut().zip(bold) {
            *mean += (f64::from(y) - *mean) * by_n;
        }
        self.mean_f32.clear();
        self.mean_f32.extend(self.mean.iter().map(|&mean| mean as f32));
    }

    /// Gives some regressors back their prior, as after a new start. Their part with the values
    /// `end` moves into the level, so that the model goes on without a step.
    pub(super) fn start_again(&mut self, regressors: Range<usize>, end: &[f64]) {
        let k = self.precisions.len();
        let factor = Factor::new(&self.matrix, k);
        let mut covariance = factor.inverse();
        let mut at_end = vec![0.0; k];
        at_end[regressors.clone()].copy_from_slice(end);
        let shift = factor.solve(&at_end);

        // The level plus the part at the end, in place of the level.
        let moved = times(&covariance, &at_end);
        let variance: f64 = moved.iter().zip(&at_end).map(|(a, b)| a * b).sum();
        covariance[0] += 2.0 * moved[0] + variance;
        for i in 1..k {
            covariance[i] += moved[i];
            covariance[i * k] += moved[i];
        }
        for i in regressors.clone() {
            for j in 0..k {
                covariance[i * k + j] = 0.0;
                covariance[j * k + i] = 0.0;
            }
            covariance[i * k + i] = 1.0 / self.precisions[i];
        }
        for (i, precision) in self.precisions.iter().enumerate().skip(1) {
            let variance = &mut covariance[i * k + i];
            // It was left out of the solution: nothing is known of it.
            if *variance <= 0.0 {
                *variance = 1.0 / precision;
            }
        }
        self.matrix = Factor::new(&covariance, k).inverse();

        // New sums: the new matrix times the coefficients that stay.
        let mut staying = factor.inverse();
        for i in regressors {
            staying[i * k..(i + 1) * k].fill(0.0);
        }
        let rows = self.matrix.chunks_exact(k);
        let change: Vec<Vec<f64>> = rows.map(|row| row_times(row, &staying)).collect();
        self.change_sums(&shift, &change);
    }

    /// Replaces the sums by `change` times the sums, and adds `shift` times the sums to the shift.
    fn change_sums(&mut self, shift: &[f64], change: &[Vec<f64>]) {
        let n_voxel = self.n_voxel;
        let mut old = Vec::new();
        for start in (0..n_voxel).step_by(BLOCK) {
            let block = start..n_voxel.min(start + BLOCK);
            let n = block.len();
            old.clear();
            for sums in self.sums.chunks_exact(n_voxel) {
                old.extend_from_slice(&sums[block.clone()]);
            }
            let add_to = |new: &mut [f64], weights: &[f64]| {
                for (old, weight) in old.chunks_exact(n).zip(weights) {
                    new.iter_mut().zip(old).for_each(|(new, old)| *new += weight * old);
                }
            };
            add_to(&mut self.shift[block.clone()], shift);
            for (sums, weights) in self.sums.chunks_exact_mut(n_voxel).zip(change) {
                sums[block.clone()].fill(0.0);
                add_to(&mut sums[block.clone()], weights);
            }
        }
    }

    /// Coefficients of one voxel.
    #[cfg(test)]
    pub(super) fn coefficients(&self, voxel: usize) -> Vec<f64> {
        let k = self.precisions.len();
        let sums: Vec<f64> = (0..k).map(|i| self.sums[i * self.n_voxel + voxel]).collect();
        Factor::new(&self.matrix, k).solve(&sums)
    }

    pub(super) fn save(&self, to: &mut Saver) {
        to.u32(self.n_volume);
        to.f64s(&self.matrix);
        to.f64s(&self.sums);
        to.f32s(&self.first);
        to.f64s(&self.shift);
        to.f64s(&self.mean);
    }

    pub(super) fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        let n_volume = from.u32()?;
        let (matrix, sums, first) = (from.f64s()?, from.f64s()?, from.f32s()?);
        let (shift, mean) = (from.f64s()?, from.f64s()?);
        let n_voxel = self.n_voxel;
        let fits = matrix.len() == self.matrix.len()
            && sums.len() == self.sums.len()
            && [first.len(), shift.len(), mean.len()] == [n_voxel; 3];
        if !fits {
            return None;
        }
        self.mean_f32.clear();
        if n_volume > 0 {
            self.mean_f32.extend(mean.iter().map(|&mean| mean as f32));
        }
        (self.n_volume, self.matrix, self.sums) = (n_volume, matrix, sums);
        (self.first, self.shift, self.mean) = (first, shift, mean);
        Some(())
    }
}
