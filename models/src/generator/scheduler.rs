//! The steps from noise to a clip, and what each does with its latents.
//!
//! The network predicts the noise e that latents hold at a timestep ([`super::schedule`]).
//! Whatever the sampler, one step is
//!
//! ```text
//! clean ← clean_of_x · x + clean_of_noise · e      e = network(x, timestep), z ~ N(0, 1)
//! x     ← next_of_clean · clean + next_of_noise · e + noise_sd · z
//! ```
//!
//! - DDIM (Song et al. 2021, eq. 12 and 16) at `n` timesteps with "leading" spacing: with
//!   s = T div n, `k·s + 1` for k = n-1 … 0, each leading to `s` before it, where ᾱ is 1 below 0.
//!   `eta` 0 draws no noise, 1 draws that of DDPM.
//! - LCM (Luo et al. 2023) at `n` of the 50 timesteps `k·20 - 1`: each goes all the way to clean
//!   latents, with the boundary condition's weights at the scaled timestep; all but the last take
//!   the noise of the timestep after.
//!
//! [`Init`] says where a clip starts. NEURONS noises the blurry clip to the first timestep of all
//! and runs every step, whatever its `low_strength` says; that is [`Init::Reference`].
//! [`Init::Sdedit`] is what `strength` means elsewhere (Meng et al. 2022).
//!
//! Computed in f64 and then rounded to f32.

use super::schedule::Schedule;
use crate::error::ModelError;

/// How a clip is sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampler {
    /// Deterministic or not, in many steps.
    Ddim {
        /// How many there are from noise to a clip.
        steps: usize,
        /// Share of DDPM's noise that each step draws, 0 to 1.
        eta: f64,
    },
    /// In few steps, with networks that were trained for it.
    Lcm {
        /// How many.
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
        /// 0 (the blurry clip as it is) to 1 (as [`Init::Reference`]).
        strength: f64,
    },
}

/// One step. See the module docs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// What the network is told.
    pub timestep: usize,
    /// Weight of the latents in the clean latents.
    pub clean_of_x: f32,
    /// Weight of the predicted noise in the clean latents.
    pub clean_of_noise: f32,
    /// Weight of the clean latents in the next ones.
    pub next_of_clean: f32,
    /// Weight of the predicted noise in the next latents.
    pub next_of_noise: f32,
    /// Standard deviation of the noise that is drawn. 0: none is.
    pub noise_sd: f32,
}

impl Step {
    /// The clean latents that the step sees. All slices have one length.
    pub fn clean(&self, x: &[f32], predicted: &[f32], clean: &mut [f32]) {
        for ((clean, x), e) in clean.iter_mut().zip(x).zip(predicted) {
            *clean = self.clean_of_x * x + self.clean_of_noise * e;
        }
    }

    /// Takes the step. `drawn` is not looked at where `noise_sd` is 0; else all slices have one
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
    /// The steps of a sampler, in the order in which they are taken. None with strength 0.
    ///
    /// # Errors
    ///
    /// Fails when there are too many steps, or none, for the timesteps, or when `eta` or the
    /// strength is not in 0..=1.
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
                // As NumPy's `linspace` spreads them, to the last bit.
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
mod tests {
    use super::{super::schedule::Training, *};
    use proptest::prelude::*;

    fn animatediff() -> Schedule {
        Schedule::new(Training::default())
    }

    /// β = 0.5 and 0.75: ᾱ = 0.5 and 0.125.
    fn two_timesteps() -> Schedule {
        Schedule::new(Training {
            timesteps: 2,
            first_beta: 0.5,
            last_beta: 0.75,
            ..Training::default()
        })
    }

    fn timesteps(sampler: Sampler, init: Init) -> Vec<usize> {
        let plan = animatediff().plan(sampler, init).unwrap();
        plan.iter().map(|step| step.timestep).collect()
    }

    fn ddim(steps: usize) -> Sampler {
        Sampler::Ddim { steps, eta: 0.0 }
    }

    /// One step of two timesteps is at 1 with ᾱ = 0.125, and ends at clean latents:
    /// (x - √0.875 e) / √0.125 = (x - √7/√8 e) · √8 = √8 x - √7 e.
    #[test]
    fn a_single_step_ends_at_clean_latents() {
        let step = two_timesteps().plan(ddim(1), Init::Reference).unwrap()[0];
        assert_eq!((step.timestep, step.next_of_clean, step.next_of_noise), (1, 1.0, 0.0));
        let mut x = [1.0];
        step.take(&mut x, &[1.0], &[]);
        assert!((f64::from(x[0]) - (8.0_f64.sqrt() - 7.0_f64.sqrt())).abs() < 1e-6);
    }

