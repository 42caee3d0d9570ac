//! The networks of a model: what each is for, its files, and the tensors it takes and gives.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use corticast_bold::space::MAX_VOLUME_VOXELS;
use serde::{Deserialize, Serialize};

use super::{
    ManifestError,
    written::{FileName, Hex64, verify},
};

/// Most inputs, or outputs, of a network.
const MAX_TENSORS: usize = 16;
/// Most dimensions of a tensor.
const MAX_DIMS: usize = 8;

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Linear family: from a window to class probabilities.
    Decoder,
    /// From a window to the brain's image tokens.
    Brain,
    /// One step of the diffusion prior: from noisy tokens to the tokens without their noise.
    Prior,
    /// From sampled tokens to the tokens of each frame, and a text embedding.
    Motion,
    /// From the tokens of all frames to the probability of each class.
    Concepts,
    /// From the tokens of all frames and a class name's text to that object's masks.
    Objects,
    /// From the tokens of all frames and a text embedding to the latents of each frame.
    Reconstruction,
    /// From a text embedding to the captioner's first input.
    CaptionPrefix,
    /// From token ids to the captioner's inputs.
    CaptionEmbed,
    /// One step of the captioner, with its keys and values.
    CaptionDecoder,
    /// From latents to pictures.
    VaeDecoder,
    /// From pictures to the distribution of their latents.
    VaeEncoder,
    /// As `vae_decoder`, smaller and coarser.
    TaesdDecoder,
    /// As `vae_encoder`, smaller and coarser.
    TaesdEncoder,
    /// From image tokens and noise to the picture that a clip begins with.
    Keyframe,
    /// From the ids of a prompt to its text states.
    TextEncoder,
    /// From a key frame to what is added inside `unet`.
    #[serde(rename = "controlnet")]
    ControlNet,
    /// From noisy latents to their noise.
    Unet,
    /// As `unet`, trained for few steps.
    UnetLcm,
    /// As `unet`, without a key frame.
    UnetPlain,
    /// From noisy latents to their noise, with key frame and guidance in one.
    DenoiseStep,
    /// As `denoise_step`, without guidance.
    DenoiseStepPlain,
}

impl Role {
    /// As it is written in a manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::Brain => "brain",
            Self::Prior => "prior",
            Self::Motion => "motion",
            Self::Concepts => "concepts",
            Self::Objects => "objects",
            Self::Reconstruction => "reconstruction",
            Self::CaptionPrefix => "caption_prefix",
            Self::CaptionEmbed => "caption_embed",
            Self::CaptionDecoder => "caption_decoder",
            Self::VaeDecoder => "vae_decoder",
            Self::VaeEncoder => "vae_encoder",
            Self::TaesdDecoder => "taesd_decoder",
            Self::TaesdEncoder => "taesd_encoder",
            Self::Keyframe => "keyframe",
            Self::TextEncoder => "text_encoder",
            Self::ControlNet => "controlnet",
            Self::Unet => "unet",
            Self::UnetLcm => "unet_lcm",
            Self::UnetPlain => "unet_plain",
            Self::DenoiseStep => "denoise_step",
            Self::DenoiseStepPlain => "denoise_step_plain",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One network of a model.
#[derive(Clone, Debug)]
pub struct NetworkFacts {
    /// What the network is for.
    pub role: Role,
    /// Its ONNX file.
    pub path: PathBuf,
    /// SHA-256 of the file, 64 hexadecimal digits in lower case.
    pub sha256: String,
    /// Files beside it that hold weights, as ONNX does from 2 GB on; their SHA-256 was compared.
    pub external: Vec<PathBuf>,
    /// What it takes, in order. At least one; no name comes twice.
    pub inputs: Vec<TensorFacts>,
    /// What it gives, in order. At least one; no name comes twice.
    pub outputs: Vec<TensorFacts>,
    /// Names of the classes, for a network that has classes. No name comes twice.
    pub classes: Vec<String>,
}

/// Type of a tensor's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// 32-bit floating point.
    #[default]
    F32,
    /// 16-bit floating point.
    F16,
    /// 64-bit signed integers.
    I64,
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I64 => "i64",
        })
    }
}

/// Length of one dimension of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub enum Dim {
    /// Always this, at least 1.
    Fixed(usize),
    /// Known when the network is run; written as -1.
    Open,
}

impl TryFrom<i64> for Dim {
    type Error = String;

    fn try_from(written: i64) -> Result<Self, String> {
        match written {
            -1 => Ok(Self::Open),
            1.. => usize::try_from(written).map(Self::Fixed).map_err(|error| error.to_string()),
            _ => {
                Err(format!("a dimension is {written}, expected 1 or more, or -1 for an open one"))
            }
        }
    }
}

