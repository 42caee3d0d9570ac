//! How much noise latents hold at each timestep.
//!
//! That of the networks' training: β grows linearly with the timestep, ᾱ is the product of 1 - β
//! (Ho et al. 2020, eq. 4). AnimateDiff's is linear in β, not in its root as that of Stable
//! Diffusion: the blurry clip enters with another amplitude otherwise.
//!
//! Computed in f64 and then rounded to f32.

/// What networks were trained with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// Timesteps.
    pub timesteps: usize,
    /// β of the first timestep.
    pub first_beta: f64,
    /// β of the last timestep; between them it grows in equal steps.
    pub last_beta: f64,
    /// What the timesteps of DDIM are shifted by.
    pub steps_offset: usize,
    /// Timesteps of the consistency solver's grid.
    pub lcm_grid: usize,
    /// Timesteps are multiplied by it in LCM's boundary condition.
    pub lcm_timestep_scaling: f64,
    /// Standard deviation of the data in LCM's boundary condition.
    pub lcm_sigma_data: f64,
}

impl Default for Training {
    /// That of AnimateDiff and AnimateLCM.
    fn default() -> Self {
        Self {
            timesteps: 1000,
            first_beta: 0.00085,
            last_beta: 0.012,
            steps_offset: 1,
            lcm_grid: 50,
            lcm_timestep_scaling: 10.0,
            lcm_sigma_data: 0.5,
        }
    }
}

/// The noise that networks were trained with. See the module docs.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub(super) training: Training,
    /// ᾱ: what is left of the variance of clean latents at each timestep.
    pub(super) alphas_cumprod: Vec<f64>,
}

impl Schedule {
    /// The schedule of such a training.
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

    /// Clean latents with the noise of a timestep: √ᾱ x + √(1-ᾱ) z. `x` is overwritten.
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
