//! ONNX Runtime: the only file that names the `ort` crate.
//!
//! The library is loaded once a process, from the file that [`crate::runtime`] finds, before
//! anything else of `ort` is touched: its own search panics where it finds nothing.
//!
//! A [`Session`] is one network. It runs on the thread that needs the result, with one intra-op
//! thread that does not spin: the networks here are small, and a pool costs more than it gives
//! and makes sums depend on how they were split.
//!
//! Inputs are borrowed and outputs are read where ONNX Runtime put them: nothing is copied but
//! what the caller copies. An output that is the next run's input ([`Kept`]) is never looked at.
//!
//! Left to itself ONNX Runtime falls back from CUDA to the CPU without a word. Here CUDA is
//! registered so that failure is an error, the network is run once on it, and the fallback of
//! `device = "auto"` is ours: its reason is kept, and whoever opens a model says it.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Mutex, Once, PoisonError},
    time::{Duration, Instant},
};

use half::f16;
use ort::{
    environment::Environment,
    ep::{CUDA, ExecutionProvider},
    logging::LogLevel,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
    session::{
        IoBinding, Session as OrtSession, SessionInputValue, SessionOutputs,
        builder::SessionBuilder,
    },
    value::{DynValue, Outlet, Tensor, TensorElementType, TensorRef},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::ModelError,
    manifest::{ElementType, NetworkFacts, Role, TensorFacts, listed},
    runtime::{RuntimeError, RuntimeInfo, find_library, side_libraries},
};

/// Where a network shall run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// On the CPU.
    Cpu,
    /// On an NVIDIA GPU, or not at all.
    Cuda,
    /// On an NVIDIA GPU if that works, else on the CPU.
    #[default]
    Auto,
}

/// Where a network runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// On the CPU.
    Cpu,
    /// On an NVIDIA GPU.
    Cuda,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

/// How networks are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Where.
    pub device: Device,
    /// Threads that share one operation on the CPU.
    pub intra_threads: NonZeroUsize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { device: Device::default(), intra_threads: NonZeroUsize::MIN }
    }
}

/// The library, kept for the life of the process: an environment that ends cannot be had again.
static LOADED: Mutex<Option<(Environment, RuntimeInfo)>> = Mutex::new(None);

/// Loads ONNX Runtime unless it is loaded, and says which one it is.
///
/// # Errors
///
/// Fails when there is no library, or none that can be used. Trying again is fine.
pub fn load_runtime() -> Result<RuntimeInfo, RuntimeError> {
    environment().map(|(_, info)| info)
}

fn environment() -> Result<(Environment, RuntimeInfo), RuntimeError> {
    // What the lock guards is set in one step, so a panic elsewhere cannot leave it half done.
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = &*loaded {
        return Ok(loaded.clone());
    }
    let path = find_library()?;
    let unusable = |reason: String| RuntimeError::Unusable { path: path.clone(), reason };
    let environment = ort::init_from(&path)
        .map_err(|error| unusable(why_not_loaded(&error)))?
        .with_name("corticast")
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    // `ort` asks for everything and lets `tracing` throw it away, run after run.
    environment.set_log_level(LogLevel::Warning);
    let minor = ort::util::probe(&path).unwrap_or(ort::MINOR_VERSION);
    let info = RuntimeInfo { version: format!("1.{minor}"), build: ort::info().to_owned(), path };
    tracing::info!(version = info.version, path = %info.path.display(), "ONNX Runtime loaded");
    Ok(loaded.insert((environment, info)).clone())
}

/// What the system's loader said, e.g. of a missing version of the C library; `ort` leaves it out.
fn why_not_loaded(error: &ort::LoadDynamicError) -> String {
    let cause = match error {
        ort::LoadDynamicError::Dlopen { error, .. } => error.source(),
        _ => None,
    };
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}

/// One input of a run, with its shape, slowest axis first.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// 32-bit floating point.
    F32(&'a [usize], &'a [f32]),
    /// 16-bit floating point.
    F16(&'a [usize], &'a [f16]),
    /// 64-bit integers.
    I64(&'a [usize], &'a [i64]),
    /// What a run gave out, as it lies.
    Kept(&'a Kept),
}

