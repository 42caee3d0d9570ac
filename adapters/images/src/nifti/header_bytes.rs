//! A NIfTI-1 header as bytes, for written files: little-endian, affine as sform and qform.

use corticast_bold::decode::Dtype;

use super::format::NiftiFormat;

/// Voxels start after the header and four bytes that mean "no extensions".
pub(super) const VOXEL_OFFSET: u64 = 352;

/// The header and the four bytes after it. The affine is written as sform and qform, code 1
/// (scanner); the qform can represent only rotation, voxel sizes and origin. Without a number of
/// volumes, the file is 3-D.
pub(super) fn header_bytes(
    format: &NiftiFormat,
    n_volumes: Option<u32>,
) -> [u8; VOXEL_OFFSET as usize] {
    let mut bytes = [0; VOXEL_OFFSET as usize];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let affine = format.space.affine();
    let [nx, ny, nz] = format.space.matrix().map(|n| i16::try_from(n).unwrap_or(i16::MAX));
    let n_dim = if n_volumes.is_some() { 4 } else { 3 };
    let n_volumes = i16::try_from(n_volumes.unwrap_or(1)).unwrap_or(i16::MAX);
    let (code, bits) = match format.dtype {
        Dtype::Int16 => (4_i16, 16_i16),
        Dtype::UInt16 => (512, 16),
        Dtype::Float32 => (16, 32),
    };
    let (quaternion, qfac) = quaternion(affine);
    let size_mm = format.space.voxel_size_mm();
    let seconds = format.repetition_time.as_secs();

    put(0, &348_i32.to_le_bytes());
    put(38, b"r");
    for (i, n) in [n_dim, nx, ny, nz, n_volumes, 1, 1, 1].into_iter().enumerate() {
        put(40 + 2 * i, &n.to_le_bytes());
    }
    put(70, &code.to_le_bytes());
    put(72, &bits.to_le_bytes());
    for (i, v) in [qfac, size_mm[0], size_mm[1], size_mm[2], seconds].into_iter().enumerate() {
        put(76 + 4 * i, &(v as f32).to_le_bytes());
    }
    put(108, &(VOXEL_OFFSET as f32).to_le_bytes());
    put(112, &(format.slope.unwrap_or(1.0) as f32).to_le_bytes());
    put(116, &(format.intercept.unwrap_or(0.0) as f32).to_le_bytes());
    // Millimetres and seconds.
    put(123, &[2 | 8]);
    put(148, b"Corticast");
    put(252, &1_i16.to_le_bytes());
    put(254, &1_i16.to_le_bytes());
    for i in 0..3 {
        put(256 + 4 * i, &(quaternion[i] as f32).to_le_bytes());
        put(268 + 4 * i, &(affine[i][3] as f32).to_le_bytes());
        for (c, value) in affine[i].iter().enumerate() {
            put(280 + 16 * i + 4 * c, &(*value as f32).to_le_bytes());
        }
    }
    put(344, b"n+1\0");
    bytes
}

/// b, c, d of the rotation's quaternion, and the sign of its handedness (nifti1_io.c,
/// `nifti_mat44_to_quatern`). The columns are made orthogonal first; the first column stays.
fn quaternion(affine: &[[f64; 4]; 4]) -> ([f64; 3], f64) {
    let column = |c: usize| [affine[0][c], affine[1][c], affine[2][c]];
    let x = unit(column(0));
    let along = dot(column(1), x);
    let y = unit(std::array::from_fn(|i| column(1)[i] - along * x[i]));
    let z = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]];
    let qfac = if dot(z, column(2)) < 0.0 { -1.0 } else { 1.0 };

    // z is x × y, so this is a proper rotation whatever the handedness. Squares of the four
    // components, times four; the largest is used, so nothing is divided by almost zero.
    let (rx, ry, rz) = (x[0], y[1], z[2]);
    let squares = [1. + rx + ry + rz, 1. + rx - ry - rz, 1. - rx + ry - rz, 1. - rx - ry + rz];
    let largest = (0..4).max_by(|&a, &b| squares[a].total_cmp(&squares[b])).unwrap_or(0);
    let s = 2.0 * squares[largest].max(0.0).sqrt();
    let (yz, zx, xy) = (y[2] - z[1], z[0] - x[2], x[1] - y[0]);
    let (yx, zx_sum, zy) = (x[1] + y[0], z[0] + x[2], z[1] + y[2]);
    let [a, b, c, d] = match largest {
        0 => [s / 4., yz / s, zx / s, xy / s],
        1 => [yz / s, s / 4., yx / s, zx_sum / s],
        2 => [zx / s, yx / s, s / 4., zy / s],
        _ => [xy / s, zx_sum / s, zy / s, s / 4.],
    };
    // The header keeps b, c, d; a is taken to be positive.
    let sign = if a < 0.0 { -1.0 } else { 1.0 };
    ([sign * b, sign * c, sign * d], qfac)
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(v: [f64; 3]) -> [f64; 3] {
    let length = dot(v, v).sqrt();
    v.map(|c| c / length)
}
