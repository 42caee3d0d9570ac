//! The space of a model that was made on another day, into which volumes are resliced.
//!
//! The reference of today's run is found in an image of that day ([`coregister`]). A volume is
//! resliced once, by both transforms together.

use std::sync::Arc;

use super::{
    Fit, InvalidRealign, RealignOptions, ReferenceImage, check_space,
    coregister::{Coregistration, coregister},
    estimate::Level,
    reslice::Reslice,
};
use crate::{
    space::VoxelSpace,
    volume::{Motion, Volume},
};

/// See the module docs.
#[derive(Clone, Debug)]
pub(super) struct Target {
    space: VoxelSpace,
    signal: Arc<[f32]>,
    found: Option<Coregistration>,
}

impl Target {
    /// The space of this image.
    pub(super) fn new(
        options: RealignOptions,
        image: ReferenceImage<'_>,
    ) -> Result<Self, InvalidRealign> {
        options.check()?;
        check_space(image.space)?;
        image.check()?;
        let of_image = (image.space, image.signal);
        Level::new(of_image, image.space, options.fwhm_mm, options.separation_mm)
            .ok_or(InvalidRealign::FlatReference)?;
        Ok(Self { space: image.space.clone(), signal: image.signal.into(), found: None })
    }

    /// Forgets where the last run lies.
    pub(super) fn start_run(&mut self) {
        self.found = None;
    }

    /// Finds the reference of a run in the image. `None` when it shows something else.
    pub(super) fn find(
        &mut self,
        options: RealignOptions,
        space: &VoxelSpace,
        reference: &[f32],
    ) -> Option<()> {
        let today = ReferenceImage { space, signal: reference };
        let model = ReferenceImage { space: &self.space, signal: &self.signal };
        let found = coregister(options, today, model).ok()?;
        self.found = (found.fit != Fit::Failed).then_some(found);
        self.found.map(drop)
    }

    pub(super) fn found(&self) -> Option<Coregistration> {
        self.found
    }

    /// Reslices a volume; `motion` takes it to the reference of its run.
    pub(super) fn reslice(&self, reslice: &mut Reslice, volume: &mut Volume, motion: &Motion) {
        let to_model = self.found.map(|found| found.motion).unwrap_or_default();
        let both = to_model.affine().after(&motion.affine());
        volume.signal = reslice.onto(&volume.signal, &both, &self.space);
        volume.matrix = self.space.matrix();
    }

    /// See [`super::Realign::coverage`].
    pub(super) fn coverage(&self, reslice: &Reslice, matrix: [usize; 3]) -> Option<Vec<f32>> {
        let map = reslice.map(&self.found?.motion.affine(), &self.space);
        let [nx, ny, _] = self.space.matrix();
        let inside = |index: usize| {
            let voxel = [index % nx, index / nx % ny, index / (nx * ny)].map(|v| v as f64);
            let from = map.apply(voxel);
            let is_inside = |axis: usize| (-0.5..=matrix[axis] as f64 - 0.5).contains(&from[axis]);
            f32::from(u8::from((0..3).all(is_inside)))
        };
        Some((0..self.space.n_voxel()).map(inside).collect())
    }
}
