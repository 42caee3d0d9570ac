//! Which networks of a set make up a step.
//!
//! A set can hold a step as one graph or with SparseCtrl as a second graph, with guidance or
//! without, and a smaller second picture coder. A choice that the set does not have is refused
//! before anything is loaded, and the message lists the networks that it has.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    clip::ClipSizes,
    networks::{ClipNetworks, StepNetworks},
};
use crate::{
    error::ModelError,
    manifest::{
        NetworkFacts, Role,
        video::{Shapes, StepGraphs, VideoManifest},
    },
    network::Network,
};

/// Which graphs make up a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GraphChoice {
    /// Split if the set has that, else fused.
    #[default]
    Auto,
    /// SparseCtrl as a graph of its own: its residuals are kept while text and key frame stay the
    /// same.
    Split,
    /// One graph for the step, which avoids tensors between graphs on a GPU.
    Fused,
    /// Without SparseCtrl: cheaper, but the clip is not tied to the key frame.
    Uncontrolled,
}

/// The picture coder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coder {
    /// The full one of the set.
    #[default]
    Vae,
    /// The small one: a twentieth of the cost, but coarser.
    Taesd,
}

impl VideoManifest {
    /// The networks of clips, with guidance or without.
    ///
    /// # Errors
    ///
    /// [`ModelError::Family`] when the set does not have them.
    pub fn choose(
        &self,
        is_guided: bool,
        choice: GraphChoice,
        coder: Coder,
    ) -> Result<ClipNetworks, ModelError> {
        let graphs = &self.graphs;
        let (coder_key, coder) = match coder {
            Coder::Vae => ("graphs.clip.vae", &graphs.clip.vae),
            Coder::Taesd => ("graphs.clip.taesd", &graphs.clip.taesd),
        };
        let [text_encoder] = self.take("graphs.clip.text", &graphs.clip.text)?;
        let [vae_encoder, vae_decoder] = self.take(coder_key, coder)?;
        let step = if is_guided {
            self.step(["graphs.reference.split", "graphs.reference.fused"], choice, is_guided)
        } else {
            self.step(["graphs.live.split", "graphs.live.fused"], choice, is_guided)
        }?;
        let vae_scale = self.vae_scale;
        Ok(ClipNetworks { text_encoder, vae_encoder, vae_decoder, vae_scale, step })
    }

    /// Sizes of clips that are made of `n_blurry` blurry frames.
    ///
    /// # Errors
    ///
    /// [`ModelError::Family`] when the set's clips have another length.
    pub fn clip_sizes(&self, n_blurry: usize) -> Result<ClipSizes, ModelError> {
        let (sizes, n_frame) = (&self.sizes, super::frames::n_between(n_blurry));
        let fits = match self.shapes {
            Shapes::Static => n_frame == sizes.frames,
            Shapes::Dynamic => (1..=sizes.max_frames).contains(&n_frame),
        };
        if !fits {
            let most = match self.shapes {
                Shapes::Static => sizes.frames.to_string(),
                Shapes::Dynamic => format!("at most {}", sizes.max_frames),
            };
            let expected = format!("{most} frames; {n_blurry} blurry ones make {n_frame}");
            return Err(self.refuse("sizes.frames", sizes.frames.to_string(), expected));
        }
        Ok(ClipSizes {
            n_frame,
            latent: sizes.latent,
            text_dim: sizes.text_dim,
            n_text_token: sizes.text_tokens,
        })
    }

    /// Refuses networks whose metadata names another set or another precision.
    ///
    /// # Errors
    ///
    /// [`ModelError::Family`].
    pub(super) fn check_files(&self, networks: &[&dyn Network]) -> Result<(), ModelError> {
        for network in networks {
            for (key, name, expected) in [
                ("precision", "corticast_precision", self.precision.name()),
                ("name", "corticast_set", self.name.as_str()),
            ] {
                let found = network.metadata(name);
                if let Some(found) = found.filter(|found| *found != expected) {
                    let expected = format!("files of {expected:?} only; export the set again");
                    return Err(self.refuse(
                        key,
                        format!("{found:?} in one of its files"),
                        expected,
                    ));
                }
            }
        }
        Ok(())
    }

