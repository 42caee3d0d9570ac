//! Realign: rigid-body motion correction to a reference volume.
//!
//! The reference is the first volume of the run, or an image that is given. For each volume the
//! stage estimates the motion (`estimate.rs`), beginning with that of the volume before, and
//! reslices the volume (`reslice.rs`), if asked into the space of a model that was made on another
//! day (`target.rs`). The method is SPM's with its defaults: 5 mm smoothing, points 4 mm apart,
//! splines of degree 2 for the estimate and 4 for reslicing.
//!
//! One resolution is enough: heads that are 40 mm or 20° away were still found. What happens when
//! it goes wrong:
//!
//! | volume | outcome |
//! |---|---|
//! | far from the reference, or the steps were used up | [`Fit::BoundReached`]: resliced with the motion found |
//! | empty, constant, unlike the reference, or mostly outside of it | [`Fit::Failed`]: resliced with the motion of the last volume that converged |
//! | a value that is not finite, or another matrix | an error |
//! | the first one is empty or constant, or not found in the model's image | an error; the next volume may become the reference |
//!
//! None of these changes where the estimate for the next volume begins. A volume takes a bounded
//! number of steps, so its time is bounded. From finite signal comes finite signal.

pub mod coregister;
mod error;
mod estimate;
mod points;
pub mod reslice;
mod rigid;
mod solve;
mod spline;
mod target;

#[cfg(test)]
mod tests;

use crate::{
    space::VoxelSpace,
    stage::Stage,
    state::{Loader, Saver},
    volume::{Motion, Volume, unusable_voxel},
};
use coregister::Coregistration;
pub use error::{InvalidRealign, NotRealigned};
use estimate::Level;
use reslice::Reslice;
use target::Target;

/// Voxels that every axis must have: fewer slices do not tell all six motions.
const MIN_AXIS_VOXELS: usize = 4;
/// Shortest edge of a voxel; shorter ones are not in mm.
const MIN_VOXEL_MM: f64 = 0.1;
/// Longest edge of a voxel.
const MAX_VOXEL_MM: f64 = 20.0;
/// Steps of one estimate. Heads that moved by 40 mm needed 14.
const MAX_STEPS: usize = 24;
/// Correlation with the reference below which a volume shows something else. After good estimates
/// it was above 0.99.
const MIN_CORRELATION: f64 = 0.9;
/// Radius at which rotations count as mm, as in framewise displacement (Power et al. 2012).
const HEAD_RADIUS_MM: f64 = 50.0;

/// How motion is estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RealignOptions {
    /// Full width at half maximum of the Gaussian that smooths volumes for the estimate, in mm.
    pub fwhm_mm: f64,
    /// Distance between the points at which volumes are compared, in mm.
    pub separation_mm: f64,
    /// Motion above this is marked: translation of the volume's middle plus rotation at a radius of
    /// 50 mm, from the reference.
    pub max_motion_mm: f64,
}

impl Default for RealignOptions {
    fn default() -> Self {
        Self { fwhm_mm: 5.0, separation_mm: 4.0, max_motion_mm: 15.0 }
    }
}

/// An image of the space of the run to which its volumes are realigned.
#[derive(Clone, Copy, Debug)]
pub struct ReferenceImage<'a> {
    /// Its matrix and affine.
    pub space: &'a VoxelSpace,
    /// Its signal, x fastest. Shape `[n_voxel]`.
    pub signal: &'a [f32],
}

/// How far the estimate of a volume can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The estimate converged.
    Converged,
    /// The motion is larger than allowed, or the estimate had not converged after its last step.
    BoundReached,
    /// There is no estimate: the motion is that of the last volume that converged.
    Failed,
}

/// A realigned volume.
#[derive(Clone, Debug)]
pub struct Realigned {
    /// The volume, resliced.
    pub volume: Volume,
    /// How the volume was moved.
    pub motion: Motion,
    /// How far that can be trusted.
    pub fit: Fit,
}

