//! The `[decoder]` section: how a `neurons` model is run. Other families do not look at it.

use std::{collections::BTreeSet, ops::Deref};

use corticast_models::{decoupler::Head, neurons::NeuronsOptions, prior::schedule::Sampler};
use serde::{Deserialize, Serialize};

/// How a `neurons` model is run, checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct DecoderConfig(Written);

/// The section as it is written; within a [`DecoderConfig`] its values fit each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// How the prior is sampled.
    pub prior: PriorSampler,
    /// Steps with `ddim`, at most those the prior was trained with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior_steps: Option<usize>,
    /// What the prior's noise is made of.
    pub seed: u32,
    /// Heads to run. Left out: all that the model has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<BTreeSet<Head>>,
}

/// How the prior is sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriorSampler {
    /// All steps, as the model was evaluated.
    #[default]
    Ddpm,
    /// `prior_steps` of them.
    Ddim,
}

/// A `[decoder]` section that cannot be run.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum DecoderConfigError {
    /// `ddim` has no number of steps of its own.
    #[error("`prior_steps`: is missing, prior = \"ddim\" expects it, e.g. 20")]
    NoSteps,
    /// `ddpm` takes all steps.
    #[error("`prior_steps`: is {0}, prior = \"ddpm\" takes all steps; set prior = \"ddim\"")]
    StepsOfDdpm(usize),
    /// Not even one.
    #[error("`prior_steps`: at least 1, got 0")]
    Zero,
}

impl TryFrom<Written> for DecoderConfig {
    type Error = DecoderConfigError;

    fn try_from(written: Written) -> Result<Self, DecoderConfigError> {
        match (written.prior, written.prior_steps) {
            (PriorSampler::Ddim, None) => Err(DecoderConfigError::NoSteps),
            (PriorSampler::Ddim, Some(0)) => Err(DecoderConfigError::Zero),
            (PriorSampler::Ddpm, Some(steps)) => Err(DecoderConfigError::StepsOfDdpm(steps)),
            _ => Ok(Self(written)),
        }
    }
}

impl DecoderConfig {
    /// As the model is told.
    #[must_use]
    pub fn options(&self) -> NeuronsOptions {
        let sampler = match self.prior_steps {
            Some(steps) => Sampler::Ddim { steps },
            None => Sampler::Ddpm,
        };
        NeuronsOptions { sampler, seed: u64::from(self.seed), heads: self.heads.clone() }
    }
}

impl Deref for DecoderConfig {
    type Target = Written;

    fn deref(&self) -> &Written {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DecoderConfig, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn steps_belong_to_ddim() {
        let options = read("prior = \"ddim\"\nprior_steps = 20").unwrap().options();
        assert_eq!(options.sampler, Sampler::Ddim { steps: 20 });
        assert_eq!(read("").unwrap().options(), NeuronsOptions::default());
        for (text, expected) in [
            ("prior = \"ddim\"", "is missing"),
            ("prior_steps = 20", "is 20, prior = \"ddpm\" takes all steps"),
            ("prior = \"ddim\"\nprior_steps = 0", "at least 1"),
            ("heads = [\"captions\"]", "unknown variant `captions`"),
            ("seed = -1", "invalid value"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
