//! Coregister: where an image of today lies in an image of another day.
//!
//! Masks and models belong to the space of the day on which they were made. The head lies elsewhere
//! today, and matrix and affine may differ as well. This finds the rigid transform between the two,
//! with the estimate of [`realign`](super) from two starts: as the scanner says, and with the
//! centres of the heads on each other. The better one counts.
//!
//! Both images must have one contrast, say two EPI volumes: a T1 image and an EPI volume do not
//! correlate, and the fit fails.

use super::{
    Fit, HEAD_RADIUS_MM, InvalidRealign, MAX_STEPS, RealignOptions, ReferenceImage, check_space,
    estimate::{Found, Level},
    rigid::Affine,
};
use crate::volume::Motion;

/// Correlation below which two images of different days do not show the same head. Lower than
/// within a run: shim and coil loading change what the scanner sees.
const MIN_CORRELATION: f64 = 0.7;

/// Where an image lies in another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coregistration {
    /// From today's image to the model's, in mm. [`Motion::matrix`] gives it as a matrix.
    pub motion: Motion,
    /// Whether it can be trusted; the identity when it [`Failed`](Fit::Failed).
    pub fit: Fit,
    /// Correlation of both images where the model's says most about motion.
    pub correlation: f64,
}

/// Finds today's image in the model's. Their matrices and affines may differ.
///
/// # Errors
///
/// Fails when an option is out of range, when an image has fewer than 4 voxels along an axis, when
/// its signal does not fit its matrix or is not finite, or when the model's is empty or constant.
pub fn coregister(
    options: RealignOptions,
    today: ReferenceImage<'_>,
    model: ReferenceImage<'_>,
) -> Result<Coregistration, InvalidRealign> {
    options.check()?;
    for image in [&today, &model] {
        check_space(image.space)?;
        image.check()?;
    }
    let of_model = (model.space, model.signal);
    let level = Level::new(of_model, today.space, options.fwhm_mm, options.separation_mm);
    let mut level = level.ok_or(InvalidRealign::FlatReference)?;
    level.take(today.signal);
    let best = starts(&today, &model)
        .into_iter()
        .filter_map(|start| level.fit(start, MAX_STEPS))
        .filter(|found| found.correlation >= MIN_CORRELATION)
        .max_by(|a, b| a.correlation.total_cmp(&b.correlation));
    Ok(match best {
        None => {
            Coregistration { motion: Motion::default(), fit: Fit::Failed, correlation: f64::NAN }
        }
        Some(Found { motion, is_settled, correlation }) => {
            let is_near = level.distance_mm(&motion, HEAD_RADIUS_MM) <= options.max_motion_mm;
            let fit = if is_settled && is_near { Fit::Converged } else { Fit::BoundReached };
            Coregistration { motion: Motion::of(&motion), fit, correlation }
        }
    })
}

/// As the scanner says, and with the centres of the heads on each other.
fn starts(today: &ReferenceImage<'_>, model: &ReferenceImage<'_>) -> Vec<Affine> {
    let as_scanned = Motion::default().affine();
    let mut starts = vec![as_scanned];
    if let (Some(from), Some(to)) = (centre_mm(today), centre_mm(model)) {
        let shift = std::array::from_fn(|axis| to[axis] - from[axis]);
        starts.push(Affine { shift, ..as_scanned });
    }
    starts
}

/// Middle of the voxels that are brighter than the mean, in mm.
fn centre_mm(image: &ReferenceImage<'_>) -> Option<[f64; 3]> {
    let mean = image.signal.iter().map(|&s| f64::from(s)).sum::<f64>() / image.signal.len() as f64;
    let [nx, ny, _] = image.space.matrix();
    let (mut sum, mut n) = ([0.0; 3], 0_u32);
    for (index, _) in image.signal.iter().enumerate().filter(|(_, s)| f64::from(**s) > mean) {
        let voxel = [index % nx, index / nx % ny, index / (nx * ny)].map(|v| v as f64);
        sum.iter_mut().zip(voxel).for_each(|(sum, v)| *sum += v);
        n += 1;
    }
    (n > 0).then(|| image.space.position_mm(sum.map(|sum| sum / f64::from(n))))
}