    fn step(
        &self,
        [split, fused]: [&'static str; 2],
        choice: GraphChoice,
        is_guided: bool,
    ) -> Result<StepNetworks, ModelError> {
        let graphs = if is_guided { &self.graphs.reference } else { &self.graphs.live };
        let step = match choice {
            GraphChoice::Auto => {
                // Split graphs with fixed sizes fit only one of the two modes.
                let kept = self.step([split, fused], GraphChoice::Split, is_guided);
                return kept.or_else(|_| self.step([split, fused], GraphChoice::Fused, is_guided));
            }
            GraphChoice::Split => {
                let [controlnet, unet] = self.take(split, &graphs.split)?;
                StepNetworks::Split { controlnet, unet }
            }
            GraphChoice::Fused => {
                let [step] = self.take(fused, &graphs.fused)?;
                if is_guided { StepNetworks::Fused(step) } else { StepNetworks::FusedPlain(step) }
            }
            GraphChoice::Uncontrolled => {
                let StepGraphs { uncontrolled, .. } = graphs;
                let [unet] = self.take("graphs.live.uncontrolled", uncontrolled)?;
                StepNetworks::Uncontrolled(unet)
            }
        };
        step.check_guidance(is_guided)?;
        Ok(step)
    }

    fn take<const N: usize>(
        &self,
        key: &'static str,
        roles: &[Role],
    ) -> Result<[NetworkFacts; N], ModelError> {
        let networks: Vec<_> = roles.iter().filter_map(|&role| self.network(role)).collect();
        <[&NetworkFacts; N]>::try_from(networks).map(|networks| networks.map(Clone::clone)).map_err(
            |found| {
                let found: Vec<&str> = found.iter().map(|network| network.role.name()).collect();
                let found = if found.is_empty() { "missing".into() } else { found.join(", ") };
                let has: Vec<&str> = self.networks.iter().map(|n| n.role.name()).collect();
                self.refuse(key, found, format!("{N} of its networks ({})", has.join(", ")))
            },
        )
    }

    fn refuse(&self, key: &'static str, found: String, expected: String) -> ModelError {
        ModelError::Family { path: self.path(), family: "animatediff", key, found, expected }
    }
}

impl fmt::Display for GraphChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Split => "split",
            Self::Fused => "fused",
            Self::Uncontrolled => "uncontrolled",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::video;

    fn set() -> VideoManifest {
        VideoManifest::read(&video()).unwrap()
    }

    /// The split graphs of this set take one clip at a time, so only the fused one can be guided.
    #[test]
    fn auto_takes_the_graphs_that_fit_the_mode() {
        let step = |is_guided, choice| set().choose(is_guided, choice, Coder::Vae).unwrap().step;
        assert!(matches!(step(false, GraphChoice::Auto), StepNetworks::Split { .. }));
        assert!(matches!(step(true, GraphChoice::Auto), StepNetworks::Fused(_)));
        assert!(matches!(step(false, GraphChoice::Fused), StepNetworks::FusedPlain(_)));
    }

    #[test]
    fn a_missing_choice_is_refused_with_the_networks_of_the_set() {
        let refused = |is_guided, choice, coder| {
            set().choose(is_guided, choice, coder).map(drop).unwrap_err().to_string()
        };
        let message = refused(true, GraphChoice::Split, Coder::Vae);
        assert!(message.contains("without guidance"), "{message}");
        let message = refused(false, GraphChoice::Uncontrolled, Coder::Vae);
        assert!(message.contains("graphs.live.uncontrolled"), "{message}");
        let message = refused(false, GraphChoice::Auto, Coder::Taesd);
        assert!(message.contains("missing") && message.contains("vae_encoder"), "{message}");
    }

    #[test]
    fn clips_of_another_length_are_refused() {
        assert_eq!(set().clip_sizes(6).unwrap().n_frame, 16);
        let message = set().clip_sizes(5).unwrap_err().to_string();
        assert!(message.contains("5 blurry ones make 13"), "{message}");
        let dynamic = VideoManifest { shapes: Shapes::Dynamic, ..set() };
        assert_eq!(dynamic.clip_sizes(2).unwrap().n_frame, 4);
        assert!(dynamic.clip_sizes(12).is_err(), "34 frames are too many");
    }
}
