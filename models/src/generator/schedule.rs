//! How much noise latents hold at each timestep.
//!
//! As in the training of the networks, β grows linearly with the timestep, and ᾱ is the product of
//! 1 - β (Ho et al. 2020, eq. 4). AnimateDiff's schedule is linear in β; Stable Diffusion's is
//! linear in its root, and would give the blurry clip the wrong amplitude.
//!
//! Computed in f64 and then rounded to f32.

use crate::manifest::video::Training;

/// The noise schedule that networks were trained with. See the module docs.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub(super) training: Training,
    /// ᾱ: remaining share of the variance of clean latents at each timestep.
    pub(super) alphas_cumprod: Vec<f64>,
}

impl Schedule {
    /// The schedule of a training.
    #[must_use]
    pub fn new(training: Training) -> Self {
        let Training { timesteps, first_beta, last_beta, .. } = training;
        let slope = (last_beta - first_beta) / timesteps.saturating_sub(1).max(1) as f64;
        let alphas_cumprod = (0..timesteps)
            .scan(1.0, |left, t| {
                *left *= 1.0 - (first_beta + slope * t as f64);
                Some(*left)
            })
            .collect();
        Self { training, alphas_cumprod }
    }

    /// ᾱ at each timestep.
    #[must_use]
    pub fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// Adds the noise of a timestep to clean latents: √ᾱ x + √(1-ᾱ) z, written to `x`.
    pub fn add_noise(&self, x: &mut [f32], noise: &[f32], timestep: usize) {
        let left = self.alphas_cumprod[timestep];
        let (of_x, of_noise) = (left.sqrt() as f32, (1.0 - left).sqrt() as f32);
        for (x, z) in x.iter_mut().zip(noise) {
            *x = of_x * *x + of_noise * z;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// β = 0.5 and 0.75: ᾱ = 0.5 and 0.125.
    #[test]
    fn what_is_left_is_the_product() {
        let schedule = Schedule::new(Training {
            timesteps: 2,
            first_beta: 0.5,
            last_beta: 0.75,
            ..Training::default()
        });
        assert_eq!(schedule.alphas_cumprod(), [0.5, 0.125]);
        let mut x = [4.0];
        schedule.add_noise(&mut x, &[2.0], 0);
        assert!((f64::from(x[0]) - 6.0 * 0.5_f64.sqrt()).abs() < 1e-6);
    }
}