impl<'a> Input<'a> {
    fn as_ort(&self) -> ort::Result<SessionInputValue<'a>> {
        Ok(match *self {
            Self::F32(shape, values) => TensorRef::from_array_view((shape, values))?.into(),
            Self::F16(shape, values) => TensorRef::from_array_view((shape, values))?.into(),
            Self::I64(shape, values) => TensorRef::from_array_view((shape, values))?.into(),
            Self::Kept(Kept(value)) => value.into(),
        })
    }

    /// Binds the input. What is borrowed is copied: `ort` would copy it through a network of its
    /// own, and waits for itself there.
    fn bind(&self, name: &str, binding: &mut IoBinding) -> ort::Result<()> {
        match *self {
            Self::F32(shape, values) => {
                binding.bind_input(name, &Tensor::from_array((shape, values.to_vec()))?)
            }
            Self::F16(shape, values) => {
                binding.bind_input(name, &Tensor::from_array((shape, values.to_vec()))?)
            }
            Self::I64(shape, values) => {
                binding.bind_input(name, &Tensor::from_array((shape, values.to_vec()))?)
            }
            Self::Kept(Kept(value)) => binding.bind_input(name, value),
        }
    }

    fn n_not_finite(&self) -> usize {
        match self {
            Self::F32(_, values) => values.iter().filter(|value| !value.is_finite()).count(),
            Self::F16(..) | Self::I64(..) | Self::Kept(_) => 0,
        }
    }
}

/// An output that is kept for a later run, where ONNX Runtime put it.
#[derive(Debug)]
pub struct Kept(DynValue);

impl Kept {
    /// Its shape, slowest axis first.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        let found = self.0.dtype().tensor_shape();
        found.into_iter().flat_map(|shape| shape.iter()).map(|&n| n as usize).collect()
    }

    /// Its values, slowest axis first.
    ///
    /// # Errors
    ///
    /// Fails when they are no f32, or lie on another device.
    pub fn f32(&self) -> Result<&[f32], ModelError> {
        let extracted = self.0.try_extract_tensor::<f32>();
        extracted.map(|(_, values)| values).map_err(|error| ModelError::Run(error.to_string()))
    }
}

/// What a run gave out.
pub struct Outputs<'a> {
    values: SessionOutputs<'a>,
    facts: &'a [TensorFacts],
    /// What they were made of, for the message when they cannot be.
    inputs: &'a [Input<'a>],
}

impl Outputs<'_> {
    /// The `n` values of an f32 output, by its place in the manifest, slowest axis first.
    ///
    /// # Errors
    ///
    /// Fails when its shape is not that of the manifest, when it has another number of values,
    /// or when it holds NaN or infinity.
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

    /// How many there are.
    #[must_use]
    pub fn n(&self) -> usize {
        self.facts.len()
    }

    fn f32_unchecked(&self, at: usize) -> Result<&[f32], ModelError> {
        let (facts, value) = (&self.facts[at], &self.values[at]);
        let (shape, values) = value
            .try_extract_tensor::<f32>()
            .map_err(|error| ModelError::Run(error.to_string()))?;
        // A dimension that the ONNX file leaves open is known only now.
        if !facts.takes(shape) {
            return Err(ModelError::OutputShape {
                name: facts.name.clone(),
                found: shape.to_vec(),
                expected: facts.to_string(),
            });
        }
        Ok(values)
    }

    /// Takes an output, by its place in the manifest, to be an input later.
    ///
    /// # Errors
    ///
    /// Fails when it was taken already.
    pub fn keep(&mut self, at: usize) -> Result<Kept, ModelError> {
        let name = &self.facts[at].name;
        let taken = self.values.remove(name).map(Kept);
        taken.ok_or_else(|| ModelError::Run(format!("output `{name}` is gone")))
    }
}