    #[test]
    fn ddim_leads_and_sdedit_keeps_the_tail() {
        assert_eq!(timesteps(ddim(4), Init::Reference), [751, 501, 251, 1]);
        assert_eq!(timesteps(ddim(4), Init::Sdedit { strength: 0.7 }), [251, 1]);
        assert!(timesteps(ddim(4), Init::Sdedit { strength: 0.0 }).is_empty());
        assert_eq!(timesteps(ddim(25), Init::Reference)[..2], [961, 921]);
    }

    #[test]
    fn lcm_thins_its_grid_and_sdedit_shortens_it() {
        let lcm = Sampler::Lcm { steps: 4 };
        assert_eq!(timesteps(lcm, Init::Reference), [999, 759, 499, 259]);
        // Half of the grid ends at 499; a quarter of 25 is 6.25: places 0, 6, 12 and 18.
        assert_eq!(timesteps(lcm, Init::Sdedit { strength: 0.5 }), [499, 379, 259, 139]);
        let plan = animatediff().plan(lcm, Init::Reference).unwrap();
        assert!(plan[..3].iter().all(|step| step.noise_sd > 0.0));
        assert_eq!((plan[3].noise_sd, plan[3].next_of_clean), (0.0, 1.0));
    }

    #[test]
    fn what_cannot_be_planned_is_refused_with_its_value() {
        let schedule = animatediff();
        let message = |sampler, init| schedule.plan(sampler, init).unwrap_err().to_string();
        for steps in [0, 1000] {
            assert!(message(ddim(steps), Init::Reference).contains("1 to 999"));
        }
        assert!(schedule.plan(ddim(999), Init::Reference).is_ok());
        assert!(message(Sampler::Lcm { steps: 51 }, Init::Reference).contains("1 to 50"));
        let strong = message(ddim(25), Init::Sdedit { strength: 1.5 });
        assert!(strong.contains("`strength` is 1.5"), "{strong}");
        let noisy = message(Sampler::Ddim { steps: 5, eta: f64::NAN }, Init::Reference);
        assert!(noisy.contains("`eta` is NaN"), "{noisy}");
    }

    proptest! {
        /// A network that knows the noise leads DDIM back along the line from clean latents to
        /// noise, x = √ᾱ x0 + √(1-ᾱ) z, and ends at x0, from whichever strength it starts.
        #[test]
        fn implicit_steps_stay_on_the_line_from_noise_to_clean_latents(
            steps in 1_usize..200,
            strength in 0.0_f64..=1.0,
            x0 in -3.0_f32..3.0,
            z in -3.0_f32..3.0,
        ) {
            let schedule = animatediff();
            let plan = schedule.plan(ddim(steps), Init::Sdedit { strength }).unwrap();
            let mut x = [x0];
            if let Some(first) = plan.first() {
                schedule.add_noise(&mut x, &[z], first.timestep);
            }
            for (k, step) in plan.iter().enumerate() {
                let mut clean = [0.0];
                step.clean(&x, &[z], &mut clean);
                prop_assert!((clean[0] - x0).abs() < 1e-3, "{} {x0}", clean[0]);
                step.take(&mut x, &[z], &[]);
                let mut expected = [x0];
                if k + 1 < plan.len() {
                    schedule.add_noise(&mut expected, &[z], plan[k + 1].timestep);
                    prop_assert!((x[0] - expected[0]).abs() < 1e-3, "{x:?} {expected:?}");
                }
            }
            prop_assert!((x[0] - x0).abs() < 1e-3, "{x:?} {x0}");
        }

        /// With noise or without, a step never leaves more or less variance than its timestep
        /// has: next_of_noise² + noise_sd² = 1 - ᾱ of the next.
        #[test]
        fn drawn_and_predicted_noise_add_up(steps in 1_usize..200, eta in 0.0_f64..=1.0) {
            let plan = animatediff().plan(Sampler::Ddim { steps, eta }, Init::Reference);
            for step in plan.unwrap() {
                let noise = step.next_of_noise.powi(2) + step.noise_sd.powi(2);
                prop_assert!((noise + step.next_of_clean.powi(2) - 1.0).abs() < 1e-5);
            }
        }
    }
}
