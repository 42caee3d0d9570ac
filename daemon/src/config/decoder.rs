//! The `[decoder]` section: how a `neurons` model is run. Other families ignore it.

use std::{collections::BTreeSet, num::NonZeroUsize};

use corticast_models::{decoupler::Head, neurons::NeuronsOptions, prior::schedule::Sampler};
use serde::{Deserialize, Serialize};

/// How a `neurons` model is run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecoderConfig {
    /// Steps of the prior, sampled with DDIM; at most as many as it was trained with. Left out: all
    /// steps, with DDPM, as the model was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior_steps: Option<NonZeroUsize>,
    /// Seed of the prior's noise. The same seed gives the same results.
    pub seed: u32,
    /// Heads to run. Left out: all that the model has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<BTreeSet<Head>>,
}

impl DecoderConfig {
    /// The options for the model.
    #[must_use]
    pub fn options(&self) -> NeuronsOptions {
        let sampler = match self.prior_steps {
            Some(steps) => Sampler::Ddim { steps: steps.get() },
            None => Sampler::Ddpm,
        };
        NeuronsOptions { sampler, seed: u64::from(self.seed), heads: self.heads.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DecoderConfig, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_number_of_steps_is_taken_with_ddim() {
        let options = read("prior_steps = 20").unwrap().options();
        assert_eq!(options.sampler, Sampler::Ddim { steps: 20 });
        assert_eq!(read("").unwrap().options(), NeuronsOptions::default());
        let heads = read("heads = [\"caption\", \"concepts\"]").unwrap().options().heads.unwrap();
        assert_eq!(heads, BTreeSet::from([Head::Concepts, Head::Caption]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, expected) in [
            ("prior_steps = 0", "nonzero"),
            ("heads = [\"captions\"]", "unknown variant `captions`"),
            ("seed = -1", "invalid value"),
            ("steps = 20", "unknown field `steps`"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
