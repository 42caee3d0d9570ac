//! One ONNX file, loaded.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use ort::{
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
    session::{Session, SessionInputValue, builder::SessionBuilder},
    value::{Outlet, TensorElementType},
};

use super::tensors::{self, OnnxValues, failed};
use crate::{
    contract::{self, Declared},
    error::ModelError,
    manifest::{ElementType, NetworkFacts, Role, TensorFacts},
    network::{Input, Kept, Network, Outputs, Provider, check_count, run_on_zeros},
};

/// A network in ONNX Runtime.
pub(super) struct OnnxNetwork {
    session: Session,
    inputs: Vec<TensorFacts>,
    outputs: Vec<TensorFacts>,
    provider: Provider,
    gpu: u8,
    fallback_reason: Option<String>,
    expected_cuda: bool,
    metadata: BTreeMap<String, String>,
    role: Role,
    /// Runs since it was opened, and the time that ONNX Runtime took for them.
    n_run: u64,
    took: Duration,
}

impl fmt::Debug for OnnxNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxNetwork")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

impl OnnxNetwork {
    /// Loads the file with a builder for this provider (and number of the GPU), compares it with the manifest, and runs
    /// it once on zeros with inputs of these shapes.
    pub(super) fn open(
        builder: ort::Result<SessionBuilder>,
        (provider, gpu): (Provider, u8),
        shapes: &[Vec<usize>],
        network: &NetworkFacts,
    ) -> Result<Self, ModelError> {
        let path = &network.path;
        let load =
            |error: ort::Error| ModelError::Load { path: path.clone(), reason: error.to_string() };
        let session =
            builder.and_then(|mut builder| builder.commit_from_file(path)).map_err(load)?;
        contract::check(network, &declared(session.inputs()), &declared(session.outputs()))?;
        let mut opened = Self {
            metadata: metadata(&session).map_err(load)?,
            session,
            inputs: network.inputs.clone(),
            outputs: network.outputs.clone(),
            provider,
            gpu,
            fallback_reason: None,
            expected_cuda: false,
            role: network.role,
            n_run: 0,
            took: Duration::ZERO,
        };
        run_on_zeros(&mut opened, &network.inputs, shapes)?;
        (opened.n_run, opened.took) = (0, Duration::ZERO);
        Ok(opened)
    }

    /// The same network, with the reason why it does not run on the GPU. `expected_cuda`: the
    /// library was built with CUDA, so the user will be surprised.
    pub(super) fn instead_of_cuda(self, reason: String, expected_cuda: bool) -> Self {
        Self { fallback_reason: Some(reason), expected_cuda, ..self }
    }
}

impl Network for OnnxNetwork {
    fn run<'a>(&'a mut self, inputs: &'a [Input<'a>]) -> Result<Outputs<'a>, ModelError> {
        check_count(inputs, &self.inputs)?;
        let values: Vec<SessionInputValue<'_>> =
            inputs.iter().map(tensors::input).collect::<Result<_, _>>()?;
        let started = Instant::now();
        let values = self.session.run(values.as_slice()).map_err(failed)?;
        self.n_run += 1;
        self.took += started.elapsed();
        Ok(Outputs::new(OnnxValues(values), &self.outputs, inputs))
    }

    fn run_and_keep(&mut self, inputs: &[Input<'_>]) -> Result<Vec<Kept>, ModelError> {
        check_count(inputs, &self.inputs)?;
        let (device, id) = match self.provider {
            Provider::Cpu => (AllocationDevice::CPU, 0),
            Provider::Cuda => (AllocationDevice::CUDA, self.gpu.into()),
        };
        let memory = MemoryInfo::new(device, id, AllocatorType::Device, MemoryType::Default);
        let memory = memory.map_err(failed)?;
        let mut binding = self.session.create_binding().map_err(failed)?;
        for (facts, input) in self.inputs.iter().zip(inputs) {
            tensors::bind(input, &facts.name, &mut binding)?;
        }
        for facts in &self.outputs {
            binding.bind_output_to_device(&facts.name, &memory).map_err(failed)?;
        }
        let started = Instant::now();
        let values = self.session.run_binding(&binding).map_err(failed)?;
        self.n_run += 1;
        self.took += started.elapsed();
        let mut outputs = Outputs::new(OnnxValues(values), &self.outputs, inputs);
        (0..self.outputs.len()).map(|at| outputs.keep(at)).collect()
    }

    fn role(&self) -> Role {
        self.role
    }

    fn runs(&self) -> (u64, Duration) {
        (self.n_run, self.took)
    }

    fn provider(&self) -> Provider {
        self.provider
    }

    fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    fn expected_cuda(&self) -> bool {
        self.expected_cuda
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }
}

/// Inputs or outputs as the ONNX file declares them.
fn declared(outlets: &[Outlet]) -> Vec<Declared<'_>> {
    outlets
        .iter()
        .map(|outlet| Declared {
            name: outlet.name(),
            dtype: match outlet.dtype().tensor_type() {
                Some(TensorElementType::Float32) => Some(ElementType::F32),
                Some(TensorElementType::Float16) => Some(ElementType::F16),
                Some(TensorElementType::Int64) => Some(ElementType::I64),
                _ => None,
            },
            shape: outlet.dtype().tensor_shape().map(|shape| shape.to_vec()),
            shown: outlet.dtype().to_string(),
        })
        .collect()
}

/// `metadata_props` of the ONNX file.
fn metadata(session: &Session) -> ort::Result<BTreeMap<String, String>> {
    let metadata = session.metadata()?;
    let keys = metadata.custom_keys()?;
    Ok(keys.into_iter().filter_map(|key| Some((key.clone(), metadata.custom(&key)?))).collect())
}
