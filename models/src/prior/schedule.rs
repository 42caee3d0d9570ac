//! How much noise the prior's tokens hold at each step, and what a step does.
//!
//! The cosine schedule of Nichol and Dhariwal (2021, eq. 17) with s = 0.008: with
//! `f(k) = cos²((k/T + s)/(1 + s) · π/2)`, step `t` keeps `f(t+1)/f(t)` of the variance, at
//! least 0.001. For every sampler, one step is
//!
//! ```text
//! x ← of_x0 · x0 + of_x · x + noise_sd · z        x0 = network(x, timestep), z ~ N(0, 1)
//! ```
//!
//! - DDPM (Ho et al. 2020, eq. 7), from T - 1 down to 0: the posterior's mean and standard
//!   deviation; no noise at 0.
//! - DDIM (Song et al. 2021, eq. 12, η = 0) at `n` of the timesteps, `k·T/n - 1` rounded down
//!   for k = n … 1: the remaining noise `(x - √ᾱ x0)/√(1-ᾱ)` is carried to the next timestep. The
//!   last step gives x0 itself. With n = 1 that is the network's first prediction.
//!
//! Computed in f64 and then rounded to f32, with functions that are the same on every machine.

use std::f64::consts::FRAC_PI_2;

/// Offset of the cosine, from the paper.
const S: f64 = 0.008;
/// Largest share of the variance that a step may add, from the paper.
const MAX_BETA: f64 = 0.999;
/// Smallest variance whose logarithm is taken.
const MIN_VARIANCE: f64 = 1e-20;

/// How a prior is sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sampler {
    /// All steps that the prior was trained with; each adds noise.
    #[default]
    Ddpm,
    /// Fewer steps; only the start is noise.
    Ddim {
        /// Number of steps, 1 to the number that the prior was trained with.
        steps: usize,
    },
}

/// One step. See the module docs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Timestep that the network gets.
    pub timestep: usize,
    /// Weight of the network's prediction.
    pub of_x0: f32,
    /// Weight of the tokens before the step.
    pub of_x: f32,
    /// Standard deviation of the added noise; with 0 none is drawn.
    pub noise_sd: f32,
}

/// A cosine schedule. See the module docs.
#[derive(Clone, Debug)]
pub struct Cosine {
    betas: Vec<f64>,
    /// ᾱ: remaining share of the variance of x0 at each timestep.
    alphas_cumprod: Vec<f64>,
}

impl Cosine {
    /// The schedule of a prior that was trained with this many steps, at least 1.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        let left = |k: usize| {
            let cos = libm::cos((k as f64 / steps as f64 + S) / (1.0 + S) * FRAC_PI_2);
            cos * cos
        };
        let betas: Vec<f64> =
            (0..steps).map(|t| (1.0 - left(t + 1) / left(t)).clamp(0.0, MAX_BETA)).collect();
        let alphas_cumprod = betas
            .iter()
            .scan(1.0, |left, beta| {
                *left *= 1.0 - beta;
                Some(*left)
            })
            .collect();
        Self { betas, alphas_cumprod }
    }

    /// Steps the prior was trained with.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.betas.len()
    }

    /// The steps of a sampler, in order.
    #[must_use]
    pub fn plan(&self, sampler: Sampler) -> Vec<Step> {
        match sampler {
            Sampler::Ddpm => (0..self.steps()).rev().map(|t| self.posterior(t)).collect(),
            Sampler::Ddim { steps } => {
                let timestep = |k: usize| k * self.steps() / steps - 1;
                let after =
                    |k: usize| if k == 1 { 1.0 } else { self.alphas_cumprod[timestep(k - 1)] };
                (1..=steps).rev().map(|k| self.implicit(timestep(k), after(k))).collect()
            }
        }
    }

    fn posterior(&self, t: usize) -> Step {
        let (beta, now) = (self.betas[t], self.alphas_cumprod[t]);
        let before = if t == 0 { 1.0 } else { self.alphas_cumprod[t - 1] };
        let variance = (beta * (1.0 - before) / (1.0 - now)).max(MIN_VARIANCE);
        Step {
            timestep: t,
            of_x0: (beta * before.sqrt() / (1.0 - now)) as f32,
            of_x: ((1.0 - before) * (1.0 - beta).sqrt() / (1.0 - now)) as f32,
            noise_sd: if t == 0 { 0.0 } else { variance.sqrt() as f32 },
        }
    }

    fn implicit(&self, timestep: usize, after: f64) -> Step {
        let now = self.alphas_cumprod[timestep];
        let of_x = ((1.0 - after) / (1.0 - now)).sqrt();
        let of_x0 = after.sqrt() - of_x * now.sqrt();
        Step { timestep, of_x0: of_x0 as f32, of_x: of_x as f32, noise_sd: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_implicit_step_is_the_networks_guess() {
        let step = Cosine::new(100).plan(Sampler::Ddim { steps: 1 });
        assert_eq!(step, [Step { timestep: 99, of_x0: 1.0, of_x: 0.0, noise_sd: 0.0 }]);
    }

    #[test]
    fn twenty_of_a_hundred_steps_are_every_fifth() {
        let plan = Cosine::new(100).plan(Sampler::Ddim { steps: 20 });
        let timesteps: Vec<_> = plan.iter().map(|step| step.timestep).collect();
        assert_eq!(timesteps[..3], [99, 94, 89]);
        assert_eq!(timesteps[17..], [14, 9, 4]);
    }

    #[test]
    fn the_last_step_of_all_is_without_noise() {
        let plan = Cosine::new(100).plan(Sampler::Ddpm);
        assert_eq!(plan.len(), 100);
        assert_eq!(plan[99], Step { timestep: 0, of_x0: 1.0, of_x: 0.0, noise_sd: 0.0 });
        assert!(plan[..99].iter().all(|step| step.noise_sd > 0.0));
    }

    proptest! {
        /// A network that knows x0 leads an implicit sampler there exactly, in steps that each
        /// hold the noise their timestep has: x = √ᾱ x0 + √(1-ᾱ) z for the same z throughout.
        #[test]
        fn implicit_steps_stay_on_the_line_from_noise_to_tokens(
            trained in 1_usize..200,
            share in 0.0_f64..1.0,
            x0 in -3.0_f64..3.0,
            z in -3.0_f64..3.0,
        ) {
            let schedule = Cosine::new(trained);
            let steps = 1 + (share * (trained - 1) as f64) as usize;
            let plan = schedule.plan(Sampler::Ddim { steps });
            prop_assert_eq!(plan.len(), steps);
            let at = |t: usize| {
                let left = schedule.alphas_cumprod[t];
                left.sqrt() * x0 + (1.0 - left).sqrt() * z
            };
            let mut x = at(trained - 1);
            for (step, after) in plan.iter().zip(plan.iter().skip(1).map(Some).chain([None])) {
                x = f64::from(step.of_x0) * x0 + f64::from(step.of_x) * x;
                let expected = after.map_or(x0, |after| at(after.timestep));
                prop_assert!((x - expected).abs() < 1e-4, "{x} {expected}");
            }
        }
    }
}
