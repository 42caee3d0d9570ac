//! The key frame network: from the prior's tokens to the first picture of a clip.
//!
//! NEURONS uses an unCLIP network. Any graph `tokens [1, N, C], noise → image [1, 3, h, h]` with
//! pixels of 0 to 1 works, as the network of role `keyframe` in the model's manifest; without one
//! the first blurry frame is the key frame. As in NEURONS, the sampled tokens, which form a square
//! grid, are weighted with the mean of the object's masks.

use super::clip::Pictures;
use crate::{
    conditions::{Conditions, Sizes},
    error::ModelError,
    manifest::NetworkFacts,
    network::{Input, Network, Runtime},
    prior::noise::Noise,
};

/// A key frame's network.
#[derive(Debug)]
pub struct Keyframe {
    network: Box<dyn Network>,
    noise_shape: Vec<usize>,
    edge: usize,
    seed: u64,
}

impl Keyframe {
    /// Opens the network.
    ///
    /// # Errors
    ///
    /// See [`Runtime::open`].
    pub fn open(
        network: &NetworkFacts,
        seed: u64,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        let noise_shape = network.inputs.get(1).map(|noise| noise.shape_with(1));
        let edge = network.outputs.first().and_then(|image| image.shape_with(1).last().copied());
        Ok(Self {
            network: runtime.open(network)?,
            noise_shape: noise_shape.unwrap_or_default(),
            edge: edge.unwrap_or_default(),
            seed,
        })
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }

    /// Pixels along an edge.
    #[must_use]
    pub fn edge(&self) -> usize {
        self.edge
    }

    /// The key frame, 0 to 1. Shape `[3, edge, edge]`.
    ///
    /// # Errors
    ///
    /// Fails when inference fails or the output is not finite.
    pub fn picture(&mut self, conditions: &Conditions) -> Result<Vec<f32>, ModelError> {
        let sizes = &conditions.sizes;
        let tokens = weighted(&conditions.tokens, conditions.mask.as_deref(), sizes);
        let mut noise = vec![0.0; self.noise_shape.iter().product()];
        // The same noise for every volume, so that a picture that stays the same does not flicker.
        Noise::of_keyframe(self.seed).fill(&mut noise);
        let mut picture = vec![0.0; 3 * self.edge * self.edge];
        let shape = [1, sizes.n_token, sizes.channels];
        let inputs = [Input::F32(&shape, &tokens), Input::F32(&self.noise_shape, &noise)];
        self.network.run_into(&inputs, &mut picture)?;
        picture.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
        Ok(picture)
    }
}

/// The key frame of a clip: the output of its network if there is one, else the first blurry frame.
pub(super) fn of<'a>(
    made: Option<&'a (Vec<f32>, usize)>,
    blurry: &'a [f32],
    edge: usize,
) -> Pictures<'a> {
    match made {
        Some((pixels, edge)) => Pictures { pixels, edge: *edge },
        None => Pictures { pixels: &blurry[..3 * edge * edge], edge },
    }
}

/// Tokens weighted with the mean of the masks at the nearest place of the tokens' grid. Tokens
/// that do not form a square grid are not weighted.
fn weighted(tokens: &[f32], mask: Option<&[u8]>, sizes: &Sizes) -> Vec<f32> {
    let side = sizes.n_token.isqrt();
    let Some(mask) = mask.filter(|_| side * side == sizes.n_token) else { return tokens.to_vec() };
    let plane = sizes.mask * sizes.mask;
    let mut weighted = tokens.to_vec();
    for (at, token) in weighted.chunks_exact_mut(sizes.channels).enumerate() {
        let under = |place: usize| place * sizes.mask / side;
        let place = under(at / side) * sizes.mask + under(at % side);
        let frames = mask.iter().skip(place).step_by(plane);
        let n_object = frames.filter(|&&value| value != 0).count();
        // 1 where the object is in every frame, one half where it is in none.
        let weight = 0.5 + 0.5 * n_object as f32 / sizes.n_frame as f32;
        token.iter_mut().for_each(|value| *value *= weight);
    }
    weighted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_weigh_as_often_as_the_object_is_there() {
        let sizes = Sizes {
            n_frame: 2,
            n_token: 4,
            channels: 1,
            text_dim: 1,
            latent: 1,
            mask: 2,
            n_class: 1,
            caption_tokens: 1,
        };
        let tokens = [4.0, 4.0, 4.0, 4.0];
        // In both frames, in the first, in none, in the second.
        let mask = [1, 1, 0, 0, 1, 0, 0, 1];
        assert_eq!(weighted(&tokens, Some(&mask), &sizes), [4.0, 3.0, 2.0, 3.0]);
        assert_eq!(weighted(&tokens, None, &sizes), tokens);
        let three = Sizes { n_token: 3, ..sizes };
        assert_eq!(weighted(&tokens[..3], Some(&mask), &three), [4.0; 3]);
    }
}
