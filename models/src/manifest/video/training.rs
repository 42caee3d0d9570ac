//! The noise that the networks of a video set were trained with.

/// The noise schedule of a training, and the constants of its samplers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// Timesteps.
    pub timesteps: usize,
    /// β of the first timestep.
    pub first_beta: f64,
    /// β of the last timestep; between them it grows in equal steps.
    pub last_beta: f64,
    /// DDIM's timesteps are shifted by this many.
    pub steps_offset: usize,
    /// Timesteps of the consistency solver's grid.
    pub lcm_grid: usize,
    /// Factor on the timesteps in LCM's boundary condition.
    pub lcm_timestep_scaling: f64,
    /// Standard deviation of the data in LCM's boundary condition.
    pub lcm_sigma_data: f64,
}

impl Default for Training {
    /// The training of AnimateDiff and AnimateLCM.
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