/// A network, loaded.
pub struct Session {
    ort: OrtSession,
    inputs: Vec<TensorFacts>,
    outputs: Vec<TensorFacts>,
    provider: Provider,
    fallback_reason: Option<String>,
    expected_cuda: bool,
    metadata: BTreeMap<String, String>,
    role: Role,
    /// Runs since it was opened, and how long ONNX Runtime took for them.
    n_run: u64,
    took: Duration,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Loads a network, compares it with its manifest, and runs it once on zeros: the first
    /// run allocates, and a GPU that cannot run the network shows it here.
    ///
    /// # Errors
    ///
    /// Fails when ONNX Runtime cannot be loaded or does not take the file, when names, types
    /// or shapes differ from the manifest, or when CUDA was asked for and cannot be used.
    pub fn open(network: &NetworkFacts, options: &SessionOptions) -> Result<Self, ModelError> {
        let shapes: Vec<_> = network.inputs.iter().map(|input| input.shape_with(1)).collect();
        Self::open_at(&shapes, network, options)
    }

    /// As [`Session::open`], with inputs of these shapes in the first run: for a network that
    /// cannot be run with every open dimension at 1, or allocates for the shapes it will have.
    ///
    /// # Errors
    ///
    /// As [`Session::open`].
    pub fn open_at(
        shapes: &[Vec<usize>],
        network: &NetworkFacts,
        options: &SessionOptions,
    ) -> Result<Self, ModelError> {
        let (environment, runtime) = environment()?;
        if options.device == Device::Cpu {
            return Self::open_on(Provider::Cpu, &environment, shapes, network, options);
        }
        let built_with_cuda = cuda_in(&runtime.path);
        let reason = match &built_with_cuda {
            Ok(()) => match Self::open_on(Provider::Cuda, &environment, shapes, network, options) {
                Ok(session) => return Ok(session),
                // Another provider would not make it the right network.
                Err(error @ ModelError::Contract { .. }) => return Err(error),
                Err(ModelError::Load { reason, .. }) => reason,
                Err(error) => error.to_string(),
            },
            Err(reason) => reason.clone(),
        };
        if options.device == Device::Cuda {
            return Err(ModelError::NoCuda { path: network.path.clone(), reason });
        }
        let mut session = Self::open_on(Provider::Cpu, &environment, shapes, network, options)?;
        session.expected_cuda = built_with_cuda.is_ok();
        session.fallback_reason = Some(reason);
        Ok(session)
    }

    fn open_on(
        provider: Provider,
        environment: &Environment,
        shapes: &[Vec<usize>],
        network: &NetworkFacts,
        options: &SessionOptions,
    ) -> Result<Self, ModelError> {
        let path = &network.path;
        let load = |reason: String| ModelError::Load { path: path.clone(), reason };
        let ort = builder(provider, environment, options)
            .and_then(|mut builder| builder.commit_from_file(path))
            .map_err(|error| load(error.to_string()))?;
        check_outlets(path, "input", ort.inputs(), &network.inputs)?;
        check_outlets(path, "output", ort.outputs(), &network.outputs)?;
        let metadata = metadata(&ort).map_err(|error| load(error.to_string()))?;
        let (inputs, outputs) = (network.inputs.clone(), network.outputs.clone());
        let mut session = Self {
            ort,
            inputs,
            outputs,
            provider,
            fallback_reason: None,
            expected_cuda: false,
            metadata,
            role: network.role,
            n_run: 0,
            took: Duration::ZERO,
        };
        session.run_on_zeros(shapes)?;
        (session.n_run, session.took) = (0, Duration::ZERO);
        Ok(session)
    }

