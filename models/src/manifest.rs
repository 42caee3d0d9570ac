//! `manifest.toml`: what a model was trained on, and what it takes and gives.
//!
//! A model that meets another subject, mask, delay or normalisation than it was trained on
//! gives results that look like results. So the manifest says all of it, the daemon compares,
//! and nothing starts on a difference. Everything is checked here, once, and comes out as types
//! that cannot be wrong; an error names the file, the line and column or the key, and what was
//! found and expected.

mod network;
mod neurons;
pub mod video;
mod written;

use std::{
    fs::File,
    io::Read,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
};

use corticast_bold::{
    normalise::{FrozenMean, Mode, Statistics},
    run::RunEntities,
    space::{MAX_VOLUME_VOXELS, VoxelSpace},
    time::RepetitionTime,
    volume::ShiftInterpolation,
};
use serde::{Deserialize, Serialize};

use self::written::{MaskWritten, SignalWritten, Versioned, Written};
pub use self::{
    network::{Dim, ElementType, NetworkFacts, Role, TensorFacts, listed},
    neurons::{CaptionFacts, NeuronsFacts, PriorSchedule},
};

/// Name of the manifest in a model's folder.
pub const FILE_NAME: &str = "manifest.toml";
/// The manifest format that is read.
pub const FORMAT: u32 = 2;
/// Longest manifest that is read, in bytes; thousands of class names take less.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Why a manifest, or a file it names, is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is longer than such a file can be.
    #[error("{path}: {found} bytes, expected at most {at_most}")]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// The most that is read, in bytes.
        at_most: u64,
    },
    /// The manifest is of another format version.
    #[error(
        "{path}: manifest format {found}, this version reads format {expected}; {}",
        if *found < i64::from(*expected) {
            "export the model again with the `corticast-train` of this version"
        } else {
            "the model was made for a newer version"
        }
    )]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format that is read.
        expected: u32,
    },
    /// The manifest is no TOML, has an unknown or missing key, or a value that cannot be.
    #[error("{path}:{line}:{column}: {reason}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What was found and what was expected.
        reason: String,
    },
    /// Two values do not fit each other.
    #[error("{path}: `{key}`: {reason}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A file was changed, damaged or swapped since the manifest was written.
    #[error("{path} has SHA-256 {found}, its manifest says {expected}; export the model again")]
    Hash {
        /// Which file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash in the manifest.
        expected: String,
    },
    /// A file of tensors beside the networks cannot be used.
    #[error("{path}: {reason}")]
    Tensors {
        /// Which file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// The vocabulary cannot be used.
    #[error("{path}: the vocabulary cannot be used: {reason}")]
    Vocabulary {
        /// Which file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
}

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
    /// Which voxels.
    pub mask: MaskFacts,
    /// Timing of the signal.
    pub signal: SignalFacts,
    /// Normalisation of the signal.
    pub normalise: NormaliseFacts,
    /// The networks; every file's SHA-256 was compared. At least one; no role comes twice.
    pub networks: Vec<NetworkFacts>,
    /// Sizes and files of a `neurons` model; there exactly with [`Family::Neurons`].
    pub neurons: Option<NeuronsFacts>,
    /// How the model came to be. Free form.
    pub provenance: toml::Table,
}

/// What kind of model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// One network from a window to class probabilities. See [`crate::linear`].
    Linear,
    /// Brain model, diffusion prior and decoupler. See [`crate::neurons`].
    Neurons,
}

/// The mask a model was trained on.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "MaskWritten")]
pub struct MaskFacts {
    /// BLAKE3 of the mask, 64 hexadecimal digits in lower case.
    pub hash: String,
    /// Rows of the mask: voxels, or parcels.
    pub n_voxel: usize,
    /// Matrix and affine of the scans.
    pub space: VoxelSpace,
}

/// Timing a model was trained with.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "SignalWritten")]
pub struct SignalFacts {
    /// Time between volumes.
    pub repetition_time: RepetitionTime,
    /// From a stimulus to the BOLD that answers it, in seconds.
    pub hrf_delay_s: f64,
    /// How volumes are brought to the stimulus' time.
    pub shift: ShiftInterpolation,
    /// Volumes of a window.
    pub window_volumes: NonZeroUsize,
}

