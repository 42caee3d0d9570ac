//! Outputs that stay where the runtime put them until a later run reads them.

use std::{any::Any, fmt};

use crate::error::ModelError;

/// An output that is kept for a later run of the same runtime, e.g. in GPU memory.
#[derive(Debug)]
pub struct Kept(Box<dyn KeptValue>);

/// A tensor as its runtime holds it.
pub trait KeptValue: Any + fmt::Debug + Send + Sync {
    /// Its shape, slowest axis first.
    fn shape(&self) -> Vec<usize>;

    /// Its values, slowest axis first.
    ///
    /// # Errors
    ///
    /// Fails when they are not f32 or not in host memory.
    fn f32(&self) -> Result<&[f32], ModelError>;
}

impl Kept {
    /// Keeps a runtime's tensor.
    pub fn new(value: impl KeptValue) -> Self {
        Self(Box::new(value))
    }

    /// The tensor as its runtime knows it; `None` if it came from another runtime.
    #[must_use]
    pub fn downcast<T: KeptValue>(&self) -> Option<&T> {
        let value: &dyn Any = self.0.as_ref();
        value.downcast_ref()
    }

    /// Its shape, slowest axis first.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.0.shape()
    }

    /// Its values, slowest axis first.
    ///
    /// # Errors
    ///
    /// Fails when they are not f32 or not in host memory.
    pub fn f32(&self) -> Result<&[f32], ModelError> {
        self.0.f32()
    }
}
