//! What a manifest says, as types that cannot hold a wrong value.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
};

use corticast_bold::{
    normalise::{FrozenMean, Mode, Statistics},
    settings::StageSettings,
    space::VoxelSpace,
    time::{RepetitionTime, TrIndex},
    volume::{MadeFrom, ShiftInterpolation, Window},
};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::{
    evidence::EvidenceFacts,
    network::{NetworkFacts, find},
    neurons::NeuronsFacts,
    role::Role,
};

/// Name of the manifest in a model's folder.
pub const FILE_NAME: &str = "manifest.toml";

/// A model's manifest, read and checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The model's folder.
    pub dir: PathBuf,
    /// What kind of model.
    pub family: Family,
    /// The model's name, in metrics and recordings.
    pub name: String,
    /// Label of the subject it was trained on, without `sub-`.
    pub subject: String,
    /// The mask it was trained on.
    pub mask: MaskFacts,
    /// Timing of the signal.
    pub signal: SignalFacts,
    /// Normalisation of the signal.
    pub normalise: NormaliseFacts,
    /// The stages that may be left out and were on.
    pub stages: StageSettings,
    /// The networks, at least one; each role at most once. The SHA-256 of every file matched.
    pub networks: Vec<NetworkFacts>,
    /// How a linear decoder adds up evidence; `None`: each window is decoded on its own.
    pub evidence: Option<EvidenceFacts>,
    /// Sizes and files of a `neurons` model; set exactly for [`Family::Neurons`].
    pub neurons: Option<NeuronsFacts>,
    /// How the model was made. Free form.
    pub provenance: toml::Table,
}

/// Kinds of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// One network from a window to class probabilities. See [`crate::linear`].
    Linear,
    /// Brain model, diffusion prior and decoupler. See [`crate::neurons`].
    Neurons,
}

/// The mask a model was trained on.
#[derive(Clone, Debug)]
pub struct MaskFacts {
    /// BLAKE3 of the mask, 64 hexadecimal digits in lower case.
    pub hash: String,
    /// Rows of the mask: voxels, or parcels.
    pub n_voxel: usize,
    /// Matrix and affine of the scans.
    pub space: VoxelSpace,
}

/// Timing that a model was trained with.
#[derive(Clone, Copy, Debug)]
pub struct SignalFacts {
    /// Time between volumes.
    pub repetition_time: RepetitionTime,
    /// Delay from a stimulus to its BOLD response, in seconds.
    pub hrf_delay_s: f64,
    /// How volumes are interpolated to the time of the stimulus.
    pub shift: ShiftInterpolation,
    /// Number of volumes in a window.
    pub window_volumes: NonZeroUsize,
}

/// Normalisation that a model was trained with.
#[derive(Clone, Debug)]
pub struct NormaliseFacts {
    /// The mode.
    pub mode: Mode,
    /// Volumes before the first result, if the manifest sets it.
    pub warm_up_volumes: Option<u32>,
    /// Volumes of the baseline; set exactly for [`Mode::Baseline`].
    pub baseline_volumes: Option<NonZeroU32>,
    /// Where the mean comes from; set exactly for [`Mode::Frozen`].
    pub frozen_mean: Option<FrozenMean>,
    /// Whether each volume was then z-scored across its voxels.
    pub across_voxels: bool,
    /// Mean and standard deviation; set exactly for [`Mode::Frozen`].
    pub statistics: Option<Statistics>,
}

impl Manifest {
    /// The network of a role, if the model has it.
    #[must_use]
    pub fn network(&self, role: Role) -> Option<&NetworkFacts> {
        find(&self.networks, role)
    }

    /// A window of zeros of the model's shape, to try the model on.
    #[must_use]
    pub fn zeros(&self) -> Window {
        Window {
            tr: TrIndex(0),
            acquisition_time_s: 0.0,
            stimulus_time_s: 0.0,
            bold: Array2::zeros((self.signal.window_volumes.get(), self.mask.n_voxel)),
            made_from: MadeFrom::Measured,
            interpolation: ShiftInterpolation::Nearest,
        }
    }

    /// The manifest's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(FILE_NAME)
    }
}
