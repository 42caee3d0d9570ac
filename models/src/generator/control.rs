//! SparseCtrl (Guo et al. 2023): ties a clip to a key frame.
//!
//! A second network gets the key frame's latents at frame 0, zeros at the other frames, and a
//! mask that marks frame 0; its outputs, the residuals, are added inside the UNet. It never sees
//! the clip, so the residuals depend only on timestep, text, key frame and scale. [`Residuals`]
//! keeps them where the runtime put them, for the next clip with the same text and key frame.

use std::collections::BTreeMap;

use super::clip::{ClipSizes, Conditioning};
use crate::{
    error::ModelError,
    latent,
    network::{Input, Kept, Network},
};

/// Most timesteps whose residuals are kept: enough for the few-step samplers. At full size one
/// timestep takes 107 MB in f16, so the 25 of mode `reference` are not worth their memory.
const MAX_KEPT: usize = 8;

/// Input of SparseCtrl, shape `[4, n_frame, latent, latent]`, given the key frame's latents, shape
/// `[4, latent, latent]`.
pub(super) fn at_first_frame(keyframe: &[f32], sizes: &ClipSizes) -> Vec<f32> {
    let plane = sizes.latent * sizes.latent;
    let mut cond = vec![0.0; latent::CHANNELS * sizes.n_frame * plane];
    for (clip, picture) in
        cond.chunks_exact_mut(sizes.n_frame * plane).zip(keyframe.chunks_exact(plane))
    {
        clip[..plane].copy_from_slice(picture);
    }
    cond
}

/// Mask of the key frame: 1 at frame 0, 0 at the others. Shape `[n_frame, latent, latent]`.
pub(super) fn mask(sizes: &ClipSizes) -> Vec<f32> {
    let plane = sizes.latent * sizes.latent;
    let mut mask = vec![0.0; sizes.n_frame * plane];
    mask[..plane].fill(1.0);
    mask
}

/// Residuals by timestep, for one text and key frame.
#[derive(Debug, Default)]
pub(super) struct Residuals {
    of: Option<Conditioning>,
    kept: BTreeMap<usize, Vec<Kept>>,
    /// The last timestep beyond [`MAX_KEPT`].
    last: Option<(usize, Vec<Kept>)>,
    n_run: u64,
}

impl Residuals {
    /// The residuals of a timestep, computed if they are not kept.
    pub(super) fn at(
        &mut self,
        timestep: usize,
        conditioning: &Conditioning,
        mask: &[f32],
        sizes: &ClipSizes,
        controlnet: &mut dyn Network,
    ) -> Result<&[Kept], ModelError> {
        if self.of.as_ref() != Some(conditioning) {
            self.kept.clear();
            self.last = None;
            self.of = Some(conditioning.clone());
        }
        let is_last = self.last.as_ref().is_some_and(|(of, _)| *of == timestep);
        if !is_last && !self.kept.contains_key(&timestep) {
            let residuals = run(timestep, conditioning, mask, sizes, controlnet)?;
            self.n_run += 1;
            if self.kept.len() < MAX_KEPT {
                self.kept.insert(timestep, residuals);
            } else {
                self.last = Some((timestep, residuals));
            }
        }
        let last = self.last.as_ref().map(|(_, residuals)| residuals);
        let found = self.kept.get(&timestep).or(last);
        Ok(found.expect("they were kept or have just been computed"))
    }

    /// How often the network ran.
    pub(super) fn n_run(&self) -> u64 {
        self.n_run
    }
}

/// Runs SparseCtrl's network.
pub(super) fn run(
    timestep: usize,
    conditioning: &Conditioning,
    mask: &[f32],
    sizes: &ClipSizes,
    controlnet: &mut dyn Network,
) -> Result<Vec<Kept>, ModelError> {
    let context = conditioning.context(sizes);
    let timestep = [timestep as i64];
    let scale = [conditioning.control_scale];
    let inputs = [
        Input::I64(&[1], &timestep),
        Input::F32(&sizes.context(conditioning.batch()), context),
        Input::F32(&sizes.video(1), &conditioning.cond),
        Input::F32(&sizes.mask(), mask),
        Input::F32(&[], &scale),
    ];
    controlnet.run_and_keep(&inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: ClipSizes = ClipSizes { n_frame: 2, latent: 1, text_dim: 1, n_text_token: 1 };

    #[test]
    fn the_key_frame_is_at_frame_0_of_each_channel() {
        let cond = at_first_frame(&[1.0, 2.0, 3.0, 4.0], &SIZES);
        assert_eq!(cond, [1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0]);
        assert_eq!(mask(&SIZES), [1.0, 0.0]);
    }
}
