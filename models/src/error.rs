//! Why a model cannot be opened, or cannot decode one window.

use std::path::PathBuf;

use crate::{decoupler::Head, generator::Mode, manifest::ManifestError, runtime::RuntimeError};

/// Why a model cannot be opened or run. [`ModelError::costs_one_window`] tells the two apart.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The manifest, or a file it names, is not what it should be.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// ONNX Runtime's library cannot be used.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// ONNX Runtime does not take the network.
    #[error("{path}: ONNX Runtime cannot load this network: {reason}")]
    Load {
        /// Which file.
        path: PathBuf,
        /// What ONNX Runtime said.
        reason: String,
    },
    /// The network is not the one that the manifest describes.
    #[error("{path}: the network's {what} is {found}, its manifest says {expected}")]
    Contract {
        /// Which file.
        path: PathBuf,
        /// Which side of the network.
        what: &'static str,
        /// What the ONNX file declares.
        found: String,
        /// What the manifest declares.
        expected: String,
    },
    /// The manifest describes something that its family is not.
    #[error("{path}: `{key}` is {found}, a `{family}` model has {expected}")]
    Family {
        /// The manifest.
        path: PathBuf,
        /// Which family.
        family: &'static str,
        /// Which key.
        key: &'static str,
        /// What the manifest says.
        found: String,
        /// What the family asks for.
        expected: String,
    },
    /// More steps than the prior knows, or none.
    #[error(
        "`prior_steps` is {found}, expected 1 to the {trained} that the prior was trained with"
    )]
    PriorSteps {
        /// What was asked for.
        found: usize,
        /// Steps it was trained with.
        trained: usize,
    },
    /// More steps of a clip than there are timesteps, or none.
    #[error("a clip in {found} steps cannot be, expected 1 to {most}")]
    ClipSteps {
        /// What was asked for.
        found: usize,
        /// Most steps that there are.
        most: usize,
    },
    /// The networks of a step were made with guidance, or without.
    #[error(
        "the networks of a step were exported {}: choose other `graphs`, or {}",
        if *is_guided { "without guidance, and it is asked for" } else { "with guidance only" },
        if *is_guided { "mode `live`" } else { "mode `reference`" }
    )]
    Guidance {
        /// Whether it is asked for.
        is_guided: bool,
    },
    /// Clips are asked for without networks that make them.
    #[error("mode `{mode}` needs a set of video networks: set `dir` in [generator]")]
    NoSet {
        /// The mode.
        mode: Mode,
    },
    /// What should be a share is not.
    #[error("`{name}` is {found}, expected 0 to 1")]
    NotAShare {
        /// Which.
        name: &'static str,
        /// What it is.
        found: f64,
    },
    /// A generator is given something of another size.
    #[error("{name} came with {found} values, the generator takes {expected}")]
    ClipInput {
        /// What.
        name: &'static str,
        /// Values it has.
        found: usize,
        /// Values it should have.
        expected: usize,
    },
    /// A clip is made of what a head gives, which is switched off or gave nothing.
    #[error("a clip is made of what the head `{head}` gives, and that is not there")]
    ClipNeeds {
        /// Which head.
        head: Head,
    },
    /// A head is asked for that the model does not have.
    #[error("the head `{head}` is asked for, the model has {}", names(available))]
    NoHead {
        /// Which.
        head: Head,
        /// Those that it has.
        available: Vec<Head>,
    },
    /// A head rests on another one, which is switched off or gave nothing.
    #[error("the head `{head}` takes what `{needs}` finds, and that is not there")]
    HeadNeeds {
        /// Which.
        head: Head,
        /// What it rests on.
        needs: Head,
    },
    /// `device = "cuda"` and there is no CUDA.
    #[error(
        "{path}: `cuda` was asked for and cannot be used: {reason}; `auto` would run on the CPU"
    )]
    NoCuda {
        /// Which network.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The window has another shape than the model takes.
    #[error("the window is {found:?} (volumes, voxels), the model takes {expected:?}")]
    Window {
        /// Volumes and voxels of the window.
        found: [usize; 2],
        /// Volumes and voxels the model takes.
        expected: [usize; 2],
    },
    /// Inference failed.
    #[error("inference failed: {0}")]
    Run(String),
    /// The network's output has another shape than it declares.
    #[error("output `{name}` came out as {found:?}, expected {expected}")]
    OutputShape {
        /// Which output.
        name: String,
        /// Its shape this time.
        found: Vec<i64>,
        /// What the manifest says.
        expected: String,
    },
    /// The network gave NaN or infinity.
    #[error(
        "output `{name}` holds {found} at position {position}, expected finite numbers; \
         {n_not_finite_in} of the window's values are not finite"
    )]
    NotFinite {
        /// Which output.
        name: String,
        /// Where.
        position: usize,
        /// NaN or an infinity.
        found: f32,
        /// How many values of the input were already not finite.
        n_not_finite_in: usize,
    },
    /// What should be a probability is not.
    #[error("the probability of {name:?} is 0 to 1, found {found}")]
    NotAProbability {
        /// Of which class.
        name: String,
        /// What it is.
        found: f32,
    },
    /// Whoever looked on ended it.
    #[error("decoding was cancelled")]
    Cancelled,
    /// What should be probabilities is not.
    #[error("probabilities are 0 to 1 and sum to 1, found a sum of {sum} and a lowest of {lowest}")]
    NotProbabilities {
        /// Their sum.
        sum: f32,
        /// The lowest.
        lowest: f32,
    },
}

impl ModelError {
    /// Whether the error costs only the window it came with: the next may succeed. Otherwise
    /// the model does not open.
    #[must_use]
    pub fn costs_one_window(&self) -> bool {
        match self {
            Self::Manifest(_)
            | Self::Runtime(_)
            | Self::Load { .. }
            | Self::Contract { .. }
            | Self::Family { .. }
            | Self::PriorSteps { .. }
            | Self::ClipSteps { .. }
            | Self::Guidance { .. }
            | Self::NoSet { .. }
            | Self::NotAShare { .. }
            | Self::NoHead { .. }
            | Self::NoCuda { .. } => false,
            Self::Window { .. }
            | Self::ClipInput { .. }
            | Self::ClipNeeds { .. }
            | Self::Run(_)
            | Self::OutputShape { .. }
            | Self::NotFinite { .. }
            | Self::HeadNeeds { .. }
            | Self::NotAProbability { .. }
            | Self::Cancelled
            | Self::NotProbabilities { .. } => true,
        }
    }
}

fn names(heads: &[Head]) -> String {
    let names: Vec<&str> = heads.iter().map(|head| head.name()).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
