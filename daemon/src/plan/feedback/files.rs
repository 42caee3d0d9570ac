//! Files of the feedback.

use std::path::Path;

use corticast_wire::files;
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::plan::error::PlanError;

/// Largest file of the feedback that is read.
const MAX_BYTES: u64 = 256 << 20;

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, PlanError> {
    let wrong = |reason: String| PlanError::Feedback(format!("{}: {reason}", path.display()));
    files::read(path, MAX_BYTES).map_err(|error| wrong(error.to_string()))
}

/// Reads a JSON file.
///
/// # Errors
///
/// Fails when the file cannot be read, or is not of this type.
pub fn json<T: DeserializeOwned>(path: &Path) -> Result<T, PlanError> {
    serde_json::from_slice(&read(path)?)
        .map_err(|error| PlanError::Feedback(format!("{}: {error}", path.display())))
}

/// A tensor of f32 in a safetensors file, flat.
pub(super) fn tensor(path: &Path, name: &str) -> Result<Vec<f32>, PlanError> {
    let wrong = |reason: String| PlanError::Feedback(format!("{}: {reason}", path.display()));
    let bytes = read(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
    let view = file
        .tensor(name)
        .map_err(|_| wrong(format!("no tensor `{name}`, found {:?}", file.names())))?;
    if view.dtype() != Dtype::F32 {
        return Err(wrong(format!("`{name}` is {:?}, expected F32", view.dtype())));
    }
    let (words, _) = view.data().as_chunks::<4>();
    Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
}

/// SHA-256 of bytes, hexadecimal.
pub(in crate::plan) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a file, hexadecimal.
pub(super) fn sha256_of(path: &Path) -> Result<String, PlanError> {
    Ok(sha256(&read(path)?))
}
