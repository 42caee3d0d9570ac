//! Scaling: from the raw score to 0..1.
//!
//! ```text
//! raw → z, or percentile, against the baseline → smoothing → direction → 0..1, clipped
//! ```
//!
//! - `z`: distance from the baseline's mean in s.d.; `z_range` says which z is 0 and which is 1.
//! - `percentile`: part of the baseline's scores below this one; already 0..1.
//!
//! Smoothing is exponential: `s += α·(x - s)` with `α = 1 - exp(-Δt/τ)` and the time constant τ. The
//! first value of a block is taken as it is, so no block sees another. Smoothing makes the score
//! late, by the mean age of what it holds; each score states it.
//!
//! With fewer than `min_baseline_volumes` in the baseline, or with a baseline that does not vary,
//! there is no score.
//!
//! The uncertainty is the standard error of the score if the participant did nothing: noise of the
//! size of the baseline's, white, less what smoothing takes away, plus the error of the baseline's
//! own mean. Noise of fMRI is correlated in time, so the true error is larger. With `q` the sum of
//! the squared weights of the smoothed values and `n` volumes of baseline:
//!
//! - z: `sqrt(q + 1/n)` s.d.
//! - percentile p: `sqrt(q/12 + p·(1 - p)/n)`; 1/12 is the variance of a uniform distribution.

use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use crate::state::{Loader, Saver};

/// How a raw score is compared with the baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scaling {
    /// In s.d. from its mean.
    #[default]
    Z,
    /// By the part of its scores that are lower.
    Percentile,
}

/// Which change the participant is to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// A higher raw score is a higher score.
    #[default]
    Up,
    /// A lower raw score is a higher score.
    Down,
}

/// A score with its error and its delay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scaled {
    /// 0 to 1.
    pub(super) score: f64,
    /// Standard error, in the unit of the score. See the module docs.
    pub(super) uncertainty: f64,
    /// Mean age of the values in the score, in seconds; 0 without smoothing.
    pub(super) lag_s: f64,
}

/// Scales raw scores.
#[derive(Clone, Debug)]
pub(super) struct Scaler {
    pub(super) scaling: Scaling,
    /// The z that is 0 and the z that is 1.
    pub(super) z_range: [f64; 2],
    pub(super) direction: Direction,
    pub(super) min_baseline_volumes: u32,
    pub(super) smoother: Smoother,
}

impl Scaler {
    /// The score of a good volume. `None` while the baseline is too short, or if it is constant.
    pub(super) fn scale(&mut self, raw: f64, time_s: f64, baseline: &Baseline) -> Option<Scaled> {
        let n = baseline.n_volume();
        if n < self.min_baseline_volumes as usize {
            return None;
        }
        let value = match self.scaling {
            Scaling::Z => baseline.z(raw)?,
            Scaling::Percentile => baseline.percentile(raw)?,
        };
        let smoothed = self.smoother.add(time_s, value);
        let Smoothed { value, weight_squares: q, lag_s, .. } = smoothed;
        let [low, high] = self.z_range;
        let by_n = 1.0 / n as f64;
        let (score, uncertainty) = match (self.scaling, self.direction) {
            (Scaling::Z, direction) => {
                let z = if direction == Direction::Up { value } else { -value };
                ((z - low) / (high - low), (q + by_n).sqrt() / (high - low))
            }
            (Scaling::Percentile, direction) => {
                let part = if direction == Direction::Up { value } else { 1.0 - value };
                (part, (q / 12.0 + value * (1.0 - value) * by_n).sqrt())
            }
        };
        Some(Scaled { score: score.clamp(0.0, 1.0), uncertainty, lag_s })
    }
}

/// Exponential smoothing of values at any times.
#[derive(Clone, Debug)]
pub(super) struct Smoother {
    time_constant_s: f64,
    state: Option<Smoothed>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Smoothed {
    value: f64,
    /// Sum of the squared weights of the values.
    weight_squares: f64,
    lag_s: f64,
    time_s: f64,
}

impl Smoother {
    /// No smoothing with a time constant of 0.
    pub(super) fn new(time_constant_s: f64) -> Self {
        Self { time_constant_s, state: None }
    }

    /// Forgets what it holds.
    pub(super) fn restart(&mut self) {
        self.state = None;
    }

    fn add(&mut self, time_s: f64, value: f64) -> Smoothed {
        let fresh = Smoothed { value, weight_squares: 1.0, lag_s: 0.0, time_s };
        let state = match self.state {
            Some(before) if self.time_constant_s > 0.0 => {
                let step_s = (time_s - before.time_s).max(0.0);
                let kept = exp_of_minus(step_s / self.time_constant_s);
                let new = 1.0 - kept;
                Smoothed {
                    value: before.value + new * (value - before.value),
                    weight_squares: kept * kept * before.weight_squares + new * new,
                    lag_s: kept * (before.lag_s + step_s),
                    time_s,
                }
            }
            _ => fresh,
        };
        *self.state.insert(state)
    }

