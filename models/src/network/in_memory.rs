//! Networks that are ordinary functions, for tests without ONNX Runtime's library.
//!
//! A function takes the inputs and returns the outputs, both in the order of the manifest. The
//! same checks apply as to a real network: number and shapes of the inputs, shapes of the
//! outputs, values that are not finite.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Input, Kept, KeptValue, Network, Outputs, Runtime, Values, input, run_on_zeros};
use crate::{
    error::ModelError,
    manifest::{NetworkFacts, Role, TensorFacts},
};

type Function = Arc<dyn Fn(&[Input<'_>]) -> Vec<Tensor> + Send + Sync>;

/// An f32 tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<i64>,
    values: Vec<f32>,
}

impl Tensor {
    /// A tensor of a shape, slowest axis first.
    ///
    /// # Panics
    ///
    /// If the number of values does not fit the shape.
    #[must_use]
    pub fn new(shape: &[usize], values: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "values do not fit {shape:?}");
        Self { shape: shape.iter().map(|&n| n as i64).collect(), values }
    }
}

impl KeptValue for Tensor {
    fn shape(&self) -> Vec<usize> {
        self.shape.iter().map(|&n| n as usize).collect()
    }

    fn f32(&self) -> Result<&[f32], ModelError> {
        Ok(&self.values)
    }
}

/// Opens networks as the functions given for their roles; the files are not read.
#[derive(Clone, Default)]
pub struct InMemoryRuntime {
    functions: Vec<(Role, Function)>,
}

impl InMemoryRuntime {
    /// Runs networks of this role as this function.
    #[must_use]
    pub fn with(
        mut self,
        role: Role,
        function: impl Fn(&[Input<'_>]) -> Vec<Tensor> + Send + Sync + 'static,
    ) -> Self {
        self.functions.retain(|(of, _)| *of != role);
        self.functions.push((role, Arc::new(function)));
        self
    }
}

impl Runtime for InMemoryRuntime {
    fn open_at(
        &self,
        shapes: &[Vec<usize>],
        network: &NetworkFacts,
    ) -> Result<Box<dyn Network>, ModelError> {
        let function = self.functions.iter().find(|(role, _)| *role == network.role);
        let (role, function) = function.ok_or_else(|| ModelError::Load {
            path: network.path.clone(),
            reason: format!("there is no function for role `{}`", network.role),
        })?;
        let mut opened = InMemoryNetwork {
            role: *role,
            function: Arc::clone(function),
            inputs: network.inputs.clone(),
            outputs: network.outputs.clone(),
            n_run: 0,
            took: Duration::ZERO,
        };
        run_on_zeros(&mut opened, &network.inputs, shapes)?;
        (opened.n_run, opened.took) = (0, Duration::ZERO);
        Ok(Box::new(opened))
    }
}

struct InMemoryNetwork {
    role: Role,
    function: Function,
    inputs: Vec<TensorFacts>,
    outputs: Vec<TensorFacts>,
    n_run: u64,
    took: Duration,
}

impl fmt::Debug for InMemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryNetwork").field("role", &self.role).finish_non_exhaustive()
    }
}

impl InMemoryNetwork {
    fn call(&mut self, inputs: &[Input<'_>]) -> Result<Called, ModelError> {
        input::check_count(inputs, &self.inputs)?;
        for (input, expected) in inputs.iter().zip(&self.inputs) {
            let (shape, n) = match input {
                Input::F32(shape, values) => (shape.to_vec(), values.len()),
                Input::F16(shape, values) => (shape.to_vec(), values.len()),
                Input::I64(shape, values) => (shape.to_vec(), values.len()),
                Input::Kept(kept) => (kept.shape(), kept.f32()?.len()),
            };
            let found: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
            if !expected.takes(&found) || shape.iter().product::<usize>() != n {
                let message = format!("got an input {shape:?} of {n} values, expected {expected}");
                return Err(ModelError::Run(message));
            }
        }
        let started = Instant::now();
        let tensors = (self.function)(inputs);
        self.n_run += 1;
        self.took += started.elapsed();
        if tensors.len() != self.outputs.len() {
            let (found, expected) = (tensors.len(), self.outputs.len());
            return Err(ModelError::Run(format!("got {found} outputs, expected {expected}")));
        }
        let names = self.outputs.iter().map(|facts| facts.name.clone());
        Ok(Called(names.zip(tensors.into_iter().map(Some)).collect()))
    }
}

impl Network for InMemoryNetwork {
    fn run<'a>(&'a mut self, inputs: &'a [Input<'a>]) -> Result<Outputs<'a>, ModelError> {
        let called = self.call(inputs)?;
        Ok(Outputs::new(called, &self.outputs, inputs))
    }

    fn run_and_keep(&mut self, inputs: &[Input<'_>]) -> Result<Vec<Kept>, ModelError> {
        let Called(tensors) = self.call(inputs)?;
        Ok(tensors.into_iter().filter_map(|(_, tensor)| tensor.map(Kept::new)).collect())
    }

    fn role(&self) -> Role {
        self.role
    }

    fn runs(&self) -> (u64, Duration) {
        (self.n_run, self.took)
    }
}

