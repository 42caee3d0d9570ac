//! What the models need of a neural network, whatever runs it.
//!
//! A [`Network`] takes tensors and gives tensors; a [`Runtime`] opens networks from their files.
//! The implementation for ONNX files is [`crate::runtime::OnnxRuntime`], the only one that needs
//! ONNX Runtime's library. [`in_memory::InMemoryRuntime`] runs ordinary functions instead, for
//! tests of the code around the networks.
//!
//! Networks are `dyn`, not generic. A virtual call and one small allocation per run cost well
//! under a microsecond, the smallest network takes many; in return no head, decoder or generator
//! carries a type parameter, and one binary can hold both kinds.
//!
//! Inputs are borrowed and outputs are read where the runtime put them, so the only copies are
//! those that the caller makes. An output of `run_and_keep` ([`Kept`]) stays on the
//! device until the next run takes it as input.

mod input;
mod kept;
mod outputs;

pub mod in_memory;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

pub(crate) use self::input::check_count;
pub use self::{
    input::Input,
    kept::{Kept, KeptValue},
    outputs::{Outputs, Values},
};
use crate::{
    error::ModelError,
    manifest::{ElementType, NetworkFacts, Role, TensorFacts},
};
use half::f16;

/// Where a network runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// On the CPU.
    Cpu,
    /// On an NVIDIA GPU.
    Cuda,
}

impl Provider {
    /// Its name, in metrics and recordings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Opens networks.
pub trait Runtime {
    /// Loads a network, compares it with its manifest, and runs it once on zeros with inputs of
    /// these shapes: the first run allocates, and a device that cannot run the network fails
    /// here and not during the scan.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be loaded, when names, types or shapes differ from the
    /// manifest, or when the requested device cannot be used.
    fn open_at(
        &self,
        shapes: &[Vec<usize>],
        network: &NetworkFacts,
    ) -> Result<Box<dyn Network>, ModelError>;

    /// Opens a network whose first run can have every open dimension at 1.
    ///
    /// # Errors
    ///
    /// See [`Runtime::open_at`].
    fn open(&self, network: &NetworkFacts) -> Result<Box<dyn Network>, ModelError> {
        let shapes: Vec<_> = network.inputs.iter().map(|input| input.shape_with(1)).collect();
        self.open_at(&shapes, network)
    }
}

/// A loaded network. Inputs and outputs are in the order of the manifest.
///
/// `&mut self`, because a network is run by one thread at a time.
pub trait Network: fmt::Debug + Send {
    /// Runs the network. The outputs borrow it until they are dropped.
    ///
    /// # Errors
    ///
    /// Fails when the inputs do not have the shapes of the manifest, or when inference fails.
    /// The next run may succeed.
    fn run<'a>(&'a mut self, inputs: &'a [Input<'a>]) -> Result<Outputs<'a>, ModelError>;

    /// Runs the network and keeps all outputs on the device that it runs on, so that large
    /// tensors for the next network do not travel to the host and back.
    ///
    /// # Errors
    ///
    /// See [`Network::run`].
    fn run_and_keep(&mut self, inputs: &[Input<'_>]) -> Result<Vec<Kept>, ModelError>;

    /// Runs a network that has one f32 output of known length.
    ///
    /// # Errors
    ///
    /// See [`Network::run`] and [`Outputs::f32`].
    fn run_into(&mut self, inputs: &[Input<'_>], output: &mut [f32]) -> Result<(), ModelError> {
        let outputs = self.run(inputs)?;
        output.copy_from_slice(outputs.f32(0, output.len())?);
        Ok(())
    }

    /// What the network is for.
    fn role(&self) -> Role;

    /// How often the network ran since it was opened, and how long all runs took together.
    fn runs(&self) -> (u64, Duration);

    /// Where the network runs.
    fn provider(&self) -> Provider {
        Provider::Cpu
    }

    /// Why the network runs on the CPU although a GPU was preferred.
    fn fallback_reason(&self) -> Option<&str> {
        None
    }

    /// Whether the network runs on the CPU although CUDA's libraries are installed.
    fn expected_cuda(&self) -> bool {
        false
    }

    /// A value of the file's metadata.
    fn metadata(&self, _key: &str) -> Option<&str> {
        None
    }
}

/// Runs a network once on zeros and compares the shapes that come out with the manifest. The
/// values are ignored, because zeros are not BOLD.
pub(crate) fn run_on_zeros(
    network: &mut dyn Network,
    inputs: &[TensorFacts],
    shapes: &[Vec<usize>],
) -> Result<(), ModelError> {
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
    network.run(&inputs)?.check_shapes()
}
