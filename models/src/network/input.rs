//! Inputs of one run, borrowed from the caller.

use half::f16;

use super::kept::Kept;
use crate::{error::ModelError, manifest::TensorFacts};

/// One input of a run, with its shape, slowest axis first.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// 32-bit floating point.
    F32(&'a [usize], &'a [f32]),
    /// 16-bit floating point.
    F16(&'a [usize], &'a [f16]),
    /// 64-bit integers.
    I64(&'a [usize], &'a [i64]),
    /// An output of an earlier run, on the device that holds it.
    Kept(&'a Kept),
}

impl Input<'_> {
    /// How many values are NaN or infinite, of those that the host can see.
    pub(super) fn n_not_finite(&self) -> usize {
        match self {
            Self::F32(_, values) => values.iter().filter(|value| !value.is_finite()).count(),
            Self::F16(..) | Self::I64(..) | Self::Kept(_) => 0,
        }
    }
}

/// Refuses a run with too few or too many inputs.
pub(crate) fn check_count(
    inputs: &[Input<'_>],
    expected: &[TensorFacts],
) -> Result<(), ModelError> {
    let (found, expected) = (inputs.len(), expected.len());
    if found == expected {
        return Ok(());
    }
    Err(ModelError::Run(format!("got {found} inputs, the network takes {expected}")))
}
