//! Tensors that networks take and give: name, type, shape.

use std::fmt;

use corticast_bold::space::MAX_VOLUME_VOXELS;
use serde::{Deserialize, Serialize};

/// Most inputs, or outputs, of a network.
const MAX_TENSORS: usize = 16;
/// Most dimensions of a tensor.
const MAX_DIMS: usize = 8;

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
    /// A fixed length, at least 1.
    Fixed(usize),
    /// Known only when the network runs; written as -1.
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
    /// Its dimensions, slowest axis first.
    pub shape: Vec<Dim>,
    /// Type of its values.
    #[serde(default)]
    pub dtype: ElementType,
}

impl TensorFacts {
    /// An f32 tensor, as a family requires it.
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

    /// Whether a tensor of this shape fits.
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

/// Lists tensors in a message.
#[must_use]
pub fn listed(tensors: &[TensorFacts]) -> String {
    tensors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// Checks all inputs, or all outputs, of a network. Fails with the reason.
pub(super) fn check(tensors: &[TensorFacts]) -> Result<(), String> {
    if !(1..=MAX_TENSORS).contains(&tensors.len()) {
        return Err(format!("found {} tensors, expected 1 to {MAX_TENSORS}", tensors.len()));
    }
    for (at, tensor) in tensors.iter().enumerate() {
        if tensors[..at].iter().any(|before| before.name == tensor.name) {
            return Err(format!("`{}` appears twice", tensor.name));
        }
        // Open dimensions count as 1, as in the first run of the network.
        let n = tensor.shape_with(1).iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim));
        if tensor.shape.len() > MAX_DIMS || !n.is_some_and(|n| (1..=MAX_VOLUME_VOXELS).contains(&n))
        {
            return Err(format!(
                "{tensor} is too large, expected at most {MAX_DIMS} dimensions and \
                 {MAX_VOLUME_VOXELS} values"
            ));
        }
    }
    Ok(())
}