    /// Runs the network once on zeros. What comes out is not looked at: zeros are no BOLD.
    fn run_on_zeros(&mut self, shapes: &[Vec<usize>]) -> Result<(), ModelError> {
        let inputs = self.inputs.clone();
        let n_most = shapes.iter().map(|shape| shape.iter().product()).max().unwrap_or(0);
        let zeros = (vec![0.0; n_most], vec![f16::ZERO; n_most], vec![0; n_most]);
        let inputs: Vec<Input<'_>> = inputs
            .iter()
            .zip(shapes)
            .map(|(input, shape)| {
                let n = shape.iter().product();
                match input.dtype {
                    ElementType::F32 => Input::F32(shape, &zeros.0[..n]),
                    ElementType::F16 => Input::F16(shape, &zeros.1[..n]),
                    ElementType::I64 => Input::I64(shape, &zeros.2[..n]),
                }
            })
            .collect();
        let n_output = self.outputs.len();
        self.run(&inputs, |outputs| {
            let is_f32 = |at: &usize| outputs.facts[*at].dtype == ElementType::F32;
            (0..n_output).filter(is_f32).try_for_each(|at| outputs.f32_unchecked(at).map(drop))
        })
    }

    /// Runs the network, its inputs in the order of the manifest; `take` reads what comes out.
    ///
    /// # Errors
    ///
    /// Fails when the shapes are not those of the manifest, when inference fails, or when
    /// `take` does. The next run may succeed.
    pub fn run<R>(
        &mut self,
        inputs: &[Input<'_>],
        take: impl FnOnce(&mut Outputs<'_>) -> Result<R, ModelError>,
    ) -> Result<R, ModelError> {
        let run = |error: ort::Error| ModelError::Run(error.to_string());
        if inputs.len() != self.inputs.len() {
            let (found, expected) = (inputs.len(), self.inputs.len());
            return Err(ModelError::Run(format!("{found} inputs, the network takes {expected}")));
        }
        let values: Vec<SessionInputValue<'_>> =
            inputs.iter().map(Input::as_ort).collect::<Result<_, _>>().map_err(run)?;
        let started = Instant::now();
        let values = self.ort.run(values.as_slice()).map_err(run)?;
        self.n_run += 1;
        self.took += started.elapsed();
        take(&mut Outputs { values, facts: &self.outputs, inputs })
    }

    /// Runs the network and keeps all that comes out where the network runs: what is large and the
    /// next network's input does not go to the host and back.
    ///
    /// # Errors
    ///
    /// As [`Session::run`].
    pub fn run_and_keep(&mut self, inputs: &[Input<'_>]) -> Result<Vec<Kept>, ModelError> {
        let run = |error: ort::Error| ModelError::Run(error.to_string());
        if inputs.len() != self.inputs.len() {
            let (found, expected) = (inputs.len(), self.inputs.len());
            return Err(ModelError::Run(format!("{found} inputs, the network takes {expected}")));
        }
        let device = match self.provider {
            Provider::Cpu => AllocationDevice::CPU,
            Provider::Cuda => AllocationDevice::CUDA,
        };
        let memory = MemoryInfo::new(device, 0, AllocatorType::Device, MemoryType::Default);
        let memory = memory.map_err(run)?;
        let mut binding = self.ort.create_binding().map_err(run)?;
        for (facts, input) in self.inputs.iter().zip(inputs) {
            input.bind(&facts.name, &mut binding).map_err(run)?;
        }
        for facts in &self.outputs {
            binding.bind_output_to_device(&facts.name, &memory).map_err(run)?;
        }
        let started = Instant::now();
        let values = self.ort.run_binding(&binding).map_err(run)?;
        self.n_run += 1;
        self.took += started.elapsed();
        let mut outputs = Outputs { values, facts: &self.outputs, inputs };
        (0..outputs.n()).map(|at| outputs.keep(at)).collect()
    }

    /// Runs a network with one output of a length that is known.
    ///
    /// # Errors
    ///
    /// As [`Session::run`] and [`Outputs::f32`], or when the output has another length.
    pub fn run_into(&mut self, inputs: &[Input<'_>], output: &mut [f32]) -> Result<(), ModelError> {
        self.run(inputs, |outputs| {
            let values = outputs.f32(0, output.len())?;
            output.copy_from_slice(values);
            Ok(())
        })
    }

    /// What the network is for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// How often the network was run since it was opened, and how long ONNX Runtime took for all
    /// of that.
    #[must_use]
    pub fn runs(&self) -> (u64, Duration) {
        (self.n_run, self.took)
    }

    /// Where the network runs.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Why the network runs on the CPU although `auto` would rather have had CUDA.
    #[must_use]
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    /// Whether the network runs on the CPU although CUDA's libraries were installed.
    #[must_use]
    pub fn expected_cuda(&self) -> bool {
        self.expected_cuda
    }

    /// `metadata_props` of the ONNX file.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

fn builder(
    provider: Provider,
    environment: &Environment,
    options: &SessionOptions,
) -> ort::Result<SessionBuilder> {
    let builder = OrtSession::builder(environment)?
        .with_intra_threads(options.intra_threads.get())?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_deterministic_compute(true)?;
    Ok(match provider {
        Provider::Cpu => builder,
        Provider::Cuda => {
            builder.with_execution_providers([CUDA::default().build().error_on_failure()])?
        }
    })
}

/// Makes CUDA's libraries known to the loader, once. Fails with the reason when the library was
/// built without CUDA; whether a GPU is there shows when the provider is registered.
fn cuda_in(library: &Path) -> Result<(), String> {
    static PRELOADED: Once = Once::new();
    match CUDA::is_available() {
        Ok(true) => {}
        Ok(false) => return Err(format!("{} was built without CUDA", library.display())),
        Err(error) => return Err(error.to_string()),
    }
    PRELOADED.call_once(|| {
        // They need one another by bare names, which resolve only once loaded: go round until
        // a round loads nothing more.
        let mut waiting: Vec<PathBuf> = side_libraries(library);
        loop {
            let n_before = waiting.len();
            waiting.retain(|path| ort::util::preload_dylib(path).is_err());
            if waiting.is_empty() || waiting.len() == n_before {
                break;
            }
        }
        if !waiting.is_empty() {
            tracing::debug!(?waiting, "libraries beside ONNX Runtime that do not load");
        }
    });
    Ok(())
}

/// Refuses a network whose inputs or outputs are not those of the manifest, in their order.
fn check_outlets(
    path: &Path,
    what: &'static str,
    found: &[Outlet],
    expected: &[TensorFacts],
) -> Result<(), ModelError> {
    let agrees = |(outlet, expected): (&Outlet, &TensorFacts)| {
        let dtype = match expected.dtype {
            ElementType::F32 => TensorElementType::Float32,
            ElementType::F16 => TensorElementType::Float16,
            ElementType::I64 => TensorElementType::Int64,
        };
        outlet.name() == expected.name
            && outlet.dtype().tensor_type() == Some(dtype)
            && outlet.dtype().tensor_shape().is_some_and(|shape| {
                shape.len() == expected.shape.len()
                    // A dimension of -1 is left open, as exporters leave the batch; one that the
                    // manifest leaves open has to be.
                    && shape.iter().zip(&expected.shape).all(|(&a, &b)| a == -1 || a == i64::from(b))
            })
    };
    if found.len() == expected.len() && found.iter().zip(expected).all(agrees) {
        return Ok(());
    }
    let found: Vec<String> =
        found.iter().map(|outlet| format!("`{}` {}", outlet.name(), outlet.dtype())).collect();
    Err(ModelError::Contract {
        path: path.into(),
        what,
        found: if found.is_empty() { "none".into() } else { found.join(" and ") },
        expected: listed(expected),
    })
}

fn metadata(ort: &OrtSession) -> ort::Result<BTreeMap<String, String>> {
    let metadata = ort.metadata()?;
    let keys = metadata.custom_keys()?;
    Ok(keys.into_iter().filter_map(|key| Some((key.clone(), metadata.custom(&key)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures, manifest::Manifest};
    use proptest::prelude::*;

    fn network(name: &str) -> NetworkFacts {
        Manifest::read(&fixtures::model(name)).unwrap().networks.remove(0)
    }

    fn on(device: Device) -> SessionOptions {
        SessionOptions { device, ..SessionOptions::default() }
    }

    #[test]
    fn the_library_says_which_version_it_is() {
        // The message says what to do where `make runtime` was not run.
        let info = load_runtime().unwrap_or_else(|error| panic!("{error}"));
        let minor: u32 = info.version.strip_prefix("1.").unwrap().parse().unwrap();
        assert!(minor >= ort::MINOR_VERSION, "{info}");
        assert_eq!(load_runtime().unwrap(), info);
    }

    #[test]
    fn cuda_is_used_or_refused_and_auto_keeps_the_reason() {
        let network = network("linear-3x4");
        let auto = Session::open(&network, &on(Device::Auto)).unwrap();
        match Session::open(&network, &on(Device::Cuda)) {
            Ok(session) => {
                assert_eq!(session.provider(), Provider::Cuda);
                assert_eq!(auto.provider(), Provider::Cuda);
                assert_eq!(auto.fallback_reason(), None);
            }
            Err(ModelError::NoCuda { reason, .. }) => {
                assert_eq!(auto.provider(), Provider::Cpu);
                assert_eq!(auto.fallback_reason(), Some(reason.as_str()));
            }
            Err(other) => panic!("{other}"),
        }
        let cpu = Session::open(&network, &on(Device::Cpu)).unwrap();
        assert_eq!((cpu.provider(), cpu.fallback_reason()), (Provider::Cpu, None));
    }

    #[test]
    fn a_network_that_is_not_the_manifests_is_refused_with_both_shapes() {
        let error = Session::open(&network("wrong-shape"), &on(Device::Cpu)).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("input is `bold` Tensor<f32>(1, 1, 5)"), "{message}");
        assert!(message.contains("manifest says `bold` f32 [1, 1, 4]"), "{message}");

        let mut renamed = network("linear-3x4");
        renamed.outputs[0].name = "labels".into();
        let message = Session::open(&renamed, &on(Device::Cpu)).unwrap_err().to_string();
        assert!(message.contains("output is `probabilities`"), "{message}");
    }

    #[test]
    fn metadata_of_the_file_can_be_read() {
        let session = Session::open(&network("linear-3x4"), &on(Device::Cpu)).unwrap();
        assert_eq!(session.metadata().get("corticast.family").unwrap(), "linear");
    }

    #[test]
    fn an_input_of_another_length_is_an_error() {
        let mut session = Session::open(&network("linear-3x4"), &on(Device::Cpu)).unwrap();
        let mut run = |n_in: usize, n_out: usize| {
            let zeros = vec![0.0; n_in];
            session.run_into(&[Input::F32(&[1, 1, n_in], &zeros)], &mut vec![0.0; n_out])
        };
        assert!(matches!(run(5, 3), Err(ModelError::Run(_))));
        assert!(matches!(run(4, 2), Err(ModelError::OutputShape { .. })));
        assert!(run(4, 3).is_ok());
        assert!(session.run_into(&[], &mut [0.0; 3]).is_err());
    }

    #[test]
    fn an_empty_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty.onnx");
        std::fs::write(&path, b"").unwrap();
        let error =
            Session::open(&NetworkFacts { path, ..network("linear-3x4") }, &on(Device::Cpu))
                .unwrap_err();
        assert!(error.to_string().contains("empty.onnx"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// No damage to a network makes opening it panic.
        #[test]
        fn a_damaged_network_never_panics(cut in 0_usize..312, at in 0_usize..312, byte: u8) {
            let network = network("linear-3x4");
            let folder = tempfile::tempdir().unwrap();
            let mut bytes = std::fs::read(&network.path).unwrap();
            bytes[at] = byte;
            bytes.truncate(bytes.len() - cut / 2 * usize::from(cut % 2 == 0));
            let path = folder.path().join("damaged.onnx");
            std::fs::write(&path, &bytes).unwrap();
            match Session::open(&NetworkFacts { path, ..network }, &on(Device::Cpu)) {
                Ok(session) => prop_assert_eq!(session.provider(), Provider::Cpu),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
