//! The pixels of one volume out of a `.rec`, scaled.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use corticast_bold::decode::{Dtype, Order};

use super::{
    Scaling,
    header::{Line, Par},
};
use crate::network::{Picture, scan::MAX_VOLUME_BYTES};

/// Reads the slices of a volume. Stored integers are sent with their scaling if all slices have the
/// same one, else as `float32`.
pub(super) fn read(
    rec: &Path,
    par: &Par,
    images: &[&Line],
    scaling: Scaling,
) -> Result<Picture, String> {
    let n_bytes = par.image_bytes();
    let [x, y, z] = par.matrix(images);
    if 4 * x * y * z > MAX_VOLUME_BYTES {
        return Err(format!(
            "found a volume of {x} x {y} x {z}, expected at most 16 million voxels"
        ));
    }
    let failed = |error: std::io::Error| format!("the REC cannot be read: {}", error.kind());
    let mut file = File::open(rec).map_err(failed)?;
    let mut slices = Vec::with_capacity(images.len());
    for line in images {
        let mut bytes = vec![0; n_bytes];
        file.seek(SeekFrom::Start(line.at as u64 * n_bytes as u64)).map_err(failed)?;
        file.read_exact(&mut bytes).map_err(failed)?;
        slices.push(bytes);
    }
    Ok(scaled(&slices, images, scaling))
}

/// A volume of slices, each of unsigned pixels of 8 or 16 bits.
fn scaled(slices: &[Vec<u8>], images: &[&Line], scaling: Scaling) -> Picture {
    let pixels = |slice: &[u8], bits: u32| -> Vec<u16> {
        match bits {
            8 => slice.iter().map(|&byte| byte.into()).collect(),
            _ => slice.as_chunks().0.iter().map(|two| u16::from_le_bytes(*two)).collect(),
        }
    };
    let scales: Vec<(f64, f64)> = images.iter().map(|line| scale(line, scaling)).collect();
    let pairs = slices.iter().zip(images);
    #[allow(clippy::float_cmp, reason = "equal texts in the file are equal numbers")]
    let is_uniform = scales.iter().all(|scale| *scale == scales[0]);
    let (dtype, slope, intercept, voxels) = if is_uniform {
        let bytes: Vec<u8> = pairs
            .flat_map(|(slice, line)| pixels(slice, line.bits))
            .flat_map(u16::to_le_bytes)
            .collect();
        (Dtype::UInt16, Some(scales[0].0), Some(scales[0].1), bytes)
    } else {
        let mut bytes = Vec::new();
        for ((slice, line), (slope, intercept)) in pairs.zip(&scales) {
            for pixel in pixels(slice, line.bits) {
                let value = (slope * f64::from(pixel) + intercept) as f32;
                bytes.extend(value.to_le_bytes());
            }
        }
        (Dtype::Float32, None, None, bytes)
    };
    Picture {
        index: 0,
        acquisition_time_s: None,
        dtype,
        order: Order::F,
        slope,
        intercept,
        voxels: voxels.into(),
    }
}

/// Slope and intercept of an image. Without a scale slope, true values are display values.
fn scale(line: &Line, scaling: Scaling) -> (f64, f64) {
    let Line { rescale_slope, rescale_intercept, scale_slope, .. } = *line;
    match scaling {
        Scaling::True if scale_slope != 0.0 => {
            (1.0 / scale_slope, rescale_intercept / (rescale_slope * scale_slope))
        }
        _ => (rescale_slope, rescale_intercept),
    }
}
