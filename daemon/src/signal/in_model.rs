//! Where the reference of today's run lies in the image of the model, in words for the operator.

use corticast_bold::{
    realign::{Fit, coregister::Coregistration},
    spatial_mask::SpatialMask,
    volume::Volume,
};

/// Share of the mask below which the operator is warned.
const MIN_COVERAGE: f64 = 0.95;

/// See the module docs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct InModel {
    /// From the reference of the run to the model's image.
    found: Coregistration,
    /// Share of the mask's weight that the run covers, 0 to 1.
    coverage: f64,
}

impl InModel {
    /// `covered` is 1 where the run covers the mask's space, else 0.
    pub(super) fn new(found: Coregistration, covered: &Volume, mask: &SpatialMask) -> Option<Self> {
        let weight = |volume: &Volume| {
            let outputs = mask.apply(volume).ok()?;
            Some(outputs.bold.iter().map(|&sum| f64::from(sum.abs())).sum::<f64>())
        };
        let everywhere = Volume { signal: vec![1.0; covered.signal.len()], ..covered.clone() };
        Some(Self { found, coverage: weight(covered)? / weight(&everywhere)? })
    }

    /// The level of a status, and what it says. `centre_mm`: middle of the run's volumes.
    pub(super) fn status(&self, centre_mm: [f64; 3]) -> (&'static str, String) {
        let Coregistration { motion, fit, correlation } = self.found;
        let rows = motion.matrix();
        let moved: [f64; 3] = std::array::from_fn(|row| {
            let rotated: f64 = (0..3).map(|column| rows[row][column] * centre_mm[column]).sum();
            rotated + rows[row][3] - centre_mm[row]
        });
        let distance_mm = moved.iter().map(|mm| mm * mm).sum::<f64>().sqrt();
        let cosine = ((0..3).map(|axis| rows[axis][axis]).sum::<f64>() - 1.0) / 2.0;
        let degrees = cosine.clamp(-1.0, 1.0).acos().to_degrees();
        let mut text = format!(
            "today's reference lies {distance_mm:.1} mm and {degrees:.1}° from the model's image \
             (correlation {correlation:.2}); the scan covers {:.1} % of the mask",
            100.0 * self.coverage
        );
        let mut level = "info";
        if fit != Fit::Converged {
            level = "warning";
            text +=
                "; the two are further apart than expected, so check the position of the slices";
        }
        if self.coverage < MIN_COVERAGE {
            level = "warning";
            text += "; voxels of the mask outside the scan hold the signal of the scan's edge, so \
                     place the slices as on the day of the model";
        }
        (level, text)
    }
}
