//! Outputs of one run, checked before anybody uses them.
//!
//! A dimension that the file leaves open is known only now, and NaN from one network would
//! spread through all that follow, so every output is checked here, once, for all runtimes.

use super::{input::Input, kept::Kept};
use crate::{
    error::ModelError,
    manifest::{ElementType, TensorFacts},
};

/// The outputs of one run as their runtime holds them, in the order of the manifest.
pub trait Values {
    /// Shape and values of an f32 output, slowest axis first.
    ///
    /// # Errors
    ///
    /// Fails when the output is not f32 or not in host memory.
    fn f32(&self, at: usize) -> Result<(&[i64], &[f32]), ModelError>;

    /// Takes an output out; `None` if it was taken before.
    fn keep(&mut self, name: &str) -> Option<Kept>;
}

/// The outputs of one run.
pub struct Outputs<'a> {
    values: Box<dyn Values + 'a>,
    facts: &'a [TensorFacts],
    /// The run's inputs, for the message if an output is not finite.
    inputs: &'a [Input<'a>],
}

impl<'a> Outputs<'a> {
    /// The outputs of a run of a network with these facts, given these inputs.
    pub fn new(
        values: impl Values + 'a,
        facts: &'a [TensorFacts],
        inputs: &'a [Input<'a>],
    ) -> Self {
        Self { values: Box::new(values), facts, inputs }
    }

    /// The `n` values of an f32 output, by its place in the manifest, slowest axis first.
    ///
    /// # Errors
    ///
    /// Fails when the shape differs from the manifest, when there are not `n` values, or when
    /// one of them is NaN or infinite.
    pub fn f32(&self, at: usize, n: usize) -> Result<&[f32], ModelError> {
        let (values, name) = (self.f32_unchecked(at)?, &self.facts[at].name);
        if values.len() != n {
            return Err(ModelError::OutputShape {
                name: name.clone(),
                found: vec![values.len() as i64],
                expected: format!("{n} values of {}", self.facts[at]),
            });
        }
        if let Some((position, &found)) =
            values.iter().enumerate().find(|(_, value)| !value.is_finite())
        {
            let n_not_finite_in = self.inputs.iter().map(Input::n_not_finite).sum();
            return Err(ModelError::NotFinite {
                name: name.clone(),
                position,
                found,
                n_not_finite_in,
            });
        }
        Ok(values)
    }

    /// Takes an output, by its place in the manifest, as an input of a later run.
    ///
    /// # Errors
    ///
    /// Fails when it was taken before.
    pub fn keep(&mut self, at: usize) -> Result<Kept, ModelError> {
        let name = &self.facts[at].name;
        let taken = self.values.keep(name);
        taken.ok_or_else(|| ModelError::Run(format!("output `{name}` was taken before")))
    }

    /// Compares the shapes of all f32 outputs with the manifest.
    pub(super) fn check_shapes(&self) -> Result<(), ModelError> {
        let is_f32 = |at: &usize| self.facts[*at].dtype == ElementType::F32;
        let mut places = (0..self.facts.len()).filter(is_f32);
        places.try_for_each(|at| self.f32_unchecked(at).map(drop))
    }

    fn f32_unchecked(&self, at: usize) -> Result<&[f32], ModelError> {
        let facts = &self.facts[at];
        let (shape, values) = self.values.f32(at)?;
        if !facts.takes(shape) {
            return Err(ModelError::OutputShape {
                name: facts.name.clone(),
                found: shape.to_vec(),
                expected: facts.to_string(),
            });
        }
        Ok(values)
    }
}
