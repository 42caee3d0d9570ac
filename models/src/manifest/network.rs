//! The networks of a manifest: each with its role, files, inputs and outputs.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{
    error::ManifestError,
    file::{FileName, Hex64},
    read::Document,
    role::Role,
    tensor::{self, TensorFacts},
};

/// One network of a model.
#[derive(Clone, Debug)]
pub struct NetworkFacts {
    /// What the network is for.
    pub role: Role,
    /// Its ONNX file.
    pub path: PathBuf,
    /// SHA-256 of the file, 64 hexadecimal digits in lower case.
    pub sha256: String,
    /// Files beside it that hold weights, which ONNX needs above 2 GB; their SHA-256 matched.
    pub external: Vec<PathBuf>,
    /// Its inputs in order, at least one, with different names.
    pub inputs: Vec<TensorFacts>,
    /// Its outputs in order, at least one, with different names.
    pub outputs: Vec<TensorFacts>,
    /// Names of the classes, all different; empty for a network without classes.
    pub classes: Vec<String>,
}

/// The network of a role.
pub(super) fn find(networks: &[NetworkFacts], role: Role) -> Option<&NetworkFacts> {
    networks.iter().find(|network| network.role == role)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkWritten {
    role: Role,
    file: FileName,
    sha256: Hex64,
    #[serde(default)]
    external: Vec<ExternalWritten>,
    inputs: Vec<TensorFacts>,
    outputs: Vec<TensorFacts>,
    #[serde(default)]
    classes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExternalWritten {
    file: FileName,
    sha256: Hex64,
}

/// Checks every network of a manifest. There must be at least one, each role at most once.
pub(super) fn check_all(
    written: Vec<NetworkWritten>,
    dir: &Path,
    document: &Document,
) -> Result<Vec<NetworkFacts>, ManifestError> {
    if written.is_empty() {
        return Err(document.refuse("network", "found none, expected at least one"));
    }
    let mut networks: Vec<NetworkFacts> = Vec::with_capacity(written.len());
    for network in written {
        let network = network.check(dir, document)?;
        if networks.iter().any(|before| before.role == network.role) {
            let reason = format!("`{}` appears twice", network.role);
            return Err(document.refuse("network.role", reason));
        }
        networks.push(network);
    }
    Ok(networks)
}

impl NetworkWritten {
    fn check(self, dir: &Path, document: &Document) -> Result<NetworkFacts, ManifestError> {
        let refuse = |key: &str, reason: String| {
            document.refuse(&format!("network.{key}"), format!("{reason} (role `{}`)", self.role))
        };
        tensor::check(&self.inputs).map_err(|reason| refuse("inputs", reason))?;
        tensor::check(&self.outputs).map_err(|reason| refuse("outputs", reason))?;
        let mut sorted: Vec<&String> = self.classes.iter().collect();
        sorted.sort();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(refuse("classes", format!("{:?} appears twice", pair[0])));
        }
        if let Some(name) = sorted.iter().find(|name| name.trim().is_empty()) {
            return Err(refuse("classes", format!("{name:?} is not a name")));
        }
        let path = self.file.verified(dir, &self.sha256)?;
        let external = self.external.iter();
        let external = external.map(|external| external.file.verified(dir, &external.sha256));
        Ok(NetworkFacts {
            role: self.role,
            path,
            sha256: self.sha256.0,
            external: external.collect::<Result<_, _>>()?,
            inputs: self.inputs,
            outputs: self.outputs,
            classes: self.classes,
        })
    }
}