/// Outputs with their names; `None` once taken.
struct Called(Vec<(String, Option<Tensor>)>);

impl Values for Called {
    fn f32(&self, at: usize) -> Result<(&[i64], &[f32]), ModelError> {
        let (name, tensor) = &self.0[at];
        let taken = || ModelError::Run(format!("output `{name}` was taken before"));
        let tensor = tensor.as_ref().ok_or_else(taken)?;
        Ok((&tensor.shape, &tensor.values))
    }

    fn keep(&mut self, name: &str) -> Option<Kept> {
        let (_, tensor) = self.0.iter_mut().find(|(of, _)| of == name)?;
        tensor.take().map(Kept::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Dim::{Fixed, Open};

    fn facts() -> NetworkFacts {
        NetworkFacts {
            role: Role::Prior,
            path: "prior.onnx".into(),
            sha256: String::new(),
            external: Vec::new(),
            inputs: vec![TensorFacts::f32("x", &[Open, Fixed(2)])],
            outputs: vec![TensorFacts::f32("y", &[Open, Fixed(1)])],
            classes: Vec::new(),
        }
    }

    /// Gives the sum of each row.
    fn sums(inputs: &[Input<'_>]) -> Vec<Tensor> {
        let Input::F32(shape, values) = inputs[0] else { panic!("{:?}", inputs[0]) };
        vec![Tensor::new(&[shape[0], 1], values.chunks(2).map(|row| row.iter().sum()).collect())]
    }

    fn open() -> Box<dyn Network> {
        InMemoryRuntime::default().with(Role::Prior, sums).open(&facts()).unwrap()
    }

    #[test]
    fn a_function_is_run_as_a_network() {
        let mut network = open();
        let mut sums = vec![0.0; 2];
        network.run_into(&[Input::F32(&[2, 2], &[1.0, 2.0, 3.0, 4.0])], &mut sums).unwrap();
        assert_eq!(sums, [3.0, 7.0]);
        assert_eq!((network.role(), network.runs().0), (Role::Prior, 1));
    }

    #[test]
    fn shapes_counts_and_values_are_checked_as_with_a_real_network() {
        let mut network = open();
        let mut run = |inputs: &[Input<'_>], n| network.run_into(inputs, &mut vec![0.0; n]);
        assert!(matches!(run(&[], 1), Err(ModelError::Run(_))));
        assert!(matches!(run(&[Input::F32(&[1, 3], &[0.0; 3])], 1), Err(ModelError::Run(_))));
        let two = [Input::F32(&[2, 2], &[0.0; 4])];
        assert!(matches!(run(&two, 1), Err(ModelError::OutputShape { .. })));
        let nan = [Input::F32(&[1, 2], &[f32::NAN, 0.0])];
        assert!(matches!(run(&nan, 1), Err(ModelError::NotFinite { n_not_finite_in: 1, .. })));
        assert!(run(&two, 2).is_ok());
    }

    #[test]
    fn a_kept_output_is_taken_once_and_read_again() {
        let mut network = open();
        let inputs = [Input::F32(&[1, 2], &[1.0, 2.0])];
        let mut outputs = network.run(&inputs).unwrap();
        let kept = outputs.keep(0).unwrap();
        assert_eq!((kept.shape(), kept.f32().unwrap()), (vec![1, 1], [3.0].as_slice()));
        assert!(outputs.keep(0).is_err() && outputs.f32(0, 1).is_err());
        drop(outputs);
        let [kept] = <[Kept; 1]>::try_from(network.run_and_keep(&inputs).unwrap()).unwrap();
        assert!(kept.downcast::<Tensor>().is_some());
    }

    #[test]
    fn a_role_without_a_function_is_named() {
        let error = InMemoryRuntime::default().open(&facts()).unwrap_err();
        assert!(error.to_string().contains("no function for role `prior`"), "{error}");
    }
}
