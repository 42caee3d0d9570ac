//! The noise of one clip: what it is for, and where it comes from.
//!
//! The generator asks for noise when it needs some, and says what for. [`Draws`] computes it from
//! the session's seed, so that a replay draws the same numbers. A test against a reference passes
//! the reference's noise instead.

use corticast_bold::time::TrIndex;

use crate::prior::noise::Noise;

/// Purposes of noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// The latents of the blurry frames, shape `[n_frame, 4, latent, latent]`.
    Blurry,
    /// The latents of the key frame, shape `[4, latent, latent]`. Not drawn while the key frame
    /// stays the same.
    Keyframe,
    /// The start of the clip, shape `[4, n_frame, latent, latent]`.
    Start,
    /// A step that draws noise, by its place in the plan; same shape as the start.
    Step(usize),
}

/// The noise of one clip, from a seed. See [`crate::prior::noise`].
#[derive(Clone, Debug)]
pub struct Draws {
    seed: u64,
    clip: Noise,
}

impl Draws {
    /// The noise of the clip of the window whose newest volume has this index.
    #[must_use]
    pub fn new(seed: u64, tr: TrIndex) -> Self {
        Self { seed, clip: Noise::of_clip(seed, tr) }
    }

    /// Fills a block. The blocks of a clip depend on the order of the calls.
    pub fn fill(&mut self, draw: Draw, block: &mut [f32]) {
        match draw {
            Draw::Keyframe => Noise::of_keyframe(self.seed).fill(block),
            Draw::Blurry | Draw::Start | Draw::Step(_) => self.clip.fill(block),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(draws: &mut Draws, draw: Draw) -> Vec<f32> {
        let mut block = vec![0.0; 4];
        draws.fill(draw, &mut block);
        block
    }

    #[test]
    fn a_key_frame_has_the_same_noise_in_every_clip_and_takes_none_of_theirs() {
        let (mut one, mut other) = (Draws::new(5, TrIndex(1)), Draws::new(5, TrIndex(2)));
        assert_eq!(drawn(&mut one, Draw::Keyframe), drawn(&mut other, Draw::Keyframe));
        let mut again = Draws::new(5, TrIndex(1));
        assert_eq!(drawn(&mut one, Draw::Blurry), drawn(&mut again, Draw::Blurry));
        assert_ne!(drawn(&mut one, Draw::Start), drawn(&mut other, Draw::Start));
    }

    #[test]
    fn a_clip_does_not_get_the_noise_of_its_prior() {
        let mut prior = vec![0.0; 4];
        Noise::new(5, TrIndex(1)).fill(&mut prior);
        assert_ne!(drawn(&mut Draws::new(5, TrIndex(1)), Draw::Blurry), prior);
    }
}
