//! The `[normalise]` section: how the signal was normalised for training.

use std::{num::NonZeroU32, path::Path};

use corticast_bold::normalise::{FrozenMean, Mode};
use serde::Deserialize;

use super::{
    error::ManifestError,
    facts::NormaliseFacts,
    file::{FileName, Hex64},
    read::Document,
};
use crate::statistics;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NormaliseWritten {
    mode: Mode,
    warm_up_volumes: Option<u32>,
    baseline_volumes: Option<NonZeroU32>,
    frozen_mean: Option<FrozenMean>,
    #[serde(default)]
    across_voxels: bool,
    statistics: Option<FileName>,
    statistics_sha256: Option<Hex64>,
}

impl NormaliseWritten {
    /// Checks that the mode has exactly its own keys, and reads its statistics.
    pub(super) fn check(
        self,
        dir: &Path,
        n_voxel: usize,
        document: &Document,
    ) -> Result<NormaliseFacts, ManifestError> {
        let (frozen, baseline) = (self.mode == Mode::Frozen, self.mode == Mode::Baseline);
        for (key, there, wanted) in [
            ("baseline_volumes", self.baseline_volumes.is_some(), baseline),
            ("statistics", self.statistics.is_some(), frozen),
            ("statistics_sha256", self.statistics_sha256.is_some(), frozen),
            // Optional: it defaults to `manifest`.
            ("frozen_mean", self.frozen_mean.is_some(), frozen && self.frozen_mean.is_some()),
        ] {
            if there != wanted {
                let mode = format!("{:?}", self.mode).to_lowercase();
                let reason = if there {
                    format!("is set, but mode {mode} does not use it; remove it")
                } else {
                    format!("is missing, mode {mode} needs it")
                };
                return Err(document.refuse(&format!("normalise.{key}"), reason));
            }
        }
        let statistics = match self.statistics.zip(self.statistics_sha256) {
            Some((file, sha256)) => Some(statistics::read(&file.verified(dir, &sha256)?, n_voxel)?),
            None => None,
        };
        Ok(NormaliseFacts {
            mode: self.mode,
            warm_up_volumes: self.warm_up_volumes,
            baseline_volumes: self.baseline_volumes,
            frozen_mean: frozen.then(|| self.frozen_mean.unwrap_or(FrozenMean::Manifest)),
            across_voxels: self.across_voxels,
            statistics,
        })
    }
}
