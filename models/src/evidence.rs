//! Evidence of several windows, added up: what is shown now is most likely what was shown a TR ago.
//!
//! One volume says little about its stimulus. Stimuli that are shown in blocks stay for several
//! volumes, so the volumes of a block can be judged together, as far as they have come. This is
//! the forward recursion of a hidden Markov model (Rabiner 1989, Proc. IEEE 77:257, equation 20):
//!
//! ```text
//!            1 − TR/block_s         1 − TR/rest_s
//!               ┌──┐   TR/block_s      ┌──┐
//!               class ──────────────► rest ──(TR/rest_s, each class alike)──► class
//!
//! P(class now) ∝ P(window | class) · Σ P(class now | class before) · P(class before)
//! ```
//!
//! The network's probability of a class stands for `P(window | class)`. One of its classes is *rest*:
//! nothing is shown. It lets go of a block that has ended, and is no answer: the probabilities of the
//! others are given as if there were no rest. The lengths of blocks and of the rest between them are
//! means over the training runs, so nothing about the running experiment is known in advance.
//!
//! Only the past is used. A run starts without knowledge, and so does the first window behind a gap.

use corticast_bold::state::{Loader, Saver};

use crate::manifest::EvidenceFacts;

/// Least probability of a window that is believed. The network's can be 0 by rounding, and a class
/// that was impossible once would be impossible for ever.
const LEAST: f64 = 1e-6;

/// Adds up the evidence of the windows of a run. See the module docs.
#[derive(Clone, Debug)]
pub struct Evidence {
    facts: EvidenceFacts,
    n_class: usize,
    repetition_time_s: f64,
    /// Probability that a block, or a rest, goes on for another TR.
    block_stays: f64,
    rest_stays: f64,
    last: Option<Last>,
}

/// What is known after a window.
#[derive(Clone, Debug)]
struct Last {
    /// Stimulus time of the window, seconds since the start of volume index 0.
    stimulus_time_s: f64,
    /// Probability of each class of the network. Shape `[n_class]`, sum 1.
    probabilities: Vec<f64>,
}

impl Evidence {
    /// A filter that knows nothing yet, for a network with `n_class` classes.
    #[must_use]
    pub fn new(facts: &EvidenceFacts, n_class: usize, repetition_time_s: f64) -> Self {
        Self {
            facts: *facts,
            n_class,
            repetition_time_s,
            block_stays: 1.0 - repetition_time_s / facts.block_s,
            rest_stays: 1.0 - repetition_time_s / facts.rest_s,
            last: None,
        }
    }

    /// Its settings.
    #[must_use]
    pub fn facts(&self) -> &EvidenceFacts {
        &self.facts
    }

    /// Forgets the previous run.
    pub fn start_run(&mut self) {
        self.last = None;
    }

    /// Adds a window. `of_window` are the network's probabilities, `[n_class]`; returned are those of
    /// all classes but rest, in their order, with sum 1.
    pub fn add(&mut self, stimulus_time_s: f64, of_window: &[f32]) -> Vec<f32> {
        let mut now = self.expected(stimulus_time_s);
        for (now, &of_window) in now.iter_mut().zip(of_window) {
            *now *= f64::from(of_window).max(LEAST);
        }
        let sum: f64 = now.iter().sum();
        now.iter_mut().for_each(|now| *now /= sum);
        let answers = |(class, now): (usize, &f64)| (class != self.facts.rest).then_some(*now);
        let shown: f64 = now.iter().enumerate().filter_map(answers).sum();
        let given = now.iter().enumerate().filter_map(answers);
        let given = given.map(|probability| (probability / shown) as f32).collect();
        self.last = Some(Last { stimulus_time_s, probabilities: now });
        given
    }

    /// Probability of each class before its window is seen.
    fn expected(&self, stimulus_time_s: f64) -> Vec<f64> {
        let follows = |last: &&Last| {
            let passed_s = stimulus_time_s - last.stimulus_time_s;
            (passed_s - self.repetition_time_s).abs() < self.repetition_time_s / 2.0
        };
        let Some(last) = self.last.as_ref().filter(follows) else {
            return vec![1.0 / self.n_class as f64; self.n_class];
        };
        let rested = last.probabilities[self.facts.rest];
        let shown = 1.0 - rested;
        let starts = rested * (1.0 - self.rest_stays) / (self.n_class - 1) as f64;
        let mut now: Vec<f64> =
            last.probabilities.iter().map(|before| before * self.block_stays + starts).collect();
        now[self.facts.rest] = rested * self.rest_stays + shown * (1.0 - self.block_stays);
        now
    }

    /// Adds its state to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        to.u32(u32::from(self.last.is_some()));
        if let Some(last) = &self.last {
            to.f64(last.stimulus_time_s);
            to.f64s(&last.probabilities);
        }
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit; then nothing has changed.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        self.last = match from.u32()? {
            0 => None,
            1 => {
                let (stimulus_time_s, probabilities) = (from.f64()?, from.f64s()?);
                if probabilities.len() != self.n_class {
                    return None;
                }
                Some(Last { stimulus_time_s, probabilities })
            }
            _ => return None,
        };
        Some(())
    }
}

#[cfg(test)]
mod tests;
