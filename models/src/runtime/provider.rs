//! CPU or GPU: how networks are set up for each.
//!
//! A network runs on the thread that needs its result, with one intra-op thread that does not
//! spin: the networks are small, and a thread pool would cost more than it saves and make sums
//! depend on how they were split.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Once,
};

use ort::{
    environment::Environment,
    ep::{CUDA, ExecutionProvider},
    session::{Session, builder::SessionBuilder},
};
use serde::{Deserialize, Serialize};

use super::library::side_libraries;
use crate::network::Provider;

/// Where a network should run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// On the CPU.
    Cpu,
    /// On an NVIDIA GPU; fail if that does not work.
    Cuda,
    /// On an NVIDIA GPU if that works, otherwise on the CPU.
    #[default]
    Auto,
}

/// Settings of a network on a provider. Fails when the provider cannot be registered.
pub(super) fn builder(
    provider: Provider,
    gpu: u8,
    environment: &Environment,
    intra_threads: NonZeroUsize,
) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(environment)?
        .with_intra_threads(intra_threads.get())?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_deterministic_compute(true)?;
    Ok(match provider {
        Provider::Cpu => builder,
        Provider::Cuda => {
            let cuda = CUDA::default().with_device_id(gpu.into());
            builder.with_execution_providers([cuda.build().error_on_failure()])?
        }
    })
}

/// Loads CUDA's libraries, once. Fails with the reason when ONNX Runtime was built without CUDA;
/// a missing GPU shows only when the provider is registered.
pub(super) fn check_cuda(library: &Path) -> Result<(), String> {
    static PRELOADED: Once = Once::new();
    match CUDA::is_available() {
        Ok(true) => {}
        Ok(false) => return Err(format!("{} was built without CUDA", library.display())),
        Err(error) => return Err(error.to_string()),
    }
    PRELOADED.call_once(|| {
        // They need one another by bare file names, which resolve only once loaded: repeat until
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
