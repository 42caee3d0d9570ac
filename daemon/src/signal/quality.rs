//! The quality of a volume, and what the operator has to be told about it.
//!
//! | volume | outcome |
//! |---|---|
//! | one value in all voxels of the mask | dropped, as one that never came |
//! | not found in the reference | a spike without FD; nothing computed from it is shown |
//! | three of these in a row | an alarm: the reference shows something else |
//! | the first of a run, with a mask or region mostly outside the head | a warning |

use corticast_bold::{
    realign::Fit,
    spatial_mask::SpatialMask,
    time::TrIndex,
    volume::{MaskedVolume, Volume},
};
use ndarray::Array1;

use super::{in_model::InModel, path::Step, stages::Stages};

/// So many volumes in a row that are not found are no accident.
const MANY: u32 = 3;

/// Signal of a voxel, as a share of the head's mean, below which it is not in the head.
const DARK: f32 = 0.2;

/// Share of the mask's voxels that must be in the head.
const MIN_IN_HEAD: f64 = 0.5;

/// Differences of signal, as a share of it, that reslicing and smoothing make of a constant.
const FLAT: f32 = 1e-5;

/// A status for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `info`, `warning` or `alarm`.
    pub level: &'static str,
    /// What to say.
    pub message: String,
}

/// A volume without signal.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "{tr} has one signal, {signal:.3e}, in all {n_voxel} voxels of the mask, expected an image"
)]
pub struct FlatVolume {
    /// Which volume.
    tr: TrIndex,
    /// The signal of all voxels.
    signal: f32,
    /// Voxels of the mask.
    n_voxel: usize,
}

impl Stages {
    /// Measures DVARS and FD of a volume and judges it.
    ///
    /// # Errors
    ///
    /// Fails when all voxels of a mask with several have one value.
    pub(super) fn measure(
        &mut self,
        masked: &MaskedVolume,
        step: &mut Step,
    ) -> Result<(), FlatVolume> {
        let (tr, bold) = (masked.tr, &masked.bold);
        let signal = bold.first().copied().unwrap_or_default();
        let near = FLAT * signal.abs();
        if bold.len() > 1 && bold.iter().all(|value| (value - signal).abs() <= near) {
            return Err(FlatVolume { tr, signal, n_voxel: bold.len() });
        }
        step.dvars = self.dvars.measure(masked);
        self.is_unmeasured = true;
        let mut is_found = true;
        if let Some((motion, fit)) = step.motion {
            is_found = fit != Fit::Failed;
            self.n_unfound = if is_found { 0 } else { self.n_unfound.saturating_add(1) };
            if is_found {
                step.fd_mm = self.displacement.measure(tr, &motion);
            } else {
                // Its place is unknown, so it says nothing about noise either.
                self.is_unmeasured = false;
            }
            if self.n_unfound == MANY {
                step.told.push(Told {
                    level: "alarm",
                    message: format!(
                        "{tr} and the {} volumes before it were not found in the reference, so \
                         their motion is unknown and nothing computed from them is shown; check \
                         that the participant lies in the coil, and the reference of [realign]",
                        MANY - 1
                    ),
                });
            }
        }
        step.is_lost_in_space = !is_found;
        step.is_spike = !is_found || self.spikes.judge(step.fd_mm, step.dvars).any();
        Ok(())
    }

    /// Where the reference of the run lies in the model's image, if there is one.
    pub(super) fn in_model(&self, mask: &SpatialMask) -> Option<Told> {
        let (found, covered) = self.whole.coregistration()?;
        let (level, message) = InModel::new(found, &covered, mask)?.status(self.centre_mm);
        Some(Told { level, message })
    }

    /// Looks at where the mask and the regions of the feedback lie in a volume. Once in a run.
    pub(super) fn place(
        &mut self,
        volume: &Volume,
        mask: &SpatialMask,
        masked: &MaskedVolume,
        regions: Option<&Array1<f32>>,
    ) -> Vec<Told> {
        self.is_unplaced = false;
        let Some(head) = head_signal(&volume.signal) else { return Vec::new() };
        let mut told = Vec::new();
        let mut tell = |what: String| {
            let message = format!(
                "{what} outside the head in {}: its signal is below a fifth of the head's; check \
                 that it was drawn on this participant's scan",
                volume.tr
            );
            told.push(Told { level: "warning", message });
        };
        let n_bright = masked.bold.iter().filter(|signal| **signal >= DARK * head).count();
        let n_voxel = masked.bold.len();
        if mask.kind() == "boolean" && (n_bright as f64) < MIN_IN_HEAD * n_voxel as f64 {
            tell(format!("{} of {n_voxel} voxels of the mask lie", n_voxel - n_bright));
        }
        for (number, mean) in (1..).zip(regions.into_iter().flatten()) {
            if *mean < DARK * head {
                tell(format!("region {number} (nuisance masks first, then the feedback's) lies"));
            }
        }
        told
    }
}

/// Mean signal of the head: of all voxels above an eighth of the mean of the volume. The formula is
/// that of SPM's `spm_global`. `None` for a volume without contrast.
fn head_signal(signal: &[f32]) -> Option<f32> {
    let mean = |values: &mut dyn Iterator<Item = f32>| {
        let (n, sum) = values.fold((0_u32, 0.0), |(n, sum), value| (n + 1, sum + f64::from(value)));
        (n > 0).then(|| sum / f64::from(n))
    };
    let is_usable = |value: &f32| value.is_finite();
    let all = mean(&mut signal.iter().copied().filter(is_usable))?;
    let floor = (all / 8.0) as f32;
    let head = mean(&mut signal.iter().copied().filter(|v| is_usable(v) && *v > floor))?;
    (head > 0.0).then_some(head as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_what_is_brighter_than_an_eighth_of_the_mean() {
        // Three quarters air: the mean is 257.5, an eighth of it 32.
        let signal: Vec<f32> = (0..400).map(|v| if v % 4 == 0 { 1000.0 } else { 10.0 }).collect();
        assert_eq!(head_signal(&signal), Some(1000.0));
        assert_eq!(head_signal(&[f32::NAN, 5.0, 5.0]), Some(5.0));
        assert_eq!((head_signal(&[0.0; 8]), head_signal(&[])), (None, None));
    }
}
