//! The stimuli that the simulated participant sees, and the BOLD response to them.
//!
//! The response to a stimulus is its boxcar convolved with the canonical double-gamma function
//! (Friston et al. 1998; SPM's `spm_hrf` with its default parameters: peaks of shape 6 and 16,
//! ratio 6, 32 s long), scaled so that a stimulus that stays on reaches 1.

use corticast_images::events::Event;

use super::rng::Rng;

/// Step of the tabulated response, in seconds.
const STEP_S: f64 = 0.05;
/// e^-0.05. Its powers are computed as products, which are the same on every machine.
const EXP_MINUS_STEP: f64 = 0.951_229_424_500_714;
const LENGTH_S: f64 = 32.0;
/// Γ(6) and Γ(16).
const GAMMA_6: f64 = 120.0;
const GAMMA_16: f64 = 1_307_674_368_000.0;

/// Timing of the stimuli.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Design {
    /// One class for 12 s, then 8 s of rest.
    Block,
    /// Single stimuli of 1.5 s, every 4 to 7 s.
    Event,
}

/// The order of stimuli for a run of this length. Every class is shown once before any repeats.
pub fn events(design: Design, classes: &[String], length_s: f64, rng: &mut Rng) -> Vec<Event> {
    let mut events = Vec::new();
    let mut bag: Vec<usize> = Vec::new();
    let mut onset_s = 6.0;
    loop {
        let (duration_s, gap_s) = match design {
            Design::Block => (12.0, 8.0),
            Design::Event => (1.5, 2.5 + 0.5 * rng.below(7) as f64),
        };
        if onset_s + duration_s > length_s || classes.is_empty() {
            return events;
        }
        if bag.is_empty() {
            bag.extend(0..classes.len());
        }
        let class = bag.swap_remove(rng.below(bag.len()));
        events.push(Event { onset_s, duration_s, trial_type: classes[class].clone() });
        onset_s += duration_s + gap_s;
    }
}

/// The integral of the haemodynamic response, tabulated.
#[derive(Clone, Debug)]
pub struct Response {
    /// Share of the response that has passed after `i · STEP_S`.
    integral: Vec<f64>,
}

impl Response {
    /// The canonical response.
    #[must_use]
    pub fn canonical() -> Self {
        let n = (LENGTH_S / STEP_S) as usize;
        let power = |t: f64, n: usize| (0..n).fold(1.0, |product, _| product * t);
        let mut decay = 1.0;
        let mut sum = 0.0;
        let mut integral = Vec::with_capacity(n + 1);
        for i in 0..=n {
            let t = i as f64 * STEP_S;
            sum += decay * (power(t, 5) / GAMMA_6 - power(t, 15) / GAMMA_16 / 6.0);
            integral.push(sum);
            decay *= EXP_MINUS_STEP;
        }
        Self { integral: integral.into_iter().map(|value| value / sum).collect() }
    }

    /// The response at a given time to a stimulus shown from `onset_s` for `duration_s`.
    #[must_use]
    pub fn at(&self, time_s: f64, event: &Event) -> f64 {
        let since = time_s - event.onset_s;
        self.integral_until(since) - self.integral_until(since - event.duration_s)
    }

    fn integral_until(&self, seconds: f64) -> f64 {
        if seconds <= 0.0 {
            return 0.0;
        }
        let position = seconds / STEP_S;
        let below = position as usize;
        match (self.integral.get(below), self.integral.get(below + 1)) {
            (Some(a), Some(b)) => a + (b - a) * (position - below as f64),
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_peaks_after_five_seconds_and_undershoots() {
        let response = Response::canonical();
        let flash = Event { onset_s: 0.0, duration_s: 0.1, trial_type: String::new() };
        let at = |time_s: f64| response.at(time_s, &flash);
        let peak = (0..320).map(|i| f64::from(i) * 0.1).max_by(|a, b| at(*a).total_cmp(&at(*b)));
        assert!((4.8..5.4).contains(&peak.unwrap()), "{peak:?}");
        assert!(at(0.0).abs() < 1e-9 && at(16.0) < 0.0 && at(40.0).abs() < 1e-9);
        let always = Event { duration_s: 100.0, ..flash };
        assert!((response.at(60.0, &always) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn each_class_comes_once_before_one_repeats() {
        let classes: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        let events = events(Design::Block, &classes, 300.0, &mut Rng::new(7, 0));
        for round in events.chunks_exact(3) {
            let mut shown: Vec<_> = round.iter().map(|e| e.trial_type.as_str()).collect();
            shown.sort_unstable();
            assert_eq!(shown, ["a", "b", "c"]);
        }
        assert!(events.last().is_some_and(|e| e.onset_s + e.duration_s <= 300.0));
    }
}
