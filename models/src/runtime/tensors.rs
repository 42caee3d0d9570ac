//! Tensors on their way into ONNX Runtime and out of it.

use ort::{
    session::{IoBinding, SessionInputValue, SessionOutputs},
    value::{DynValue, Tensor, TensorRef},
};

use crate::{
    error::ModelError,
    network::{Input, Kept, KeptValue, Values},
};

/// An input as ONNX Runtime takes it; borrowed, not copied.
pub(super) fn input<'a>(input: &Input<'a>) -> Result<SessionInputValue<'a>, ModelError> {
    Ok(match *input {
        Input::F32(shape, values) => {
            TensorRef::from_array_view((shape, values)).map_err(failed)?.into()
        }
        Input::F16(shape, values) => {
            TensorRef::from_array_view((shape, values)).map_err(failed)?.into()
        }
        Input::I64(shape, values) => {
            TensorRef::from_array_view((shape, values)).map_err(failed)?.into()
        }
        Input::Kept(kept) => (&own(kept)?.0).into(),
    })
}

/// Binds an input by its name. Borrowed values are copied here: `ort` would otherwise copy them
/// through a network of its own and wait for that.
pub(super) fn bind(
    input: &Input<'_>,
    name: &str,
    binding: &mut IoBinding,
) -> Result<(), ModelError> {
    match *input {
        Input::F32(shape, values) => Tensor::from_array((shape, values.to_vec()))
            .and_then(|tensor| binding.bind_input(name, &tensor)),
        Input::F16(shape, values) => Tensor::from_array((shape, values.to_vec()))
            .and_then(|tensor| binding.bind_input(name, &tensor)),
        Input::I64(shape, values) => Tensor::from_array((shape, values.to_vec()))
            .and_then(|tensor| binding.bind_input(name, &tensor)),
        Input::Kept(kept) => binding.bind_input(name, &own(kept)?.0),
    }
    .map_err(failed)
}

/// The outputs of a run, where ONNX Runtime put them.
pub(super) struct OnnxValues<'a>(pub(super) SessionOutputs<'a>);

impl Values for OnnxValues<'_> {
    fn f32(&self, at: usize) -> Result<(&[i64], &[f32]), ModelError> {
        let (shape, values) = self.0[at].try_extract_tensor::<f32>().map_err(failed)?;
        Ok((shape, values))
    }

    fn keep(&mut self, name: &str) -> Option<Kept> {
        self.0.remove(name).map(|value| Kept::new(OnnxTensor(value)))
    }
}

/// A tensor that ONNX Runtime keeps.
#[derive(Debug)]
struct OnnxTensor(DynValue);

impl KeptValue for OnnxTensor {
    fn shape(&self) -> Vec<usize> {
        let found = self.0.dtype().tensor_shape();
        found.into_iter().flat_map(|shape| shape.iter()).map(|&n| n as usize).collect()
    }

    fn f32(&self) -> Result<&[f32], ModelError> {
        self.0.try_extract_tensor::<f32>().map(|(_, values)| values).map_err(failed)
    }
}

fn own(kept: &Kept) -> Result<&OnnxTensor, ModelError> {
    let own = kept.downcast::<OnnxTensor>();
    own.ok_or_else(|| ModelError::Run("a kept input is not a tensor of ONNX Runtime".into()))
}

/// ONNX Runtime's message for a run that failed.
pub(super) fn failed(error: ort::Error) -> ModelError {
    ModelError::Run(error.to_string())
}