/// Realigns volumes. See the module docs.
#[derive(Clone, Debug)]
pub struct Realign {
    options: RealignOptions,
    space: VoxelSpace,
    is_reference_given: bool,
    /// `None` before the first volume, if the run's own is the reference.
    level: Option<Level>,
    /// The reference, if it came from the run; for checkpoints.
    run_reference: Vec<f32>,
    /// Of the last volume that converged.
    last: Motion,
    reslice: Reslice,
    /// The space into which volumes are resliced, if it is not the run's.
    target: Option<Target>,
}

impl Realign {
    /// Realigns volumes of this space to a reference; without one, to the first volume of a run.
    ///
    /// # Errors
    ///
    /// Fails when an option is out of range, when an axis has fewer than 4 voxels, when voxels are
    /// not of 0.1 to 20 mm, or when the reference is of another space, empty, constant or not finite.
    pub fn new(
        options: RealignOptions,
        space: &VoxelSpace,
        reference: Option<ReferenceImage<'_>>,
    ) -> Result<Self, InvalidRealign> {
        options.check()?;
        let reslice = Reslice::new(space)?;
        let level = match reference {
            None => None,
            Some(reference) => {
                reference.space.check_is(space)?;
                reference.check()?;
                let level = options.level(reference.signal, space);
                Some(level.ok_or(InvalidRealign::FlatReference)?)
            }
        };
        Ok(Self {
            options,
            space: space.clone(),
            is_reference_given: level.is_some(),
            level,
            run_reference: Vec::new(),
            last: Motion::default(),
            reslice,
            target: None,
        })
    }

    /// Realigns volumes of this space to the first volume of a run, finds that one in the image of
    /// a model, and reslices volumes into the image's space.
    ///
    /// # Errors
    ///
    /// As [`Realign::new`]; the image may have another space than the volumes.
    pub fn into_model(
        options: RealignOptions,
        space: &VoxelSpace,
        model: ReferenceImage<'_>,
    ) -> Result<Self, InvalidRealign> {
        let target = Some(Target::new(options, model)?);
        Ok(Self { target, ..Self::new(options, space, None)? })
    }

    /// Whether there is a reference.
    #[must_use]
    pub fn has_reference(&self) -> bool {
        self.level.is_some()
    }

    /// The space of the volumes that the stage takes.
    #[must_use]
    pub fn space(&self) -> &VoxelSpace {
        &self.space
    }

    /// Where the reference of the run lies in the model's image. `None` before there is a
    /// reference, or without such an image.
    #[must_use]
    pub fn coregistration(&self) -> Option<Coregistration> {
        self.target.as_ref().and_then(Target::found)
    }

    /// The voxels of the model's space, x fastest: 1 where the reference of the run has signal, 0
    /// outside its field of view. Shape `[n_voxel]`. `None` as for the coregistration.
    #[must_use]
    pub fn coverage(&self) -> Option<Vec<f32>> {
        self.target.as_ref()?.coverage(&self.reslice, self.space.matrix())
    }

    /// Forgets the previous run. A reference that was given is kept.
    pub fn start_run(&mut self) {
        self.last = Motion::default();
        self.run_reference = Vec::new();
        if !self.is_reference_given {
            self.level = None;
        }
        if let Some(target) = &mut self.target {
            target.start_run();
        }
    }

    /// Prepares for a further run of the same session, whose reference is kept.
    pub fn start_run_with_same_reference(&mut self) {
        self.last = Motion::default();
    }