/// Normalisation a model was trained with.
#[derive(Clone, Debug)]
pub struct NormaliseFacts {
    /// How.
    pub mode: Mode,
    /// Volumes before the first result, where the manifest says so.
    pub warm_up_volumes: Option<u32>,
    /// Volumes of the baseline; there exactly with [`Mode::Baseline`].
    pub baseline_volumes: Option<NonZeroU32>,
    /// Where the mean comes from; there exactly with [`Mode::Frozen`].
    pub frozen_mean: Option<FrozenMean>,
    /// Mean and standard deviation; there exactly with [`Mode::Frozen`].
    pub statistics: Option<Statistics>,
}

impl Manifest {
    /// Reads `manifest.toml` in `dir` and compares the SHA-256 of every file it names.
    ///
    /// # Errors
    ///
    /// Fails when the manifest or a file is missing, damaged, of another format, or holds what
    /// cannot be; says which file, where in it, what was found and what was expected.
    pub fn read(dir: &Path) -> Result<Self, ManifestError> {
        let path = dir.join(FILE_NAME);
        let text = read_text(&path)?;
        check_format(&path, &text, FORMAT)?;
        let written: Written = parse(&path, &text)?;
        let value = |key: &str, reason: String| ManifestError::Value {
            path: path.clone(),
            key: key.into(),
            reason,
        };

        let subject = RunEntities::checked(&written.subject, None, None, None)
            .map_err(|error| value("subject", error.to_string()))?
            .sub;
        let name = checked_name(written.name).map_err(|reason| value("name", reason))?;
        let n_value = written.mask.n_voxel.checked_mul(written.signal.window_volumes.get());
        if n_value.is_none_or(|n| n > MAX_VOLUME_VOXELS) {
            return Err(value(
                "signal.window_volumes",
                format!(
                    "{} volumes of {} voxels, expected at most {MAX_VOLUME_VOXELS} values",
                    written.signal.window_volumes, written.mask.n_voxel
                ),
            ));
        }
        let networks = network::check_all(written.network, dir, &value)?;
        let neurons = match (written.family, written.neurons) {
            (Family::Neurons, Some(neurons)) => Some(neurons.check(dir, &value)?),
            (Family::Linear, None) => None,
            (Family::Neurons, None) => {
                return Err(value("neurons", "is missing, family `neurons` expects it".into()));
            }
            (Family::Linear, Some(_)) => {
                return Err(value("neurons", "is there, family `linear` expects none".into()));
            }
        };
        Ok(Self {
            dir: dir.into(),
            family: written.family,
            name,
            subject,
            normalise: written.normalise.check(dir, written.mask.n_voxel, &value)?,
            mask: written.mask,
            signal: written.signal,
            networks,
            neurons,
            provenance: written.provenance,
        })
    }

    /// The network of a role, if the model has it.
    #[must_use]
    pub fn network(&self, role: Role) -> Option<&NetworkFacts> {
        self.networks.iter().find(|network| network.role == role)
    }

    /// The manifest's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(FILE_NAME)
    }
}

fn read_text(path: &Path) -> Result<String, ManifestError> {
    let io = |source| ManifestError::Io { path: path.into(), source };
    let file = File::open(path).map_err(io)?;
    let mut text = String::new();
    file.take(MAX_MANIFEST_BYTES + 1).read_to_string(&mut text).map_err(io)?;
    let found = text.len() as u64;
    if found > MAX_MANIFEST_BYTES {
        return Err(ManifestError::TooLong {
            path: path.into(),
            found,
            at_most: MAX_MANIFEST_BYTES,
        });
    }
    Ok(text)
}

/// The format comes before anything else: in a newer manifest an unknown key is not the news.
fn check_format(path: &Path, text: &str, expected: u32) -> Result<(), ManifestError> {
    let Versioned { format } = parse(path, text)?;
    if format == i64::from(expected) {
        return Ok(());
    }
    Err(ManifestError::Format { path: path.into(), found: format, expected })
}

fn checked_name(name: String) -> Result<String, String> {
    if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
        return Err(format!("is {name:?}, expected 1 to 128 printable bytes"));
    }
    Ok(name)
}

