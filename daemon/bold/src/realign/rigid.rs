//! Rigid transforms: motion as six numbers and as a matrix.
//!
//! Sines and cosines are those of `libm`, which have the same bits on every machine.

use crate::volume::Motion;

/// Rows of a 3 x 3 matrix.
pub(super) type Matrix = [[f64; 3]; 3];

/// The map `p` → `linear·p + shift`: of points in mm, or from voxels to mm or back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    pub linear: Matrix,
    pub shift: [f64; 3],
}

impl Affine {
    /// Of a matrix of 4 rows.
    pub(super) fn of(rows: &[[f64; 4]; 4]) -> Self {
        let linear = std::array::from_fn(|row| std::array::from_fn(|column| rows[row][column]));
        Self { linear, shift: std::array::from_fn(|row| rows[row][3]) }
    }

    pub(super) fn apply(&self, p: [f64; 3]) -> [f64; 3] {
        let rotated = times(&self.linear, p);
        std::array::from_fn(|row| rotated[row] + self.shift[row])
    }

    /// First `first`, then `self`.
    pub(super) fn after(&self, first: &Self) -> Self {
        let linear = product(&self.linear, &first.linear);
        Self { linear, shift: self.apply(first.shift) }
    }

    pub(super) fn inverse(&self) -> Self {
        let linear = inverse(&self.linear);
        let shift = times(&linear, self.shift).map(|value| -value);
        Self { linear, shift }
    }

    /// The angle of the rotation, for a rigid transform.
    pub(super) fn angle_rad(&self) -> f64 {
        let m = &self.linear;
        let doubled = [m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]];
        libm::atan2(norm(doubled), m[0][0] + m[1][1] + m[2][2] - 1.0)
    }

    /// The rotation by the vector `rotation` (axis times angle in radians) about `centre`, and then
    /// the shift by `translation`. Formula: Rodrigues.
    pub(super) fn step(translation: [f64; 3], rotation: [f64; 3], centre: [f64; 3]) -> Self {
        let angle = norm(rotation);
        let (sine, cosine) = if angle < 1e-6 {
            (1.0, 0.5)
        } else {
            let half = libm::sin(angle / 2.0) / (angle / 2.0);
            (libm::sin(angle) / angle, half * half / 2.0)
        };
        let [x, y, z] = rotation;
        let cross = [[0., -z, y], [z, 0., -x], [-y, x, 0.]];
        let twice = product(&cross, &cross);
        let linear: Matrix = std::array::from_fn(|row| {
            std::array::from_fn(|column| {
                f64::from(u8::from(row == column))
                    + sine * cross[row][column]
                    + cosine * twice[row][column]
            })
        });
        let moved = times(&linear, centre);
        let shift = std::array::from_fn(|row| centre[row] - moved[row] + translation[row]);
        Self { linear, shift }
    }
}

impl Motion {
    /// The transform as rows of a matrix: `[R t; 0 0 0 1]`, mm.
    #[must_use]
    pub fn matrix(&self) -> [[f64; 4]; 4] {
        let Affine { linear: r, shift: t } = self.affine();
        let row = |row: usize| [r[row][0], r[row][1], r[row][2], t[row]];
        [row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]]
    }

    pub(super) fn affine(&self) -> Affine {
        let ([sx, sy, sz], [cx, cy, cz]) =
            (self.rotation_rad.map(libm::sin), self.rotation_rad.map(libm::cos));
        let linear = [
            [cy * cz, -cy * sz, sy],
            [cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy],
            [sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy],
        ];
        Affine { linear, shift: self.translation_mm }
    }

    /// Of a rigid transform.
    pub(super) fn of(Affine { linear: r, shift }: &Affine) -> Self {
        let rotation_rad = [
            libm::atan2(-r[1][2], r[2][2]),
            libm::asin(r[0][2].clamp(-1.0, 1.0)),
            libm::atan2(-r[0][1], r[0][0]),
        ];
        Self { translation_mm: *shift, rotation_rad }
    }
}

pub(super) fn times(m: &Matrix, p: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|row| m[row][0] * p[0] + m[row][1] * p[1] + m[row][2] * p[2])
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| (0..3).map(|k| a[row][k] * b[k][column]).sum())
    })
}

/// By cofactors. The spaces of volumes are never singular.
fn inverse(m: &Matrix) -> Matrix {
    let minor = |row: usize, column: usize| {
        let (r, s) = ((row + 1) % 3, (row + 2) % 3);
        let (c, d) = ((column + 1) % 3, (column + 2) % 3);
        m[r][c] * m[s][d] - m[r][d] * m[s][c]
    };
    let determinant: f64 = (0..3).map(|column| m[0][column] * minor(0, column)).sum();
    std::array::from_fn(|row| std::array::from_fn(|column| minor(column, row) / determinant))
}

pub(super) fn norm(v: [f64; 3]) -> f64 {
    v.iter().map(|value| value * value).sum::<f64>().sqrt()
}

pub(super) fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn motion_is_right_handed_and_turns_about_z_first() {
        let quarter = std::f64::consts::FRAC_PI_2;
        let turned = |rotation_rad: [f64; 3], p: [f64; 3]| {
            let motion = Motion { translation_mm: [0.0, 0.0, 1.0], rotation_rad };
            motion.affine().apply(p).map(|v| v.round() as i32)
        };
        assert_eq!(turned([0.0, 0.0, quarter], [1.0, 0.0, 0.0]), [0, 1, 1]);
        assert_eq!(turned([quarter, 0.0, 0.0], [0.0, 1.0, 0.0]), [0, 0, 2]);
        assert_eq!(turned([0.0, quarter, 0.0], [0.0, 0.0, 1.0]), [1, 0, 1]);
        // x → y by Rz, then y → z by Rx.
        assert_eq!(turned([quarter, 0.0, quarter], [1.0, 0.0, 0.0]), [0, 0, 2]);
        let matrix = Motion { translation_mm: [4.0, 5.0, 6.0], rotation_rad: [0.0; 3] }.matrix();
        assert_eq!(matrix[1].map(|v| v as i32), [0, 1, 0, 5]);
    }

    proptest! {
        /// Six numbers to a matrix and back.
        #[test]
        fn motion_survives_its_matrix(t in prop::array::uniform3(-50.0..50.0_f64), r in prop::array::uniform3(-1.0..1.0_f64)) {
            let motion = Motion { translation_mm: t, rotation_rad: r };
            let back = Motion::of(&motion.affine());
            prop_assert!((0..3).all(|i| (back.rotation_rad[i] - r[i]).abs() < 1e-12));
            let there_and_back = motion.affine().inverse().after(&motion.affine()).apply(t);
            prop_assert!((0..3).all(|i| (there_and_back[i] - t[i]).abs() < 1e-9));
        }
    }
}