impl From<Dim> for i64 {
    fn from(dim: Dim) -> Self {
        match dim {
            Dim::Fixed(n) => Self::try_from(n).unwrap_or(Self::MAX),
            Dim::Open => -1,
        }
    }
}

impl PartialEq<usize> for Dim {
    fn eq(&self, n: &usize) -> bool {
        *self == Self::Fixed(*n)
    }
}

/// Name, type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorFacts {
    /// Its name in the ONNX file.
    pub name: String,
    /// Its dimensions, slowest first.
    pub shape: Vec<Dim>,
    /// Type of its values.
    #[serde(default)]
    pub dtype: ElementType,
}

impl TensorFacts {
    /// An f32 tensor; for what a family asks for.
    #[must_use]
    pub fn f32(name: &str, shape: &[Dim]) -> Self {
        Self { name: name.into(), shape: shape.into(), dtype: ElementType::F32 }
    }

    /// The shape with every open dimension set to `n`.
    #[must_use]
    pub fn shape_with(&self, n: usize) -> Vec<usize> {
        let length = |dim: &Dim| match *dim {
            Dim::Fixed(n) => n,
            Dim::Open => n,
        };
        self.shape.iter().map(length).collect()
    }

    /// Whether a tensor of this shape is one of these.
    #[must_use]
    pub fn takes(&self, shape: &[i64]) -> bool {
        shape.len() == self.shape.len()
            && shape.iter().zip(&self.shape).all(|(&found, &dim)| match dim {
                Dim::Fixed(n) => usize::try_from(found) == Ok(n),
                Dim::Open => found >= 0,
            })
    }
}

impl fmt::Display for TensorFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.shape.iter().map(|&dim| i64::from(dim).to_string()).collect();
        write!(f, "`{}` {} [{}]", self.name, self.dtype, dims.join(", "))
    }
}

/// Several tensors, for messages.
#[must_use]
pub fn listed(tensors: &[TensorFacts]) -> String {
    tensors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
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

/// Checks every network of a manifest: there is one, and no role comes twice.
pub(super) fn check_all(
    written: Vec<NetworkWritten>,
    dir: &Path,
    value: &impl Fn(&str, String) -> ManifestError,
) -> Result<Vec<NetworkFacts>, ManifestError> {
    if written.is_empty() {
        return Err(value("network", "found none, expected at least one".into()));
    }
    let mut networks: Vec<NetworkFacts> = Vec::with_capacity(written.len());
    for network in written {
        let network = network.check(dir, value)?;
        if networks.iter().any(|before| before.role == network.role) {
            return Err(value("network.role", format!("`{}` comes twice", network.role)));
        }
        networks.push(network);
    }
    Ok(networks)
}

impl NetworkWritten {
    fn check(
        self,
        dir: &Path,
        value: &impl Fn(&str, String) -> ManifestError,
    ) -> Result<NetworkFacts, ManifestError> {
        let refuse = |key: &str, reason: String| {
            value(&format!("network.{key}"), format!("{reason} (role `{}`)", self.role))
        };
        check_tensors(&self.inputs).map_err(|reason| refuse("inputs", reason))?;
        check_tensors(&self.outputs).map_err(|reason| refuse("outputs", reason))?;
        let mut sorted: Vec<&String> = self.classes.iter().collect();
        sorted.sort();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(refuse("classes", format!("{:?} comes twice", pair[0])));
        }
        if let Some(name) = sorted.iter().find(|name| name.trim().is_empty()) {
            return Err(refuse("classes", format!("{name:?} is no name")));
        }
        let path = dir.join(self.file.0);
        verify(&path, &self.sha256)?;
        let external = self.external.into_iter().map(|external| {
            let path = dir.join(external.file.0);
            verify(&path, &external.sha256).map(|()| path)
        });
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

fn check_tensors(tensors: &[TensorFacts]) -> Result<(), String> {
    if !(1..=MAX_TENSORS).contains(&tensors.len()) {
        return Err(format!("found {} tensors, expected 1 to {MAX_TENSORS}", tensors.len()));
    }
    for (at, tensor) in tensors.iter().enumerate() {
        if tensors[..at].iter().any(|before| before.name == tensor.name) {
            return Err(format!("`{}` comes twice", tensor.name));
        }
        // With open dimensions at 1, as they are when the network is first run.
        let n = tensor.shape_with(1).iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim));
        if tensor.shape.len() > MAX_DIMS || !n.is_some_and(|n| (1..=MAX_VOLUME_VOXELS).contains(&n))
        {
            return Err(format!(
                "{tensor} cannot be, expected at most {MAX_DIMS} dimensions and \
                 {MAX_VOLUME_VOXELS} values"
            ));
        }
    }
    Ok(())
}
