//! What a model reads out of one window.

use std::sync::Arc;

use crate::{conditions::Conditions, decoupler::Head, error::ModelError};

/// Probability of each class, given one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Concepts {
    /// Names of the classes. The same allocation for every window of a model.
    pub names: Arc<[String]>,
    /// Probability of each, in the order of `names`: 0 to 1.
    pub probabilities: Vec<f32>,
    /// Whether exactly one class is there, so that the probabilities sum to 1. Otherwise each
    /// may be there or not, whatever the others are.
    pub is_exclusive: bool,
}

impl Concepts {
    /// Name and probability of each class, in the model's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f32)> {
        self.names.iter().map(String::as_str).zip(self.probabilities.iter().copied())
    }

    /// Place of the most probable class; the first one where several are.
    #[must_use]
    pub fn best(&self) -> Option<usize> {
        let places = 0..self.probabilities.len();
        places.reduce(
            |best, at| {
                if self.probabilities[at] > self.probabilities[best] { at } else { best }
            },
        )
    }
}

/// A head that gave nothing for one window.
#[derive(Debug)]
pub struct HeadFailure {
    /// Which.
    pub head: Head,
    /// Why.
    pub error: ModelError,
}

/// What a model read out of one window.
#[derive(Debug, Default)]
pub struct Readouts {
    /// Probability of each class.
    pub concepts: Option<Concepts>,
    /// What is seen, in words.
    pub caption: Option<String>,
    /// What a generator is given.
    pub conditions: Option<Conditions>,
    /// Heads that gave nothing.
    pub failures: Vec<HeadFailure>,
}

/// Looks on while a window is decoded, and may end it.
pub trait Watch {
    /// A part of the model is done, well or not: one of [`crate::decoder::PARTS`].
    fn done(&mut self, part: &'static str);

    /// Whether decoding shall end with [`ModelError::Cancelled`]. Asked between the steps of the
    /// prior.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Nobody looks on.
impl Watch for () {
    fn done(&mut self, _part: &'static str) {}
}
