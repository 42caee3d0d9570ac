//! ONNX Runtime. This folder is the only place that names the `ort` crate.
//!
//! ```text
//! library ──► environment ──► provider ──► network ──► tensors
//! find it     load it once    CPU or GPU   one file    in and out
//! ```
//!
//! Left to itself ONNX Runtime falls back from CUDA to the CPU silently. Here a CUDA failure is
//! an error, every network is run once on the GPU when it is opened, and the fallback of
//! `device = "auto"` is our own: its reason is kept and logged when the model is opened.

pub mod environment;
pub mod library;
mod network;
pub mod provider;
mod tensors;

use std::num::NonZeroUsize;

use self::{
    environment::environment,
    network::OnnxNetwork,
    provider::{Device, check_cuda},
};
use crate::{
    error::ModelError,
    manifest::NetworkFacts,
    network::{Network, Provider, Runtime},
};

/// Opens ONNX files. See the module docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnnxRuntime {
    /// Where networks run.
    pub device: Device,
    /// Number of the GPU, from 0.
    pub gpu: u8,
    /// Threads that share one operation on the CPU.
    pub intra_threads: NonZeroUsize,
}

impl Default for OnnxRuntime {
    fn default() -> Self {
        Self { device: Device::default(), gpu: 0, intra_threads: NonZeroUsize::MIN }
    }
}

impl OnnxRuntime {
    /// On the CPU, with one thread.
    #[must_use]
    pub fn on_cpu() -> Self {
        Self { device: Device::Cpu, ..Self::default() }
    }

    fn open_on(
        &self,
        provider: Provider,
        shapes: &[Vec<usize>],
        network: &NetworkFacts,
    ) -> Result<OnnxNetwork, ModelError> {
        let (environment, _) = environment()?;
        let builder = provider::builder(provider, self.gpu, &environment, self.intra_threads);
        OnnxNetwork::open(builder, (provider, self.gpu), shapes, network)
    }
}

impl Runtime for OnnxRuntime {
    fn open_at(
        &self,
        shapes: &[Vec<usize>],
        network: &NetworkFacts,
    ) -> Result<Box<dyn Network>, ModelError> {
        let (_, library) = environment()?;
        if self.device == Device::Cpu {
            return Ok(Box::new(self.open_on(Provider::Cpu, shapes, network)?));
        }
        let built_with_cuda = check_cuda(&library.path);
        let reason = match &built_with_cuda {
            Ok(()) => match self.open_on(Provider::Cuda, shapes, network) {
                Ok(network) => return Ok(Box::new(network)),
                // On another device it would still be the wrong network.
                Err(error @ ModelError::Contract { .. }) => return Err(error),
                Err(ModelError::Load { reason, .. }) => reason,
                Err(error) => error.to_string(),
            },
            Err(reason) => reason.clone(),
        };
        if self.device == Device::Cuda {
            return Err(ModelError::NoCuda { path: network.path.clone(), reason });
        }
        let on_cpu = self.open_on(Provider::Cpu, shapes, network)?;
        Ok(Box::new(on_cpu.instead_of_cuda(reason, built_with_cuda.is_ok())))
    }
}

#[cfg(test)]
mod tests;
