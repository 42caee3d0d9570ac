//! What a model reads out of one window.

use std::sync::Arc;

use crate::{conditions::Conditions, decoupler::Head, error::ModelError};

/// Probability of each class, given one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Concepts {
    /// Names of the classes. The same allocation for every window of a model.
    pub names: Arc<[String]>,
    /// Probability of each class, 0 to 1, in the order of `names`.
    pub probabilities: Vec<f32>,
    /// Whether exactly one class is present, so that the probabilities sum to 1. Otherwise any
    /// number of classes can be present.
    pub is_exclusive: bool,
}

impl Concepts {
    /// Name and probability of each class, in the model's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f32)> {
        self.names.iter().map(String::as_str).zip(self.probabilities.iter().copied())
    }

    /// Place of the most probable class, the first one of several.
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

/// A head that failed on one window.
#[derive(Debug)]
pub struct HeadFailure {
    /// The head.
    pub head: Head,
    /// Why it failed.
    pub error: ModelError,
}

/// Everything that a model read out of one window.
#[derive(Debug, Default)]
pub struct Readouts {
    /// Probability of each class.
    pub concepts: Option<Concepts>,
    /// A caption of what the participant sees.
    pub caption: Option<String>,
    /// Input of the generator.
    pub conditions: Option<Conditions>,
    /// Heads that failed.
    pub failures: Vec<HeadFailure>,
}

/// Observes the decoding of a window, and can cancel it.
pub trait Watch {
    /// Called when a part of the model is done, successfully or not; `part` is one of
    /// [`crate::decoder::PARTS`].
    fn done(&mut self, part: &'static str);

    /// Whether decoding should end with [`ModelError::Cancelled`]. Called between the steps of
    /// the prior.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// No observer.
impl Watch for () {
    fn done(&mut self, _part: &'static str) {}
}
