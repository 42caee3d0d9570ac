//! `manifest.toml` as it is written, and how it becomes a [`Manifest`].
//!
//! A value that is wrong in itself is refused while parsing, through `try_from`, because the
//! parser knows its line. Checks that need two values or a file follow, and name the key.

use std::{num::NonZeroUsize, path::Path};

use corticast_bold::{
    run::RunEntities,
    settings::StageSettings,
    space::{MAX_VOLUME_VOXELS, VoxelSpace},
    time::RepetitionTime,
    volume::ShiftInterpolation,
};
use serde::Deserialize;

use super::{
    error::ManifestError,
    evidence::EvidenceWritten,
    facts::{FILE_NAME, Family, Manifest, MaskFacts, SignalFacts},
    file::Hex64,
    network::{self, NetworkWritten},
    neurons::NeuronsWritten,
    normalise::NormaliseWritten,
    read::Document,
};

/// The manifest format that is read.
pub const FORMAT: u32 = 2;
/// Longest delay that is accepted, in seconds.
const MAX_HRF_DELAY_S: f64 = 60.0;

impl Manifest {
    /// Reads `manifest.toml` in `dir` and compares the SHA-256 of every file it names.
    ///
    /// # Errors
    ///
    /// Fails when the manifest or a file is missing, damaged or of another format, or when a
    /// value is invalid. The message names the file, the place in it, what was found and what
    /// was expected.
    pub fn read(dir: &Path) -> Result<Self, ManifestError> {
        let document = Document::read(dir.join(FILE_NAME), FORMAT)?;
        let written: Written = document.parse()?;
        let subject = RunEntities::checked(&written.subject, None, None, None)
            .map_err(|error| document.refuse("subject", error.to_string()))?
            .sub;
        let name = document.name(written.name)?;
        let MaskChecked(mask) = written.mask;
        let SignalChecked(signal) = written.signal;
        let n_value = mask.n_voxel.checked_mul(signal.window_volumes.get());
        if n_value.is_none_or(|n| n > MAX_VOLUME_VOXELS) {
            let reason = format!(
                "{} volumes of {} voxels, expected at most {MAX_VOLUME_VOXELS} values",
                signal.window_volumes, mask.n_voxel
            );
            return Err(document.refuse("signal.window_volumes", reason));
        }
        let networks = network::check_all(written.network, dir, &document)?;
        let neurons = match (written.family, written.neurons) {
            (Family::Neurons, Some(neurons)) => Some(neurons.check(dir, &document)?),
            (Family::Linear, None) => None,
            (Family::Neurons, None) => {
                return Err(document.refuse("neurons", "is missing, family `neurons` needs it"));
            }
            (Family::Linear, Some(_)) => {
                let reason = "is set, but family `linear` does not use it; remove it";
                return Err(document.refuse("neurons", reason));
            }
        };
        let evidence = written.evidence;
        let evidence = evidence
            .map(|evidence| evidence.check(written.family, &signal, &networks, &document))
            .transpose()?;
        Ok(Self {
            dir: dir.into(),
            family: written.family,
            name,
            subject,
            normalise: written.normalise.check(dir, mask.n_voxel, &document)?,
            mask,
            signal,
            stages: written.stages,
            evidence,
            networks,
            neurons,
            provenance: written.provenance,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "format")]
    _format: i64,
    family: Family,
    name: String,
    subject: String,
    mask: MaskChecked,
    signal: SignalChecked,
    normalise: NormaliseWritten,
    #[serde(default)]
    stages: StageSettings,
    #[serde(default)]
    network: Vec<NetworkWritten>,
    neurons: Option<NeuronsWritten>,
    evidence: Option<EvidenceWritten>,
    #[serde(default)]
    provenance: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaskWritten {
    hash: Hex64,
    n_voxel: usize,
    matrix: [usize; 3],
    affine: [[f64; 4]; 4],
}

#[derive(Deserialize)]
#[serde(try_from = "MaskWritten")]
struct MaskChecked(MaskFacts);

impl TryFrom<MaskWritten> for MaskChecked {
    type Error = String;

    fn try_from(written: MaskWritten) -> Result<Self, String> {
        let space =
            VoxelSpace::new(written.matrix, written.affine).map_err(|error| error.to_string())?;
        let n_voxel = written.n_voxel;
        if !(1..=MAX_VOLUME_VOXELS).contains(&n_voxel) {
            return Err(format!("`n_voxel` is {n_voxel}, expected 1 to {MAX_VOLUME_VOXELS}"));
        }
        Ok(Self(MaskFacts { hash: written.hash.0, n_voxel, space }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalWritten {
    repetition_time_s: RepetitionTime,
    hrf_delay_s: f64,
    shift: ShiftInterpolation,
    window_volumes: NonZeroUsize,
}

#[derive(Deserialize)]
#[serde(try_from = "SignalWritten")]
struct SignalChecked(SignalFacts);

impl TryFrom<SignalWritten> for SignalChecked {
    type Error = String;

    fn try_from(written: SignalWritten) -> Result<Self, String> {
        let hrf_delay_s = written.hrf_delay_s;
        if !(0.0..=MAX_HRF_DELAY_S).contains(&hrf_delay_s) {
            return Err(format!("`hrf_delay_s` is {hrf_delay_s}, expected 0 to {MAX_HRF_DELAY_S}"));
        }
        Ok(Self(SignalFacts {
            repetition_time: written.repetition_time_s,
            hrf_delay_s,
            shift: written.shift,
            window_volumes: written.window_volumes,
        }))
    }
}