    /// Adds its state to a checkpoint.
    pub(super) fn save(&self, to: &mut Saver) {
        let values = self.state.map(|s| [s.value, s.weight_squares, s.lag_s, s.time_s]);
        to.f64s(values.as_ref().map_or(&[], <[f64; 4]>::as_slice));
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit.
    pub(super) fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        self.state = match *from.f64s()? {
            [] => None,
            [value, weight_squares, lag_s, time_s] => {
                Some(Smoothed { value, weight_squares, lag_s, time_s })
            }
            _ => return None,
        };
        Some(())
    }
}

/// `exp(-x)` for x from 0 up, with the same bits on every machine, which the system's `exp` does not
/// promise. Scaling and squaring: `exp(-x) = exp(-x/1024)^1024`, with the Taylor series of the
/// inner one. The relative error is below 1e-12.
fn exp_of_minus(x: f64) -> f64 {
    // Below 5e-18, which no sum of scores can see.
    if x > 40.0 {
        return 0.0;
    }
    let y = -x / 1024.0;
    let series = (1..=8).rev().fold(1.0, |sum, k| 1.0 + sum * y / f64::from(k));
    (0..10).fold(series, |power, _| power * power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::feedback::source::Source;

    fn scaler(scaling: Scaling, direction: Direction) -> Scaler {
        Scaler {
            scaling,
            z_range: [-2.0, 2.0],
            direction,
            min_baseline_volumes: 4,
            smoother: Smoother::new(0.0),
        }
    }

    /// Mean 4, s.d. 2.
    fn baseline(n: usize) -> Baseline {
        let (mut baseline, plain) = (Baseline::default(), Source::linear(vec![1.0], 0.0, 1));
        let plain = plain.unwrap();
        (0..n).for_each(|k| baseline.add(&plain, [if k % 2 == 0 { 2.0 } else { 6.0 }, 0.0]));
        baseline
    }

    #[test]
    fn a_z_score_is_mapped_to_its_range_and_clipped() {
        let mut up = scaler(Scaling::Z, Direction::Up);
        let scores = [4.0, 6.0, 100.0, -100.0].map(|raw| up.scale(raw, 0.0, &baseline(4)));
        assert_eq!(
            scores.map(|s| s.unwrap().score.to_bits()),
            [0.5, 0.75, 1.0, 0.0].map(f64::to_bits)
        );
        // sqrt(1 + 1/4) s.d. of a range of 4 s.d.
        let expected = 1.25_f64.sqrt() / 4.0;
        assert!((scores[0].unwrap().uncertainty - expected).abs() < 1e-12);
        let mut down = scaler(Scaling::Z, Direction::Down);
        let score = down.scale(6.0, 0.0, &baseline(4)).unwrap().score;
        assert!((score - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_percentile_is_the_part_of_the_baseline_below() {
        let mut up = scaler(Scaling::Percentile, Direction::Up);
        let mut down = scaler(Scaling::Percentile, Direction::Down);
        for (raw, expected) in [(1.0, 0.0), (2.0, 0.25), (4.0, 0.5), (7.0, 1.0)] {
            let found = up.scale(raw, 0.0, &baseline(4)).unwrap().score;
            assert!((found - expected).abs() < 1e-12, "{raw}: {found}");
            let found = down.scale(raw, 0.0, &baseline(4)).unwrap().score;
            assert!((found - (1.0 - expected)).abs() < 1e-12, "{raw}: {found}");
        }
    }

    #[test]
    fn a_short_baseline_gives_no_score() {
        assert_eq!(scaler(Scaling::Z, Direction::Up).scale(4.0, 0.0, &baseline(3)), None);
    }

    #[test]
    fn after_one_time_constant_a_step_has_come_up_to_63_percent() {
        let mut smoother = Smoother::new(6.0);
        let _ = smoother.add(0.0, 0.0);
        let [_, _, third] = [2.0, 4.0, 6.0].map(|time_s| smoother.add(time_s, 1.0));
        assert!((third.value - (1.0 - (-1.0_f64).exp())).abs() < 1e-12, "{third:?}");
        // A ramp of 1 per second is followed at the stated lag.
        let mut ramp = Smoother::new(6.0);
        let last = (0..50).map(|k| ramp.add(f64::from(k), f64::from(k))).last().unwrap();
        assert!((last.value - (49.0 - last.lag_s)).abs() < 1e-9, "{last:?}");
    }

    #[test]
    fn smoothed_noise_has_the_variance_of_its_weights() {
        let mut smoother = Smoother::new(6.0);
        let last = (0..100).map(|k| smoother.add(2.0 * f64::from(k), 0.0)).last().unwrap();
        let alpha = 1.0 - (-2.0_f64 / 6.0).exp();
        // Variance of exponential smoothing of white noise: Roberts 1959, Technometrics 1:239.
        assert!((last.weight_squares - alpha / (2.0 - alpha)).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_exponential_is_that_of_the_library(x in 0.0..40.0_f64) {
            let (found, expected) = (exp_of_minus(x), (-x).exp());
            prop_assert!((found - expected).abs() <= 1e-12 * expected, "{} {}", found, expected);
        }
    }
}
