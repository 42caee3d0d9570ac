//! The normal equations: sums over points, and their solution by Cholesky's method.

/// One point's row; see [`Points`](super::points::Points).
pub(super) type Row = [f32; N_ROW];
/// Six motions, the signal, and 1.
pub(super) const N_ROW: usize = 8;
/// Sums of `row·rowᵀ`; only the lower triangle is used.
pub(super) type Gram = [[f64; N_ROW]; N_ROW];

/// Adds `sign·row·rowᵀ`.
#[inline]
pub(super) fn add(gram: &mut Gram, row: &Row, sign: f64) {
    let row = row.map(f64::from);
    for (i, sums) in gram.iter_mut().enumerate() {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += sign * row[i] * value);
    }
}

/// The sum over all rows.
pub(super) fn gram(rows: &[Row]) -> Gram {
    let mut sum = Gram::default();
    rows.iter().for_each(|row| add(&mut sum, row, 1.0));
    sum
}

/// The first `N` rows and columns of a sum as `L·Lᵀ`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cholesky<const N: usize> {
    l: [[f64; N]; N],
}

impl<const N: usize> Cholesky<N> {
    /// `None` when the equations are singular, or so nearly that f32 cannot tell.
    pub(super) fn new(gram: &Gram) -> Option<Self> {
        let mut l = [[0.0; N]; N];
        for i in 0..N {
            for j in 0..=i {
                let sum: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
                let left = gram[i][j] - sum;
                if i > j {
                    l[i][j] = left / l[j][j];
                } else if left > 1e-9 * gram[i][i] && left.is_finite() {
                    l[i][i] = left.sqrt();
                } else {
                    return None;
                }
            }
        }
        Some(Self { l })
    }

    pub(super) fn determinant(&self) -> f64 {
        (0..N).map(|i| self.l[i][i] * self.l[i][i]).product()
    }

    /// `L⁻¹·b`.
    fn forward(&self, mut b: [f64; N]) -> [f64; N] {
        for i in 0..N {
            let sum: f64 = (0..i).map(|k| self.l[i][k] * b[k]).sum();
            b[i] = (b[i] - sum) / self.l[i][i];
        }
        b
    }

    /// The `x` with `L·Lᵀ·x = b`.
    pub(super) fn solve(&self, b: [f64; N]) -> [f64; N] {
        let mut x = self.forward(b);
        for i in (0..N).rev() {
            let sum: f64 = (i + 1..N).map(|k| self.l[k][i] * x[k]).sum();
            x[i] = (x[i] - sum) / self.l[i][i];
        }
        x
    }

    /// `rᵀ·(L·Lᵀ)⁻¹·r` of the row's first `N` values: the share of the determinant that is lost
    /// without this row.
    pub(super) fn leverage(&self, row: &Row) -> f32 {
        let forward = self.forward(std::array::from_fn(|i| f64::from(row[i])));
        forward.iter().map(|v| v * v).sum::<f64>() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [Row; 3] = [
        [2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    ];

    #[test]
    fn two_equations_are_solved_as_by_hand() {
        // Sums: [5 1; 1 2], determinant 9; 5·1 + 1·3 = 8 and 1·1 + 2·3 = 7.
        let cholesky = Cholesky::<2>::new(&gram(&ROWS)).unwrap();
        assert!((cholesky.determinant() - 9.0).abs() < 1e-12);
        let [x, y] = cholesky.solve([8.0, 7.0]);
        assert!((x - 1.0).abs() < 1e-12 && (y - 3.0).abs() < 1e-12);
    }

    #[test]
    fn leverage_is_the_lost_share_of_the_determinant() {
        let all = Cholesky::<2>::new(&gram(&ROWS)).unwrap();
        let mut without = gram(&ROWS);
        add(&mut without, &ROWS[0], -1.0);
        // Left are [1 1; 1 2], determinant 1 of 9.
        let lost = 1.0 - Cholesky::<2>::new(&without).unwrap().determinant() / all.determinant();
        assert!((f64::from(all.leverage(&ROWS[0])) - lost).abs() < 1e-6);
        assert!((lost - 8.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn singular_equations_have_no_solution() {
        assert!(Cholesky::<3>::new(&gram(&ROWS)).is_none());
        assert!(Cholesky::<2>::new(&[[f64::NAN; 8]; 8]).is_none());
    }
}
