//! The steps from noise to a clip, and what each does.
//!
//! The network predicts the noise e that latents hold at a timestep ([`super::schedule`]).
//! For every sampler, one step is
//!
//! ```text
//! clean ← clean_of_x · x + clean_of_noise · e      e = network(x, timestep), z ~ N(0, 1)
//! x     ← next_of_clean · clean + next_of_noise · e + noise_sd · z
//! ```
//!
//! - DDIM (Song et al. 2021, eq. 12 and 16) at `n` timesteps with "leading" spacing: with
//!   s = T div n, `k·s + 1` for k = n-1 … 0. Each step leads to the timestep `s` before it; below
//!   0, ᾱ is 1. With `eta` 0 no noise is drawn, with 1 as much as in DDPM.
//! - LCM (Luo et al. 2023) at `n` of the 50 timesteps `k·20 - 1`: each step goes to clean latents,
//!   with the boundary condition's weights at the scaled timestep; all but the last then add the
//!   noise of the next timestep.
//!
//! [`Init`] says where a clip starts. NEURONS adds the noise of the very first timestep to the
//! blurry clip and runs every step, regardless of its `low_strength`; that is [`Init::Reference`].
//! [`Init::Sdedit`] is the usual meaning of `strength` (Meng et al. 2022).
//!
//! Computed in f64 and then rounded to f32.

use super::schedule::Schedule;
use crate::error::ModelError;

/// How a clip is sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampler {
    /// Many steps, deterministic with `eta` 0.
    Ddim {
        /// Number of steps from noise to a clip.
        steps: usize,
        /// Share of DDPM's noise that each step adds, 0 to 1.
        eta: f64,
    },
    /// Few steps, with networks that were trained for that.
    Lcm {
        /// Number of steps.
        steps: usize,
    },
}

/// Where a clip starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// The blurry clip with the noise of the first timestep; every step is run.
    Reference,
    /// The blurry clip with less noise. DDIM keeps the last `strength` of its steps and runs only
    /// those; LCM spreads all of its steps over the last `strength` of its grid.
    Sdedit {
        /// 0 (the unchanged blurry clip) to 1 (same as [`Init::Reference`]).
        strength: f64,
    },
}

/// One step. See the module docs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Timestep that the network gets.
    pub timestep: usize,
    /// Weight of the latents in the clean latents.
    pub clean_of_x: f32,
    /// Weight of the predicted noise in the clean latents.
    pub clean_of_noise: f32,
    /// Weight of the clean latents in the next ones.
    pub next_of_clean: f32,
    /// Weight of the predicted noise in the next latents.
    pub next_of_noise: f32,
    /// Standard deviation of the added noise; with 0 none is drawn.
    pub noise_sd: f32,
}

impl Step {
    /// The clean latents that the step predicts. All slices have the same length.
    pub fn clean(&self, x: &[f32], predicted: &[f32], clean: &mut [f32]) {
        for ((clean, x), e) in clean.iter_mut().zip(x).zip(predicted) {
            *clean = self.clean_of_x * x + self.clean_of_noise * e;
        }
    }

    /// Takes the step. `drawn` is ignored if `noise_sd` is 0; otherwise all slices have the same
    /// length.
    pub fn take(&self, x: &mut [f32], predicted: &[f32], drawn: &[f32]) {
        for (x, e) in x.iter_mut().zip(predicted) {
            let clean = self.clean_of_x * *x + self.clean_of_noise * e;
            *x = self.next_of_clean * clean + self.next_of_noise * e;
        }
        if self.noise_sd > 0.0 {
            for (x, z) in x.iter_mut().zip(drawn) {
                *x += self.noise_sd * z;
            }
        }
    }
}

impl Schedule {
    /// The steps of a sampler, in order. With strength 0 there are none.
    ///
    /// # Errors
    ///
    /// Fails when the number of steps is 0 or larger than that of the timesteps, or when `eta` or
    /// the strength is not between 0 and 1.
    pub fn plan(&self, sampler: Sampler, init: Init) -> Result<Vec<Step>, ModelError> {
        let strength = match init {
            Init::Reference => 1.0,
            Init::Sdedit { strength } => share("strength", strength)?,
        };
        let (n, training) = (self.alphas_cumprod.len(), &self.training);
        match sampler {
            Sampler::Ddim { steps, eta } => {
                let eta = share("eta", eta)?;
                check_steps(steps, n.saturating_sub(training.steps_offset))?;
                let stride = n / steps;
                let kept = ((steps as f64 * strength) as usize).min(steps);
                let timestep = |k: usize| k * stride + training.steps_offset;
                Ok((0..kept).rev().map(|k| self.ddim(timestep(k), stride, eta)).collect())
            }
            Sampler::Lcm { steps } => {
                let kept = (training.lcm_grid as f64 * strength) as usize;
                if kept == 0 {
                    return Ok(Vec::new());
                }
                check_steps(steps, kept)?;
                let stride = n / training.lcm_grid;
                // The same as NumPy's `linspace`, to the last bit.
                let apart = kept as f64 / steps as f64;
                let timestep = |k: usize| (kept - (k as f64 * apart) as usize) * stride - 1;
                let after = |k: usize| (k + 1 < steps).then(|| timestep(k + 1));
                Ok((0..steps).map(|k| self.lcm(timestep(k), after(k))).collect())
            }
        }
    }

    /// One step of DDIM, to the timestep `stride` before this one.
    #[must_use]
    pub fn ddim(&self, timestep: usize, stride: usize, eta: f64) -> Step {
        let now = self.alphas_cumprod[timestep];
        let next = timestep.checked_sub(stride).map_or(1.0, |next| self.alphas_cumprod[next]);
        let variance = (1.0 - next) / (1.0 - now) * (1.0 - now / next);
        let noise_sd = eta * variance.sqrt();
        Step {
            timestep,
            clean_of_x: (1.0 / now.sqrt()) as f32,
            clean_of_noise: (-(1.0 - now).sqrt() / now.sqrt()) as f32,
            next_of_clean: next.sqrt() as f32,
            next_of_noise: (1.0 - next - noise_sd * noise_sd).max(0.0).sqrt() as f32,
            noise_sd: noise_sd as f32,
        }
    }

    fn lcm(&self, timestep: usize, after: Option<usize>) -> Step {
        let now = self.alphas_cumprod[timestep];
        let next = after.map_or(1.0, |after| self.alphas_cumprod[after]);
        let scaled = timestep as f64 * self.training.lcm_timestep_scaling;
        let data = self.training.lcm_sigma_data.powi(2);
        let both = scaled * scaled + data;
        let (skip, out) = (data / both, scaled / both.sqrt());
        Step {
            timestep,
            clean_of_x: (out / now.sqrt() + skip) as f32,
            clean_of_noise: (-out * (1.0 - now).sqrt() / now.sqrt()) as f32,
            next_of_clean: next.sqrt() as f32,
            next_of_noise: 0.0,
            noise_sd: (1.0 - next).sqrt() as f32,
        }
    }
}

fn share(name: &'static str, found: f64) -> Result<f64, ModelError> {
    if (0.0..=1.0).contains(&found) {
        Ok(found)
    } else {
        Err(ModelError::NotAShare { name, found })
    }
}

fn check_steps(found: usize, most: usize) -> Result<(), ModelError> {
    if (1..=most).contains(&found) { Ok(()) } else { Err(ModelError::ClipSteps { found, most }) }
}

#[cfg(test)]
mod tests;
