//! Why a model cannot be opened, or cannot decode one window.

use std::path::PathBuf;

use crate::{
    decoupler::Head, generator::Mode, manifest::error::ManifestError,
    runtime::library::RuntimeError,
};

/// Why a model cannot be opened or run. [`ModelError::costs_one_window`] tells the two apart.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The manifest, or a file it names, is invalid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// ONNX Runtime's library cannot be used.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// ONNX Runtime rejects the network.
    #[error("{path}: ONNX Runtime cannot load this network: {reason}")]
    Load {
        /// The network's file.
        path: PathBuf,
        /// ONNX Runtime's message.
        reason: String,
    },
    /// The network is not the one that the manifest describes.
    #[error("{path}: the network's {what} is {found}, its manifest says {expected}")]
    Contract {
        /// The network's file.
        path: PathBuf,
        /// `input` or `output`.
        what: &'static str,
        /// The tensors that the ONNX file declares.
        found: String,
        /// The tensors that the manifest declares.
        expected: String,
    },
    /// The manifest does not fit its family.
    #[error("{path}: `{key}` is {found}; family `{family}` needs {expected}")]
    Family {
        /// The manifest.
        path: PathBuf,
        /// The family.
        family: &'static str,
        /// The key that does not fit.
        key: &'static str,
        /// Its value.
        found: String,
        /// What the family requires.
        expected: String,
    },
    /// The number of prior steps is 0 or larger than in training.
    #[error("`prior_steps` must be 1 to {trained} (steps in training), got {found}")]
    PriorSteps {
        /// Steps in the configuration.
        found: usize,
        /// Steps the prior was trained with.
        trained: usize,
    },
    /// The number of steps of a clip is 0 or larger than the number of timesteps.
    #[error("`steps` must be 1 to {most}, got {found}")]
    ClipSteps {
        /// Steps in the configuration.
        found: usize,
        /// The largest number of steps.
        most: usize,
    },
    /// The networks of a step were exported for the other kind of guidance.
    #[error(
        "the networks of a step were exported {}: choose other `graphs`, or {}",
        if *is_guided { "without guidance, which this mode needs" } else { "with guidance only" },
        if *is_guided { "mode `live`" } else { "mode `reference`" }
    )]
    Guidance {
        /// Whether the clip needs guidance.
        is_guided: bool,
    },
    /// The mode needs networks that make clips, and none are configured.
    #[error("mode `{mode}` needs a set of video networks: set `dir` in [generator]")]
    NoSet {
        /// The mode.
        mode: Mode,
    },
    /// A share is not between 0 and 1.
    #[error("`{name}` must be 0 to 1, got {found}")]
    NotAShare {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        found: f64,
    },
    /// An input of the generator has the wrong size.
    #[error("{name} came with {found} values, the generator takes {expected}")]
    ClipInput {
        /// The input.
        name: &'static str,
        /// Number of values found.
        found: usize,
        /// Number of values expected.
        expected: usize,
    },
    /// A clip needs the output of a head that is switched off or failed.
    #[error("a clip needs the head `{head}`, which is switched off or failed")]
    ClipNeeds {
        /// The head.
        head: Head,
    },
    /// The configuration names a head that the model does not have.
    #[error("the configuration asks for the head `{head}`, the model has {}", names(available))]
    NoHead {
        /// The head.
        head: Head,
        /// The heads that the model has.
        available: Vec<Head>,
    },
    /// A head needs another head that is switched off or failed.
    #[error("the head `{head}` needs the head `{needs}`, which is switched off or failed")]
    HeadNeeds {
        /// The head.
        head: Head,
        /// The head that it needs.
        needs: Head,
    },
    /// `device = "cuda"`, and CUDA cannot be used.
    #[error("{path}: `cuda` cannot be used: {reason}; `auto` would run on the CPU")]
    NoCuda {
        /// The network's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The window does not have the shape that the model takes.
    #[error("the window is {found:?} (volumes, voxels), the model takes {expected:?}")]
    Window {
        /// Volumes and voxels of the window.
        found: [usize; 2],
        /// Volumes and voxels that the model takes.
        expected: [usize; 2],
    },
    /// Inference failed.
    #[error("inference failed: {0}")]
    Run(String),
    /// The network's output does not have the shape in the manifest.
    #[error("output `{name}` came out as {found:?}, expected {expected}")]
    OutputShape {
        /// Name of the output.
        name: String,
        /// Its shape in this run.
        found: Vec<i64>,
        /// The shape in the manifest.
        expected: String,
    },
    /// The network gave NaN or infinity.
    #[error(
        "output `{name}` holds {found} at position {position}, expected finite numbers; \
         {n_not_finite_in} of the input values are not finite"
    )]
    NotFinite {
        /// Name of the output.
        name: String,
        /// Position of the first value that is not finite.
        position: usize,
        /// That value.
        found: f32,
        /// How many input values were already NaN or infinite.
        n_not_finite_in: usize,
    },
    /// A probability is not between 0 and 1.
    #[error("the probability of {name:?} must be 0 to 1, got {found}")]
    NotAProbability {
        /// Name of the class.
        name: String,
        /// Its value.
        found: f32,
    },
    /// The caller cancelled the window or the clip.
    #[error("cancelled by the caller")]
    Cancelled,
    /// Probabilities are negative or do not sum to 1.
    #[error(
        "probabilities must be 0 to 1 and sum to 1, got a sum of {sum} and a lowest of {lowest}"
    )]
    NotProbabilities {
        /// Their sum.
        sum: f32,
        /// The lowest of them.
        lowest: f32,
    },
}

impl ModelError {
    /// Whether the error costs only one window, so that the next may succeed. Otherwise the
    /// model cannot be opened.
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
