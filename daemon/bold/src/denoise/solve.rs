//! A small symmetric system of equations, by Cholesky's factorisation.
//!
//! A regressor that the ones before it explain completely, within rounding, gets the coefficient
//! 0, so the solution is always finite.

/// A pivot smaller than this part of its diagonal is rounding.
const ROUNDING: f64 = 1e-13;

/// The lower triangle `L` of `A = L·Lᵀ`.
pub(super) struct Factor {
    n: usize,
    lower: Vec<f64>,
    /// 1 over the diagonal; 0 for a regressor that is left out.
    by_diagonal: Vec<f64>,
}

impl Factor {
    /// Factorises a positive matrix. Shape `[n, n]`.
    pub(super) fn new(matrix: &[f64], n: usize) -> Self {
        let (mut lower, mut by_diagonal) = (vec![0.0; n * n], vec![0.0; n]);
        for j in 0..n {
            let dot = |lower: &[f64], a: usize, b: usize| -> f64 {
                (0..j).map(|k| lower[a * n + k] * lower[b * n + k]).sum()
            };
            let diagonal = matrix[j * n + j];
            let pivot = diagonal - dot(&lower, j, j);
            if pivot > ROUNDING * diagonal {
                by_diagonal[j] = 1.0 / pivot.sqrt();
                for i in j..n {
                    lower[i * n + j] = (matrix[i * n + j] - dot(&lower, i, j)) * by_diagonal[j];
                }
            }
        }
        Self { n, lower, by_diagonal }
    }

    /// Solves for one right-hand side. Shape `[n]`.
    pub(super) fn solve(&self, right: &[f64]) -> Vec<f64> {
        let n = self.n;
        let mut x = right.to_vec();
        for i in 0..n {
            let known: f64 = (0..i).map(|k| self.lower[i * n + k] * x[k]).sum();
            x[i] = (x[i] - known) * self.by_diagonal[i];
        }
        for i in (0..n).rev() {
            let known: f64 = (i + 1..n).map(|k| self.lower[k * n + i] * x[k]).sum();
            x[i] = (x[i] - known) * self.by_diagonal[i];
        }
        x
    }

    /// The inverse. Shape `[n, n]`.
    pub(super) fn inverse(&self) -> Vec<f64> {
        let unit = |i: usize| (0..self.n).map(|j| f64::from(u8::from(i == j))).collect::<Vec<_>>();
        (0..self.n).flat_map(|i| self.solve(&unit(i))).collect()
    }
}

/// A square matrix times a vector.
pub(super) fn times(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    let dot = |row: &[f64]| row.iter().zip(vector).map(|(a, b)| a * b).sum();
    matrix.chunks_exact(vector.len()).map(dot).collect()
}

/// A row vector times a square matrix.
pub(super) fn row_times(row: &[f64], matrix: &[f64]) -> Vec<f64> {
    let mut product = vec![0.0; row.len()];
    for (weight, of_matrix) in row.iter().zip(matrix.chunks_exact(row.len())) {
        product.iter_mut().zip(of_matrix).for_each(|(sum, value)| *sum += weight * value);
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], expected: &[f64]) -> bool {
        found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12)
    }

    #[test]
    fn a_system_is_solved_and_inverted() {
        // 4a + 2b = 8, 2a + 3b = 8.
        let factor = Factor::new(&[4.0, 2.0, 2.0, 3.0], 2);
        assert!(close(&factor.solve(&[8.0, 8.0]), &[1.0, 2.0]));
        assert!(close(&factor.inverse(), &[0.375, -0.25, -0.25, 0.5]));
    }

    #[test]
    fn a_regressor_that_another_explains_gets_nothing() {
        let factor = Factor::new(&[2.0, 4.0, 0.0, 4.0, 8.0, 0.0, 0.0, 0.0, 5.0], 3);
        assert!(close(&factor.solve(&[2.0, 4.0, 10.0]), &[1.0, 0.0, 2.0]));
        assert!(close(&Factor::new(&[0.0], 1).solve(&[3.0]), &[0.0]));
    }

    #[test]
    fn rows_and_columns_are_multiplied_in_order() {
        let matrix = [1.0, 2.0, 3.0, 4.0];
        assert!(close(&times(&matrix, &[1.0, 10.0]), &[21.0, 43.0]));
        assert!(close(&row_times(&[1.0, 10.0], &matrix), &[31.0, 42.0]));
    }
}
