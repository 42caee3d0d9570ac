//! How clips are made: options and files, read and checked, with no network loaded yet.
//!
//! The daemon and its workers must agree on both: a [`ClipPlan`] has a hash of its files and a line
//! of its settings, and makers with the same files and settings make the same clips.

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

/// What clips are made with: options and files, read and checked, nothing loaded yet.
#[derive(Clone, Debug)]
pub struct ClipPlan {
    /// How clips are made.
    pub options: MakerOptions,
    /// Networks of the model.
    pub model: ModelNetworks,
    /// Networks of clips; none with mode `still`.
    pub set: Option<VideoManifest>,
    /// Time between volumes: how long a clip lasts.
    pub repetition_time_s: f64,
    /// Where and on how many threads.
    pub runtime: OnnxRuntime,
    /// See [`crate::config::generator::Written::skip_similar`].
    pub skip_similar: f64,
}

impl ClipPlan {
    /// Reads what the configuration asks for; `None` where it asks for no clips.
    ///
    /// # Errors
    ///
    /// Fails when the model gives nothing that clips are made of, or a file of the set is not
    /// what its manifest says.
    pub fn make(config: &GeneratorConfig, model: &Manifest) -> Result<Option<Self>, ModelError> {
        let Some(options) = config.options() else { return Ok(None) };
        let needs_set = options.mode != Mode::Still;
        let dir: Option<&PathBuf> = config.dir.as_ref().filter(|_| needs_set);
        Ok(Some(Self {
            model: ModelNetworks::of(model)?,
            set: dir.map(|dir| VideoManifest::read(dir)).transpose()?,
            repetition_time_s: model.signal.repetition_time.as_secs(),
            runtime: OnnxRuntime { device: config.device, intra_threads: config.threads },
            skip_similar: config.skip_similar,
            options,
        }))
    }

    /// The most bytes that a clip takes, with what it was made of.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let sizes = &self.model.sizes;
        let rgb = |n: usize, edge: usize| 3 * n * edge * edge;
        let blurry = rgb(sizes.n_frame, 8 * sizes.latent);
        let clip =
            self.set.as_ref().map_or(blurry, |set| rgb(set.sizes.max_frames, set.sizes.image));
        clip + blurry + sizes.n_frame * sizes.mask * sizes.mask
    }

    /// What was agreed, as TOML.
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

    /// Says which files clips are made with: makers with the same make the same clips.
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

    /// The settings that the pictures depend on, as one line: makers with the same make the same
    /// clips of the same files.
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

    /// Refuses a decoder that does not give what clips are made of.
    ///
    /// # Errors
    ///
    /// [`ModelError::ClipNeeds`].
    pub fn check(&self, decoder: &Decoder) -> Result<(), ModelError> {
        let head = Head::Reconstruction;
        match decoder.family() {
            FamilyDecoder::Neurons(neurons) if neurons.heads().contains(&head) => Ok(()),
            _ => Err(ModelError::ClipNeeds { head }),
        }
    }
}

/// How a session makes clips; `None` where it makes none.
///
/// # Errors
///
/// Fails when clips are asked for and the model gives nothing to make them of, or a file of the
/// networks is not what its manifest says.
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
