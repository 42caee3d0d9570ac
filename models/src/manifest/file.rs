//! Files that a manifest names, each with its SHA-256.

use std::{
    io::Read,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::ManifestError;
use crate::regular;

/// 64 hexadecimal digits in lower case.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Hex64(pub(super) String);

impl TryFrom<String> for Hex64 {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(format!("expected 64 hexadecimal digits, found {text:?}"))
        }
    }
}

/// A file in the manifest's folder or below: a manifest from elsewhere must not make the daemon
/// read other files.
#[derive(Deserialize)]
#[serde(try_from = "PathBuf")]
pub(super) struct FileName(PathBuf);

impl TryFrom<PathBuf> for FileName {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        if inside && path.file_name().is_some() {
            Ok(Self(path))
        } else {
            Err(format!("expected the name of a file inside the model's folder, found {path:?}"))
        }
    }
}

impl FileName {
    /// The file in `dir`, after comparing its SHA-256. Large files are not held in memory.
    pub(super) fn verified(&self, dir: &Path, expected: &Hex64) -> Result<PathBuf, ManifestError> {
        let path = dir.join(&self.0);
        let io = |source| ManifestError::Io { path: path.clone(), source };
        let mut file = regular::open(&path).map_err(io)?;
        let mut hasher = Sha256::new();
        let mut chunk = vec![0; 1 << 16];
        loop {
            let n = file.read(&mut chunk).map_err(io)?;
            if n == 0 {
                break;
            }
            hasher.update(&chunk[..n]);
        }
        let found = hex(hasher);
        if found != expected.0 {
            return Err(ManifestError::Hash { path, found, expected: expected.0.clone() });
        }
        Ok(path)
    }
}

/// A finished hash, in lower case.
pub(super) fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
