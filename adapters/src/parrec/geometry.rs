//! Where the voxels of a PAR/REC volume are.
//!
//! Philips measures along posterior, head and left (AP, FH, RL). The stack is turned about RL, AP
//! and FH, in this order of matrices: found by nibabel's authors by comparison. The centre of the
//! stack is the off-centre of its middle.

use super::header::{Line, Par};

type Matrix = [[f64; 3]; 3];

/// Off-centre of the stack and mean of the slices may differ by so much, in mm: the lines of the
/// images are rounded.
const TOLERANCE_MM: f64 = 0.5;

/// Voxel → RAS+ mm, rows. `images` are the slices of a volume.
pub(super) fn affine(par: &Par, images: &[&Line]) -> Result<[[f64; 4]; 4], String> {
    let first = images[0];
    let turned = par.angulation_deg.iter().any(|angle| *angle != 0.0);
    let angles = if turned { par.angulation_deg } else { first.angulation_deg };
    let axes = axes(first.orientation).ok_or_else(|| {
        format!("found slice orientation {}, expected 1, 2 or 3", first.orientation)
    })?;
    let sizes = [first.spacing_mm[0], first.spacing_mm[1], first.thickness_mm + first.gap_mm];
    // Columns in posterior, head, left.
    let mut columns = product(&rotation(angles), &axes);
    columns.iter_mut().for_each(|row| row.iter_mut().zip(sizes).for_each(|(v, size)| *v *= size));
    let last = images[images.len() - 1];
    let along: f64 = (0..3)
        .map(|axis| columns[axis][2] * (last.off_centre_mm[axis] - first.off_centre_mm[axis]))
        .sum();
    if along < 0.0 {
        // The slices are stored against the usual direction; their places say so.
        columns.iter_mut().for_each(|row| row[2] = -row[2]);
    }
    let centre = centre(par, images);
    let half = par.matrix(images).map(|n| (n - 1) as f64 / 2.0);
    let mut affine = [[0.0; 4]; 4];
    affine[3][3] = 1.0;
    // Right is minus left, anterior is minus posterior, superior is head.
    for (row, (axis, sign)) in [(2, -1.0), (0, -1.0), (1, 1.0)].into_iter().enumerate() {
        for column in 0..3 {
            affine[row][column] = sign * columns[axis][column];
        }
        let to_corner: f64 = (0..3).map(|column| columns[axis][column] * half[column]).sum();
        affine[row][3] = sign * (centre[axis] - to_corner);
    }
    Ok(affine)
}

/// The middle of the stack: that of the scan, or the mean of the slices where the scan has none.
fn centre(par: &Par, images: &[&Line]) -> [f64; 3] {
    let mean: [f64; 3] = std::array::from_fn(|axis| {
        images.iter().map(|line| line.off_centre_mm[axis]).sum::<f64>() / images.len() as f64
    });
    let scan = par.off_centre_mm;
    let is_same = scan.iter().zip(mean).all(|(a, b)| (a - b).abs() <= TOLERANCE_MM);
    if is_same {
        return scan;
    }
    if scan.iter().any(|value| *value != 0.0) {
        tracing::warn!(
            "the scan's off-centre is {scan:.1?} mm, the middle of its slices {mean:.1?} mm (AP, \
             FH, RL): the second is used"
        );
    }
    mean
}

/// x, y, z of the image in posterior, head, left.
fn axes(orientation: u32) -> Option<Matrix> {
    match orientation {
        // Transverse: x to the left, y to posterior, z to the head.
        1 => Some([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
        // Sagittal: x to posterior, y to the feet, z to the right.
        2 => Some([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]]),
        // Coronal: x to the left, y to the feet, z to posterior.
        3 => Some([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]),
        _ => None,
    }
}

fn rotation([ap, fh, rl]: [f64; 3]) -> Matrix {
    let turn = |degrees: f64| (degrees.to_radians().cos(), degrees.to_radians().sin());
    let ((ca, sa), (cf, sf), (cr, sr)) = (turn(ap), turn(fh), turn(rl));
    let about_ap = [[1.0, 0.0, 0.0], [0.0, ca, -sa], [0.0, sa, ca]];
    let about_fh = [[cf, 0.0, sf], [0.0, 1.0, 0.0], [-sf, 0.0, cf]];
    let about_rl = [[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]];
    product(&about_rl, &product(&about_ap, &about_fh))
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| (0..3).map(|k| a[row][k] * b[k][column]).sum())
    })
}
