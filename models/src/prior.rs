//! The diffusion prior: from the brain's tokens to tokens that look like those of a picture.
//!
//! The network predicts the clean tokens; a sampler turns the predictions into a sample, step by
//! step ([`schedule`]), from noise that is a function of seed and volume ([`noise`]). Each step
//! is a separate call, so the caller can cancel a sample between two steps.

pub mod ahead;
pub mod noise;
mod normal;
pub mod schedule;

use crate::{
    error::ModelError,
    manifest::{NetworkFacts, NeuronsFacts, PriorSchedule},
    network::{Input, Network, Runtime},
    prior::schedule::{Cosine, Sampler, Step},
};

/// A prior. See the module docs.
#[derive(Debug)]
pub struct Prior {
    network: Box<dyn Network>,
    plan: Vec<Step>,
    /// Shape of the tokens: `[1, n_token, channels]`.
    shape: [usize; 3],
    x0: Vec<f32>,
    z: Vec<f32>,
}

/// A sample that is not finished.
#[derive(Clone, Debug)]
pub struct Sampling {
    /// Shape `[n_token, channels]`.
    x: Vec<f32>,
    n_done: usize,
}

impl Prior {
    /// Opens a prior.
    ///
    /// # Errors
    ///
    /// Fails when the sampler takes more steps than the prior was trained with, or when the
    /// network cannot be opened.
    pub fn open(
        network: &NetworkFacts,
        facts: &NeuronsFacts,
        sampler: Sampler,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        let trained = facts.prior_steps;
        if let Sampler::Ddim { steps } = sampler
            && !(1..=trained).contains(&steps)
        {
            return Err(ModelError::PriorSteps { found: steps, trained });
        }
        let plan = match facts.prior_schedule {
            PriorSchedule::Cosine => Cosine::new(trained).plan(sampler),
        };
        let n_value = facts.n_token * facts.channels;
        Ok(Self {
            network: runtime.open(network)?,
            plan,
            shape: [1, facts.n_token, facts.channels],
            x0: vec![0.0; n_value],
            z: vec![0.0; n_value],
        })
    }

    /// The steps of one sample.
    #[must_use]
    pub fn plan(&self) -> &[Step] {
        &self.plan
    }

    /// Numbers of a block of noise: those of a sample.
    #[must_use]
    pub fn n_value(&self) -> usize {
        self.x0.len()
    }

    /// Blocks of noise of a sample: the start, and one for each step that needs noise.
    #[must_use]
    pub fn n_block(&self) -> usize {
        1 + self.plan.iter().filter(|step| step.noise_sd > 0.0).count()
    }

    /// A sample before its first step; `noise` fills it, or replaces it by a block of its size.
    #[must_use]
    pub fn start(&self, noise: impl FnOnce(&mut Vec<f32>)) -> Sampling {
        let mut x = vec![0.0; self.x0.len()];
        noise(&mut x);
        Sampling { x, n_done: 0 }
    }

    /// Takes one step towards tokens that fit `brain`, shape `[n_token, channels]`. If the step
    /// needs noise, `noise` fills a block of the sample's size or replaces it by another. Returns whether another step
    /// follows; after the last step this does nothing.
    ///
    /// # Errors
    ///
    /// Fails when inference fails or the output is not finite. The sample is then unusable.
    pub fn step(
        &mut self,
        sampling: &mut Sampling,
        brain: &[f32],
        noise: impl FnOnce(&mut Vec<f32>),
    ) -> Result<bool, ModelError> {
        let Some(step) = self.plan.get(sampling.n_done) else {
            return Ok(false);
        };
        let step = *step;
        self.guess(&sampling.x, step.timestep, brain)?;
        for (x, x0) in sampling.x.iter_mut().zip(&self.x0) {
            *x = step.of_x0 * x0 + step.of_x * *x;
        }
        if step.noise_sd > 0.0 {
            noise(&mut self.z);
            for (x, z) in sampling.x.iter_mut().zip(&self.z) {
                *x += step.noise_sd * z;
            }
        }
        sampling.n_done += 1;
        Ok(sampling.n_done < self.plan.len())
    }

    /// The network's prediction of the clean tokens, given the tokens `x` of a timestep. All
    /// shapes are `[n_token, channels]`.
    ///
    /// # Errors
    ///
    /// Fails when inference fails or the output is not finite.
    pub fn guess(
        &mut self,
        x: &[f32],
        timestep: usize,
        brain: &[f32],
    ) -> Result<&[f32], ModelError> {
        let timestep = [timestep as i64];
        let inputs = [
            Input::F32(&self.shape, x),
            Input::I64(&[1], &timestep),
            Input::F32(&self.shape, brain),
        ];
        self.network.run_into(&inputs, &mut self.x0)?;
        Ok(&self.x0)
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }
}

impl Sampling {
    /// The tokens after the steps so far. Shape `[n_token, channels]`.
    #[must_use]
    pub fn tokens(&self) -> &[f32] {
        &self.x
    }

    /// The tokens, after the last step.
    #[must_use]
    pub fn into_tokens(self) -> Vec<f32> {
        self.x
    }
}
