//! The manifest as it is written, and how it becomes what [`super::Manifest`] holds.
//!
//! What one value or one table can tell wrong by itself is refused while parsing, through
//! `try_from`: then the parser knows the line. What takes two values, or a file, is checked
//! after, and named by its key.

use std::{
    fs::File,
    io::Read,
    num::{NonZeroU32, NonZeroUsize},
    path::{Component, Path, PathBuf},
};

use corticast_bold::{
    normalise::{FrozenMean, Mode},
    space::{MAX_VOLUME_VOXELS, VoxelSpace},
    time::RepetitionTime,
    volume::ShiftInterpolation,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    Family, ManifestError, MaskFacts, NormaliseFacts, SignalFacts, network::NetworkWritten,
    neurons::NeuronsWritten,
};
use crate::statistics;

/// Longest delay that is believed, in seconds.
const MAX_HRF_DELAY_S: f64 = 60.0;

#[derive(Deserialize)]
pub(super) struct Versioned {
    pub(super) format: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(rename = "format")]
    _format: i64,
    pub(super) family: Family,
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) mask: MaskFacts,
    pub(super) signal: SignalFacts,
    pub(super) normalise: NormaliseWritten,
    #[serde(default)]
    pub(super) network: Vec<NetworkWritten>,
    pub(super) neurons: Option<NeuronsWritten>,
    #[serde(default)]
    pub(super) provenance: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MaskWritten {
    hash: Hex64,
    n_voxel: usize,
    matrix: [usize; 3],
    affine: [[f64; 4]; 4],
}

impl TryFrom<MaskWritten> for MaskFacts {
    type Error = String;

    fn try_from(written: MaskWritten) -> Result<Self, String> {
        let space =
            VoxelSpace::new(written.matrix, written.affine).map_err(|error| error.to_string())?;
        let n_voxel = written.n_voxel;
        if !(1..=MAX_VOLUME_VOXELS).contains(&n_voxel) {
            return Err(format!("`n_voxel` is {n_voxel}, expected 1 to {MAX_VOLUME_VOXELS}"));
        }
        Ok(Self { hash: written.hash.0, n_voxel, space })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignalWritten {
    repetition_time_s: RepetitionTime,
    hrf_delay_s: f64,
    shift: ShiftInterpolation,
    window_volumes: NonZeroUsize,
}

impl TryFrom<SignalWritten> for SignalFacts {
    type Error = String;

    fn try_from(written: SignalWritten) -> Result<Self, String> {
        let hrf_delay_s = written.hrf_delay_s;
        if !(0.0..=MAX_HRF_DELAY_S).contains(&hrf_delay_s) {
            return Err(format!("`hrf_delay_s` is {hrf_delay_s}, expected 0 to {MAX_HRF_DELAY_S}"));
        }
        Ok(Self {
            repetition_time: written.repetition_time_s,
            hrf_delay_s,
            shift: written.shift,
            window_volumes: written.window_volumes,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NormaliseWritten {
    mode: Mode,
    warm_up_volumes: Option<u32>,
    baseline_volumes: Option<NonZeroU32>,
    frozen_mean: Option<FrozenMean>,
    statistics: Option<FileName>,
    statistics_sha256: Option<Hex64>,
}

impl NormaliseWritten {
    pub(super) fn check(
        self,
        dir: &Path,
        n_voxel: usize,
        value: &impl Fn(&str, String) -> ManifestError,
    ) -> Result<NormaliseFacts, ManifestError> {
        let (frozen, baseline) = (self.mode == Mode::Frozen, self.mode == Mode::Baseline);
        for (key, there, wanted) in [
            ("baseline_volumes", self.baseline_volumes.is_some(), baseline),
            ("statistics", self.statistics.is_some(), frozen),
            ("statistics_sha256", self.statistics_sha256.is_some(), frozen),
            // Left out it is `manifest`.
            ("frozen_mean", self.frozen_mean.is_some(), frozen && self.frozen_mean.is_some()),
        ] {
            if there != wanted {
                let (is, should) = if there { ("there", "none") } else { ("missing", "it") };
                let reason = format!("is {is}, mode {:?} expects {should}", self.mode);
                return Err(value(&format!("normalise.{key}"), reason.to_lowercase()));
            }
        }
        let statistics = match self.statistics.zip(self.statistics_sha256) {
            Some((file, sha256)) => {
                let path = dir.join(file.0);
                verify(&path, &sha256)?;
                Some(statistics::read(&path, n_voxel)?)
            }
            None => None,
        };
        Ok(NormaliseFacts {
            mode: self.mode,
            warm_up_volumes: self.warm_up_volumes,
            baseline_volumes: self.baseline_volumes,
            frozen_mean: frozen.then(|| self.frozen_mean.unwrap_or(FrozenMean::Manifest)),
            statistics,
        })
    }
}

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

/// A file in the model's folder, or below: a manifest from elsewhere must not read other files.
#[derive(Deserialize)]
#[serde(try_from = "PathBuf")]
pub(super) struct FileName(pub(super) PathBuf);

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

/// Compares the SHA-256 of a file, without holding the file in memory.
pub(super) fn verify(path: &Path, expected: &Hex64) -> Result<(), ManifestError> {
    let io = |source| ManifestError::Io { path: path.into(), source };
    let mut file = File::open(path).map_err(io)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut chunk).map_err(io)?;
        if n == 0 {
            break;
        }
        hasher.update(&chunk[..n]);
    }
    let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != expected.0 {
        return Err(ManifestError::Hash { path: path.into(), found, expected: expected.0.clone() });
    }
    Ok(())
}
