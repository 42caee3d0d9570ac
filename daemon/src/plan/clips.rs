//! How clips are made: options and files, read and checked, with no network loaded yet.
//!
//! The daemon and its workers must agree on both. A [`ClipPlan`] therefore has a hash of its files
//! and a line of its settings; makers for which both are equal make the same clips.

use std::path::PathBuf;

use corticast_models::{
    decoder::{Decoder, FamilyDecoder},
    decoupler::Head,
    error::ModelError,
    generator::{
        Mode,
        maker::{MakerOptions, ModelNetworks},
        scheduler::Init,
    },
    manifest::{Manifest, video::VideoManifest},
    runtime::OnnxRuntime,
};
use sha2::{Digest, Sha256};

use super::error::PlanError;
use crate::config::{Config, GeneratorConfig};

/// Options and files for making clips, read and checked, with no network loaded yet.
#[derive(Clone, Debug)]
pub struct ClipPlan {
    /// How clips are made.
    pub options: MakerOptions,
    /// Networks of the model.
    pub model: ModelNetworks,
    /// Video networks; `None` with mode `still`.
    pub set: Option<VideoManifest>,
    /// Time between volumes, which is the length of a clip.
    pub repetition_time_s: f64,
    /// Device and number of threads.
    pub runtime: OnnxRuntime,
    /// See [`crate::config::generator::Written::skip_similar`].
    pub skip_similar: f64,
}

impl ClipPlan {
    /// Reads the options and files that the configuration names; `None` when it asks for no clips.
    ///
    /// # Errors
    ///
    /// Fails when the model does not give the input of clips, or a file of the set does not match
    /// its manifest.
    pub fn make(config: &GeneratorConfig, model: &Manifest) -> Result<Option<Self>, ModelError> {
        let Some(options) = config.options() else { return Ok(None) };
        let needs_set = options.mode != Mode::Still;
        let dir: Option<&PathBuf> = config.dir.as_ref().filter(|_| needs_set);
        Ok(Some(Self {
            model: ModelNetworks::of(model)?,
            set: dir.map(|dir| VideoManifest::read(dir)).transpose()?,
            repetition_time_s: model.signal.repetition_time.as_secs(),
            runtime: OnnxRuntime {
                device: config.device,
                gpu: config.gpu,
                intra_threads: config.threads,
            },
            skip_similar: config.skip_similar,
            options,
        }))
    }

    /// Largest size of a clip with its input, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let sizes = &self.model.sizes;
        let rgb = |n: usize, edge: usize| 3 * n * edge * edge;
        let blurry = rgb(sizes.n_frame, 8 * sizes.latent);
        let clip =
            self.set.as_ref().map_or(blurry, |set| rgb(set.sizes.max_frames, set.sizes.image));
        clip + blurry + sizes.n_frame * sizes.mask * sizes.mask
    }

    /// The agreed settings, as TOML.
    #[must_use]
    pub fn effective(&self) -> toml::Table {
        use toml::Value;
        let integer = |n: u64| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        let options = &self.options;
        let mut table = toml::Table::from_iter([
            ("mode".to_owned(), Value::String(options.mode.name().to_owned())),
            ("seed".to_owned(), integer(options.seed)),
            ("files".to_owned(), Value::String(self.identity())),
        ]);
        if let Some(set) = &self.set {
            table.insert("set".to_owned(), Value::String(set.name.clone()));
            table.insert("precision".to_owned(), Value::String(set.precision.name().to_owned()));
            table.insert("steps".to_owned(), integer(options.steps as u64));
            table.insert("graphs".to_owned(), Value::String(options.graphs.to_string()));
        }
        table
    }

    /// Hash of the files that clips are made with, in hexadecimal.
    #[must_use]
    pub fn identity(&self) -> String {
        let mut hasher = Sha256::new();
        let set = self.set.iter().map(|set| set.sha256.as_str());
        let model = std::iter::once(self.model.vae_decoder.sha256.as_str());
        let keyframe = self.model.keyframe.iter().map(|network| network.sha256.as_str());
        for hash in set.chain(model).chain(keyframe) {
            hasher.update(hash.as_bytes());
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The settings that the pictures depend on, as one line.
    #[must_use]
    pub fn settings(&self) -> String {
        let options = &self.options;
        let init = match options.init {
            Init::Reference => "reference".to_owned(),
            Init::Sdedit { strength } => format!("sdedit {strength}"),
        };
        let guidance = options.guidance.map_or("as the set".to_owned(), |g| g.to_string());
        format!(
            "mode {}, {} steps, init {init}, guidance {guidance}, control scale {}, frames {:?}, \
             graphs {}, coder {:?}, seed {}",
            options.mode,
            options.steps,
            options.control_scale,
            options.shown,
            options.graphs,
            options.coder,
            options.seed
        )
        .to_lowercase()
    }

    /// Checks that a decoder gives the input of clips.
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::ClipNeeds`] when the decoder does not.
    pub fn check(&self, decoder: &Decoder) -> Result<(), ModelError> {
        let head = Head::Reconstruction;
        match decoder.family() {
            FamilyDecoder::Neurons(neurons) if neurons.heads().contains(&head) => Ok(()),
            _ => Err(ModelError::ClipNeeds { head }),
        }
    }
}

/// How a session makes clips; `None` when it makes none.
///
/// # Errors
///
/// Fails when clips are configured and the model does not give their input, or a file of the
/// networks does not match its manifest.
pub(super) fn agreed(
    config: &Config,
    decoder: Option<&Decoder>,
) -> Result<Option<ClipPlan>, PlanError> {
    if config.generator.options().is_none() {
        return Ok(None);
    }
    let decoder = decoder.ok_or(PlanError::NoModel)?;
    let Some(plan) = ClipPlan::make(&config.generator, decoder.manifest())? else {
        return Ok(None);
    };
    plan.check(decoder)?;
    Ok(Some(plan))
}