    /// Adds its state to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        to.f64s(&self.last.translation_mm);
        to.f64s(&self.last.rotation_rad);
        to.f32s(&self.run_reference);
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        self.start_run();
        let translation_mm = from.f64s()?.try_into().ok()?;
        let rotation_rad = from.f64s()?.try_into().ok()?;
        let reference = from.f32s()?;
        if !reference.is_empty() {
            if self.is_reference_given || reference.len() != self.space.n_voxel() {
                return None;
            }
            self.level = Some(self.options.level(&reference, &self.space)?);
            if let Some(target) = &mut self.target {
                target.find(self.options, &self.space, &reference)?;
            }
        }
        self.run_reference = reference;
        self.last = Motion { translation_mm, rotation_rad };
        Some(())
    }

    /// Makes a volume the reference of its run.
    fn take_reference(&mut self, volume: &Volume) -> Result<(), NotRealigned> {
        let level = self.options.level(&volume.signal, &self.space);
        let level = level.ok_or(NotRealigned::FlatReference(volume.tr))?;
        if let Some(target) = &mut self.target {
            let found = target.find(self.options, &self.space, &volume.signal);
            found.ok_or(NotRealigned::NotInModel(volume.tr))?;
        }
        self.level = Some(level);
        self.run_reference.clone_from(&volume.signal);
        Ok(())
    }

    /// The motion of a volume, and how far it can be trusted.
    fn estimate(level: &mut Level, signal: &[f32], last: Motion, limit_mm: f64) -> (Motion, Fit) {
        level.take(signal);
        let found = level.fit(last.affine(), MAX_STEPS);
        match found.filter(|found| found.correlation >= MIN_CORRELATION) {
            None => (last, Fit::Failed),
            Some(found) => {
                let is_near = level.distance_mm(&found.motion, HEAD_RADIUS_MM) <= limit_mm;
                let is_good = found.is_settled && is_near;
                let fit = if is_good { Fit::Converged } else { Fit::BoundReached };
                (Motion::of(&found.motion), fit)
            }
        }
    }
}

impl Stage for Realign {
    const NAME: &'static str = "realign";
    type Input<'a> = Volume;
    type Output = Realigned;
    type Error = NotRealigned;

    fn process(&mut self, mut volume: Volume) -> Result<Option<Realigned>, NotRealigned> {
        volume.check(self.space.matrix())?;
        let (motion, fit, is_reference) = match &mut self.level {
            Some(level) => {
                let limit_mm = self.options.max_motion_mm;
                let (motion, fit) = Self::estimate(level, &volume.signal, self.last, limit_mm);
                (motion, fit, false)
            }
            None => {
                self.take_reference(&volume)?;
                (Motion::default(), Fit::Converged, true)
            }
        };
        if fit == Fit::Converged {
            self.last = motion;
        }
        match &self.target {
            Some(target) => target.reslice(&mut self.reslice, &mut volume, &motion),
            None if is_reference => {}
            None => self.reslice.apply(&mut volume.signal, &motion),
        }
        Ok(Some(Realigned { volume, motion, fit }))
    }
}

impl RealignOptions {
    fn check(self) -> Result<(), InvalidRealign> {
        for (key, found, most) in [
            ("fwhm_mm", self.fwhm_mm, 20.0),
            ("separation_mm", self.separation_mm, 20.0),
            ("max_motion_mm", self.max_motion_mm, 100.0),
        ] {
            if !(1.0..=most).contains(&found) {
                return Err(InvalidRealign::Range { key, found, most });
            }
        }
        Ok(())
    }

    fn level(&self, reference: &[f32], space: &VoxelSpace) -> Option<Level> {
        Level::new((space, reference), space, self.fwhm_mm, self.separation_mm)
    }
}

impl ReferenceImage<'_> {
    fn check(&self) -> Result<(), InvalidRealign> {
        let (found, expected) = (self.signal.len(), self.space.n_voxel());
        if found != expected {
            return Err(InvalidRealign::ReferenceSize { found, expected });
        }
        match unusable_voxel(self.signal) {
            None => Ok(()),
            Some(voxel_index) => {
                let signal = self.signal[voxel_index];
                Err(InvalidRealign::ReferenceNotFinite { voxel_index, signal })
            }
        }
    }
}

fn check_space(space: &VoxelSpace) -> Result<(), InvalidRealign> {
    let (matrix, size_mm) = (space.matrix(), space.voxel_size_mm());
    if matrix.iter().any(|&n| n < MIN_AXIS_VOXELS) {
        return Err(InvalidRealign::TooSmall(matrix));
    }
    if !size_mm.iter().all(|size_mm| (MIN_VOXEL_MM..=MAX_VOXEL_MM).contains(size_mm)) {
        return Err(InvalidRealign::VoxelSize(size_mm));
    }
    Ok(())
}
