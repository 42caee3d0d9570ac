//! Blurry frames: the output of the reconstruction head as pictures.
//!
//! As in NEURONS, latents are weighted with the object's mask, 1 inside and one half outside, and
//! decoded. Without a mask they are decoded unweighted.

use crate::{
    conditions::{Conditions, Sizes},
    decoupler::Head,
    error::ModelError,
    latent,
    manifest::NetworkFacts,
    network::{Input, Network, Runtime},
};

/// Decodes blurry frames.
#[derive(Debug)]
pub struct Blurry {
    decoder: Box<dyn Network>,
    sizes: Sizes,
}

impl Blurry {
    /// Opens the decoder of a model whose conditions have these sizes.
    ///
    /// # Errors
    ///
    /// See [`Runtime::open_at`].
    pub fn open(
        decoder: &NetworkFacts,
        sizes: Sizes,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        let shape = vec![sizes.n_frame, latent::CHANNELS, sizes.latent, sizes.latent];
        Ok(Self { decoder: runtime.open_at(&[shape], decoder)?, sizes })
    }

    /// Pixels along an edge.
    #[must_use]
    pub fn edge(&self) -> usize {
        latent::PIXELS * self.sizes.latent
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        self.decoder.as_ref()
    }

    /// Pixels of the frames, 0 to 1, and the weighted latents that they come from. Shapes
    /// `[n_frame, 3, edge, edge]` and `[n_frame, 4, latent, latent]`.
    ///
    /// # Errors
    ///
    /// Fails when the conditions have no latents or have other sizes, when inference fails, or when
    /// the output is not finite.
    pub fn decode(&mut self, conditions: &Conditions) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let latents = weighted(conditions, &self.sizes)?;
        let (sizes, edge) = (&self.sizes, self.edge());
        let unscaled: Vec<f32> = latents.iter().map(|value| value / latent::SCALE).collect();
        let mut pixels = vec![0.0; sizes.n_frame * 3 * edge * edge];
        let shape = [sizes.n_frame, latent::CHANNELS, sizes.latent, sizes.latent];
        self.decoder.run_into(&[Input::F32(&shape, &unscaled)], &mut pixels)?;
        pixels.iter_mut().for_each(|value| *value = (*value / 2.0 + 0.5).clamp(0.0, 1.0));
        Ok((pixels, latents))
    }
}

/// Latents weighted with the mask.
fn weighted(conditions: &Conditions, sizes: &Sizes) -> Result<Vec<f32>, ModelError> {
    let latents = conditions.latents.as_ref();
    let mut latents = latents.ok_or(ModelError::ClipNeeds { head: Head::Reconstruction })?.clone();
    let (edge, plane) = (sizes.latent, sizes.latent * sizes.latent);
    let expected = sizes.n_frame * latent::CHANNELS * plane;
    if latents.len() != expected {
        let found = latents.len();
        return Err(ModelError::ClipInput { name: "the latents", found, expected });
    }
    let Some(mask) = &conditions.mask else { return Ok(latents) };
    let expected = sizes.n_frame * sizes.mask * sizes.mask;
    if mask.len() != expected {
        let found = mask.len();
        return Err(ModelError::ClipInput { name: "the masks", found, expected });
    }
    let masks = mask.chunks_exact(sizes.mask * sizes.mask);
    for (frame, mask) in latents.chunks_exact_mut(latent::CHANNELS * plane).zip(masks) {
        // Nearest neighbour: each value takes the mask under its upper left corner.
        let under = |at: usize| at * sizes.mask / edge;
        for (at, value) in frame.iter_mut().enumerate() {
            let (row, column) = (at % plane / edge, at % edge);
            let is_object = mask[under(row) * sizes.mask + under(column)] != 0;
            *value *= if is_object { 1.0 } else { 0.5 };
        }
    }
    Ok(latents)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes {
        n_frame: 1,
        n_token: 1,
        channels: 1,
        text_dim: 1,
        latent: 2,
        mask: 4,
        n_class: 1,
        caption_tokens: 1,
    };

    fn conditions(latents: Option<Vec<f32>>, mask: Option<Vec<u8>>) -> Conditions {
        Conditions {
            sizes: SIZES,
            brain_tokens: vec![0.0],
            tokens: vec![0.0],
            text_embed: vec![0.0],
            probabilities: None,
            mask,
            latents,
            caption_ids: None,
            caption: None,
        }
    }

    #[test]
    fn latents_outside_the_object_have_half_the_weight() {
        let mut mask = vec![0; 16];
        // The lower left quarter begins at row 2, column 0.
        mask[8] = 1;
        let latents = Some((1_u8..=16).map(f32::from).collect());
        let weighted = weighted(&conditions(latents, Some(mask)), &SIZES).unwrap();
        assert_eq!(weighted[..4], [0.5, 1.0, 3.0, 2.0]);
        assert_eq!(weighted[12..], [6.5, 7.0, 15.0, 8.0]);
    }

    #[test]
    fn a_missing_input_or_one_of_another_size_is_named() {
        let message = |latents, mask| {
            let error = weighted(&conditions(latents, mask), &SIZES).unwrap_err();
            assert!(error.costs_one_window());
            error.to_string()
        };
        assert!(message(None, None).contains("`reconstruction`"));
        assert!(message(Some(vec![0.0; 3]), None).contains("the latents came with 3 values"));
        let masks = message(Some(vec![0.0; 16]), Some(vec![1]));
        assert!(masks.contains("the masks came with 1 values, the generator takes 16"), "{masks}");
        assert_eq!(weighted(&conditions(Some(vec![2.0; 16]), None), &SIZES).unwrap(), [2.0; 16]);
    }
}