fn parse<'de, T: Deserialize<'de>>(path: &Path, text: &'de str) -> Result<T, ManifestError> {
    toml::from_str(text).map_err(|error| {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or(text);
        ManifestError::Parse {
            path: path.into(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
            reason: error.message().to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{edited, model};
    use corticast_bold::spatial_mask::SpatialMask;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    fn refusal(from: &str, to: &str) -> String {
        Manifest::read(edited(from, to).path()).unwrap_err().to_string()
    }

    #[test]
    fn a_manifest_becomes_types() {
        let manifest = Manifest::read(&model("noop-64x64x32")).unwrap();
        assert_eq!(manifest.family, Family::Linear);
        assert_eq!(manifest.mask.space.matrix(), [64, 64, 32]);
        assert_eq!(manifest.mask.n_voxel, manifest.mask.space.n_voxel());
        assert!(
            manifest.signal.repetition_time.agrees_with(RepetitionTime::from_secs(0.1).unwrap())
        );
        assert_eq!(manifest.signal.shift, ShiftInterpolation::Nearest);
        assert_eq!(manifest.normalise.mode, Mode::None);
        assert_eq!(manifest.networks[0].classes, ["first", "second"]);
        assert_eq!(manifest.networks[0].outputs[0].shape, [1, 2]);
        assert!(manifest.provenance.contains_key("made_by"));
    }

    /// The manifests' hashes were made in Python, from the specification.
    #[test]
    fn a_masks_hash_is_the_one_that_another_implementation_gives() {
        for name in ["linear-3x4", "noop-64x64x32"] {
            let mask = Manifest::read(&model(name)).unwrap().mask;
            assert_eq!(SpatialMask::whole(mask.space).hash(), mask.hash, "{name}");
        }
    }

    #[test]
    fn the_message_names_line_and_column() {
        let message = refusal("mode = \"none\"", "mode = \"nome\"");
        assert!(message.contains("manifest.toml:25:8: unknown variant `nome`"), "{message}");
        let message = refusal("window_volumes", "window_volume");
        assert!(message.contains(":22:1: unknown field `window_volume`"), "{message}");
        let message = refusal("hrf_delay_s = 0.0", "hrf_delay_s = 4000.0");
        assert!(message.contains("`hrf_delay_s` is 4000, expected 0 to 60"), "{message}");
        let message = refusal("[3.0, 0.0, 0.0, 0.0]", "[0.0, 0.0, 0.0, 0.0]");
        assert!(message.contains(":7:1: an affine is finite"), "{message}");
        let message = refusal("repetition_time_s = 2.0", "repetition_time_s = 2000.0");
        assert!(message.contains(":19:21: a repetition time must be"), "{message}");
    }

    #[test]
    fn another_format_is_named_before_its_keys() {
        let message = refusal("format = 2", "format = 3\nnews = 1");
        assert!(message.contains("manifest format 3, this version reads format 2"), "{message}");
        let message = refusal("format = 2", "format = 1");
        assert!(message.contains("export the model again"), "{message}");
    }

    #[test]
    fn tensors_that_cannot_be_are_refused() {
        for (from, to, expected) in [
            ("[1, 1, 4]", "[1, 0, 4]", "a dimension is 0, expected 1 or more, or -1"),
            ("[1, 1, 4]", "[99999, 99999, 4]", "`bold` f32 [99999, 99999, 4] cannot be"),
            ("inputs = [{", "inputs = []\nnews = [{", "unknown field `news`"),
            ("inputs = [", "inputs = [{ name = \"bold\", shape = [1] }, ", "`bold` comes twice"),
            ("shape = [1, 3]", "shape = [1, 3], dtype = \"u8\"", "unknown variant `u8`"),
        ] {
            let message = refusal(from, to);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn weights_beside_a_network_are_compared_too() {
        // SHA-256 of nothing, as in FIPS 180-4's examples.
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let external = format!("external = [{{ file = \"w.bin\", sha256 = \"{empty}\" }}]");
        let folder = edited("inputs = ", &format!("{external}\ninputs = "));
        let path = folder.path().join("w.bin");
        std::fs::write(&path, b"").unwrap();
        let manifest = Manifest::read(folder.path()).unwrap();
        assert_eq!(manifest.networks[0].external, std::slice::from_ref(&path));
        std::fs::write(&path, b"changed").unwrap();
        assert!(matches!(Manifest::read(folder.path()), Err(ManifestError::Hash { .. })));
    }

    #[test]
    fn a_family_has_exactly_its_own_section() {
        let message = refusal("family = \"linear\"", "family = \"neurons\"");
        assert!(message.contains("`neurons`: is missing"), "{message}");
    }

    #[test]
    fn a_file_outside_the_folder_is_not_read() {
        for outside in ["../decoder.onnx", "/decoder.onnx", "a/../../decoder.onnx", "."] {
            let message = refusal("\"decoder.onnx\"", &format!("{outside:?}"));
            assert!(message.contains("inside the model's folder"), "{message}");
        }
    }

    #[test]
    fn a_changed_file_is_refused_with_both_hashes() {
        let folder = edited("", "");
        let path = folder.path().join("decoder.onnx");
        // SHA-256 of nothing, as in FIPS 180-4's examples.
        std::fs::write(&path, b"").unwrap();
        let error = Manifest::read(folder.path()).unwrap_err();
        let ManifestError::Hash { path: found_path, found, expected } = error else {
            panic!("{error}")
        };
        assert_eq!(found_path, path);
        assert!(found.starts_with("e3b0c44298fc1c149afbf4c8996fb924"), "{found}");
        assert_ne!(found, expected);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Manifest::read(folder.path()), Err(ManifestError::Io { .. })));
    }

    #[test]
    fn a_mode_has_exactly_its_own_keys() {
        let message = refusal("mode = \"none\"", "mode = \"baseline\"");
        assert!(message.contains("`normalise.baseline_volumes`: is missing"), "{message}");
        let message = refusal("mode = \"none\"", "mode = \"growing\"\nbaseline_volumes = 5");
        assert!(message.contains("`normalise.baseline_volumes`: is there"), "{message}");
        let message = refusal("mode = \"none\"", "mode = \"frozen\"");
        assert!(message.contains("`normalise.statistics`: is missing"), "{message}");
        let message = refusal("mode = \"none\"", "mode = \"none\"\nfrozen_mean = \"growing\"");
        assert!(message.contains("`normalise.frozen_mean`: is there"), "{message}");
    }

    #[test]
    fn frozen_statistics_come_with_the_manifest() {
        // A safetensors file: length of its header, header, mean 1 2 3 4, sd 0 1 1 1.
        let header = r#"{"mean":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"sd":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(
            [1.0_f32, 2.0, 3.0, 4.0, 0.0, 1.0, 1.0, 1.0].iter().flat_map(|v| v.to_le_bytes()),
        );
        let sha256: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();

        let frozen = format!(
            "mode = \"frozen\"\nfrozen_mean = \"growing\"\nstatistics = \"n.safetensors\"\n\
             statistics_sha256 = \"{sha256}\""
        );
        let folder = edited("mode = \"none\"", &frozen);
        std::fs::write(folder.path().join("n.safetensors"), &bytes).unwrap();
        let normalise = Manifest::read(folder.path()).unwrap().normalise;
        assert_eq!(normalise.frozen_mean, Some(FrozenMean::Growing));
        let statistics = normalise.statistics.unwrap();
        assert_eq!(statistics.mean, ndarray::array![1.0, 2.0, 3.0, 4.0]);
        assert_eq!(statistics.sd, ndarray::array![0.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_class_has_one_name() {
        let message = refusal("\"cat\"", "\"bottle\"");
        assert!(message.contains("`network.classes`: \"bottle\" comes twice"), "{message}");
    }

    proptest! {
        /// No damage to a manifest makes reading it panic.
        #[test]
        fn a_damaged_manifest_never_panics(at in 0_usize..740, bytes in prop::collection::vec(any::<u8>(), 0..8)) {
            let folder = edited("", "");
            let path = folder.path().join(FILE_NAME);
            let mut text = std::fs::read(&path).unwrap();
            text.splice(at..(at + bytes.len()).min(text.len()), bytes);
            std::fs::write(&path, &text).unwrap();
            if let Err(error) = Manifest::read(folder.path()) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
