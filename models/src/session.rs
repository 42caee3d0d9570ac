//! ONNX Runtime: the only file that names the `ort` crate.
//!
//! The library is loaded once a process, from the file that [`crate::runtime`] finds, before
//! anything else of `ort` is touched: its own search panics where it finds nothing.
//!
//! A [`Session`] is one network with one input and one output. It runs on the thread that needs
//! the result, with one intra-op thread that does not spin: the networks here are small, and a
//! pool costs more than it gives and makes sums depend on how they were split.
//!
//! Left to itself ONNX Runtime falls back from CUDA to the CPU without a word. Here CUDA is
//! registered so that failure is an error, the network is run once on it, and the fallback of
//! `device = "auto"` is ours: it is logged and its reason is kept.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Mutex, Once, PoisonError},
};

use ort::{
    environment::Environment,
    ep::{CUDA, ExecutionProvider},
    logging::LogLevel,
    session::{Session as OrtSession, builder::SessionBuilder},
    value::{Outlet, TensorElementType, TensorRef},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::ModelError,
    manifest::{NetworkFacts, TensorFacts},
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

/// A network that takes one f32 tensor and gives one.
pub struct Session {
    ort: OrtSession,
    input: TensorFacts,
    output: TensorFacts,
    provider: Provider,
    fallback_reason: Option<String>,
    metadata: BTreeMap<String, String>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("input", &self.input)
            .field("output", &self.output)
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
        let (environment, runtime) = environment()?;
        if options.device == Device::Cpu {
            return Self::open_on(Provider::Cpu, &environment, network, options);
        }
        let built_with_cuda = cuda_in(&runtime.path);
        let reason = match &built_with_cuda {
            Ok(()) => match Self::open_on(Provider::Cuda, &environment, network, options) {
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
        let mut session = Self::open_on(Provider::Cpu, &environment, network, options)?;
        // Whoever installed CUDA's libraries expects them to be used.
        if built_with_cuda.is_ok() {
            tracing::warn!(reason, "CUDA cannot be used, running on the CPU");
        } else {
            tracing::info!(reason, "running on the CPU");
        }
        session.fallback_reason = Some(reason);
        Ok(session)
    }

    fn open_on(
        provider: Provider,
        environment: &Environment,
        network: &NetworkFacts,
        options: &SessionOptions,
    ) -> Result<Self, ModelError> {
        let path = &network.path;
        let load = |reason: String| ModelError::Load { path: path.clone(), reason };
        let ort = builder(provider, environment, options)
            .and_then(|mut builder| builder.commit_from_file(path))
            .map_err(|error| load(error.to_string()))?;
        check_outlets(path, "input", ort.inputs(), &network.input)?;
        check_outlets(path, "output", ort.outputs(), &network.output)?;
        let metadata = metadata(&ort).map_err(|error| load(error.to_string()))?;
        let (input, output) = (network.input.clone(), network.output.clone());
        let mut session = Self { ort, input, output, provider, fallback_reason: None, metadata };

        let n_in = session.input.shape.iter().product();
        let mut out = vec![0.0; session.output.shape.iter().product()];
        // Not checked to be finite: zeros are no BOLD.
        session.run_unchecked(&vec![0.0; n_in], &mut out)?;
        Ok(session)
    }

    /// Runs the network: `input` and `output` in the shapes of the manifest, slowest axis first.
    ///
    /// # Errors
    ///
    /// Fails when the lengths are not those of the manifest, when inference fails, or when the
    /// output holds NaN or infinity. The next run may succeed.
    pub fn run(&mut self, input: &[f32], output: &mut [f32]) -> Result<(), ModelError> {
        self.run_unchecked(input, output)?;
        if let Some((position, &found)) =
            output.iter().enumerate().find(|(_, value)| !value.is_finite())
        {
            let n_not_finite_in = input.iter().filter(|value| !value.is_finite()).count();
            let name = self.output.name.clone();
            return Err(ModelError::NotFinite { name, position, found, n_not_finite_in });
        }
        Ok(())
    }

    fn run_unchecked(&mut self, input: &[f32], output: &mut [f32]) -> Result<(), ModelError> {
        let run = |error: ort::Error| ModelError::Run(error.to_string());
        let tensor =
            TensorRef::from_array_view((self.input.shape.as_slice(), input)).map_err(run)?;
        let outputs = self.ort.run(ort::inputs![tensor]).map_err(run)?;
        let (shape, values) = outputs[0].try_extract_tensor::<f32>().map_err(run)?;
        // An axis that the ONNX file leaves open is known only now.
        let is_expected = shape.len() == self.output.shape.len()
            && shape.iter().zip(&self.output.shape).all(|(&found, &n)| found == n as i64);
        if !is_expected || values.len() != output.len() {
            return Err(ModelError::OutputShape {
                name: self.output.name.clone(),
                found: shape.to_vec(),
                expected: self.output.shape.clone(),
            });
        }
        output.copy_from_slice(values);
        Ok(())
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

/// Refuses a network whose inputs or outputs are not the one tensor of the manifest.
fn check_outlets(
    path: &Path,
    what: &'static str,
    found: &[Outlet],
    expected: &TensorFacts,
) -> Result<(), ModelError> {
    let agrees = |outlet: &Outlet| {
        outlet.name() == expected.name
            && outlet.dtype().tensor_type() == Some(TensorElementType::Float32)
            && outlet.dtype().tensor_shape().is_some_and(|shape| {
                shape.len() == expected.shape.len()
                    // An axis of -1 is left open, as exporters leave the batch.
                    && shape.iter().zip(&expected.shape).all(|(&a, &b)| a == -1 || a == b as i64)
            })
    };
    if let [outlet] = found
        && agrees(outlet)
    {
        return Ok(());
    }
    let found: Vec<String> =
        found.iter().map(|outlet| format!("`{}` {}", outlet.name(), outlet.dtype())).collect();
    let axes: Vec<String> = expected.shape.iter().map(usize::to_string).collect();
    Err(ModelError::Contract {
        path: path.into(),
        what,
        found: if found.is_empty() { "none".into() } else { found.join(" and ") },
        expected: format!("`{}` Tensor<f32>({})", expected.name, axes.join(", ")),
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
        assert!(message.contains("manifest says `bold` Tensor<f32>(1, 1, 4)"), "{message}");

        let mut renamed = network("linear-3x4");
        renamed.output.name = "labels".into();
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
        assert!(matches!(session.run(&[0.0; 5], &mut [0.0; 3]), Err(ModelError::Run(_))));
        assert!(session.run(&[0.0; 4], &mut [0.0; 2]).is_err());
        assert!(session.run(&[0.0; 4], &mut [0.0; 3]).is_ok());
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
