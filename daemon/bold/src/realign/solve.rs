//! Small symmetric systems of equations, by Cholesky's method.

/// One point's row; see [`Points`](super::points::Points).
pub(super) type Row = [f32; N_ROW];
/// Six motions, the signal, and 1.
pub(super) const N_ROW: usize = 8;

/// A positive definite matrix as `L·Lᵀ`.
#[derive(Clone, Debug)]
pub(super) struct Cholesky(Vec<Vec<f64>>);

impl Cholesky {
    /// Of a symmetric matrix whose lower triangle is given. `None` when it is singular, or so
    /// nearly that f32 cannot tell.
    pub(super) fn new(matrix: &[Vec<f64>]) -> Option<Self> {
        let n = matrix.len();
        let mut l = vec![vec![0.0; n]; n];
        for i in 0..n {
            for j in 0..=i {
                let sum: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
                let left = matrix[i][j] - sum;
                if i > j {
                    l[i][j] = left / l[j][j];
                } else if left > 1e-9 * matrix[i][i] && left.is_finite() {
                    l[i][i] = left.sqrt();
                } else {
                    return None;
                }
            }
        }
        Some(Self(l))
    }

    pub(super) fn determinant(&self) -> f64 {
        self.0.iter().enumerate().map(|(i, row)| row[i] * row[i]).product()
    }

    /// `L⁻¹·b`, in place.
    fn forward(&self, b: &mut [f64]) {
        for i in 0..self.0.len() {
            let sum: f64 = (0..i).map(|k| self.0[i][k] * b[k]).sum();
            b[i] = (b[i] - sum) / self.0[i][i];
        }
    }

    /// The solution of `matrix·x = b`.
    pub(super) fn solve<const N: usize>(&self, mut b: [f64; N]) -> [f64; N] {
        self.forward(&mut b);
        for i in (0..N).rev() {
            let sum: f64 = (i + 1..N).map(|k| self.0[k][i] * b[k]).sum();
            b[i] = (b[i] - sum) / self.0[i][i];
        }
        b
    }

    /// `rᵀ·matrix⁻¹·r`: how much of the determinant a row contributes.
    pub(super) fn leverage(&self, row: &Row) -> f32 {
        let mut r = row.map(f64::from);
        let n = self.0.len();
        self.forward(&mut r[..n]);
        r[..n].iter().map(|v| v * v).sum::<f64>() as f32
    }
}
