//! Opens the model of a session.

use std::path::Path;

use corticast_models::{
    decoder::{Decoder, FamilyDecoder},
    error::ModelError,
    runtime::OnnxRuntime,
};

use crate::config::{Config, model::ModelConfig};

/// Loads the networks of the model in a folder.
///
/// # Errors
///
/// Fails when a file is missing, does not match the manifest, or cannot be loaded.
pub(super) fn open(dir: &Path, config: &Config) -> Result<Decoder, ModelError> {
    let ModelConfig { device, gpu, threads, .. } = config.model;
    let runtime = OnnxRuntime { device, gpu, intra_threads: threads };
    Decoder::open(dir, &config.decoder.options(), &runtime)
}

/// Largest size of the conditions of one result, in bytes; 0 when the model gives none.
pub(super) fn conditions_bytes(decoder: &Decoder) -> usize {
    match decoder.family() {
        FamilyDecoder::Linear(_) => 0,
        FamilyDecoder::Neurons(neurons) => neurons.sizes().max_bytes(),
    }
}
