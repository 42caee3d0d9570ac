//! The plan: what configuration, model and mask agree on.
//!
//! A model is only fed what it was trained on: the same mask (by hash), matrix, affine, TR,
//! delay and normalisation. What the configuration leaves out is taken from the model; what it
//! says has to agree. Everything is compared before the first volume, with both values in the
//! message, and the run's header again when the run starts.

use std::{num::NonZeroUsize, path::Path, sync::Arc};

use corticast_bold::{
    normalise::{InvalidNormalise, Mode, NormaliseOptions},
    run::RunHeader,
    space::{SpaceMismatch, VoxelSpace},
    spatial_mask::SpatialMask,
    time::RepetitionTime,
    volume::ShiftInterpolation,
};
use corticast_models::{
    decoder::{Decoder, FamilyDecoder},
    error::ModelError,
    manifest::Manifest,
    runtime::OnnxRuntime,
};

use crate::{
    config::Config,
    generate::{ClipMaker, ClipPlan},
    ingest::Admission,
    mask::{self, MaskFileError},
    metrics::Metrics,
    signal_path::{SignalOptions, SignalPath},
};

/// Delay when neither configuration nor model say one: the canonical response's peak, less
/// the time in which the signal is still rising.
const DEFAULT_HRF_DELAY_S: f64 = 4.0;
/// Warm-up when neither configuration nor model say one.
const DEFAULT_WARM_UP_VOLUMES: u32 = 6;
/// Baseline when neither configuration nor model say one.
const DEFAULT_BASELINE_VOLUMES: u32 = 10;
/// Half of what is kept for a slow subscriber; conditions of the published model take 4 MB, its
/// clips 3.
const MAX_PRODUCT_BYTES: usize = 16 << 20;

/// Why a session cannot be run as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No mask is named.
    #[error(
        "no mask: set `mask` in [signal] to a NIfTI image whose voxels that are not 0 are used"
    )]
    NoMask,
    /// The mask cannot be read.
    #[error("the mask cannot be used: {0}")]
    Mask(#[from] MaskFileError),
    /// The model cannot be opened.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The mask lies elsewhere than the scans the model was trained on.
    #[error("the mask does not lie where the model was trained: {0}")]
    Space(SpaceMismatch),
    /// Configuration, mask and model do not agree.
    #[error("{what}: the model was trained with {expected}, the session has {found}")]
    Disagreement {
        /// On what.
        what: &'static str,
        /// What the session has.
        found: String,
        /// What the model asks for.
        expected: String,
    },
    /// One product would be more than anybody can be sent.
    #[error(
        "{what} of this model takes {found} bytes, at most {MAX_PRODUCT_BYTES} can be published"
    )]
    TooLarge {
        /// Which product.
        what: &'static str,
        /// What it takes.
        found: usize,
    },
    /// Clips are asked for, and nothing is decoded.
    #[error("`mode` in [generator] asks for clips, and there is no model: set `dir` in [model]")]
    NoModel,
    /// Clips are to be written, and none are made.
    #[error("[outputs] asks for clips, and none are made: set `mode` in [generator]")]
    NoClips,
    /// The normalisation cannot be.
    #[error(transparent)]
    Normalise(#[from] InvalidNormalise),
}

/// What is agreed on. See the module docs.
#[derive(Debug)]
pub struct Plan {
    /// As it was written.
    pub config: Config,
    /// Which voxels.
    pub mask: SpatialMask,
    /// How volumes are prepared.
    pub signal: SignalOptions,
    /// The model, if there is one, ready to decode.
    pub decoder: Option<Decoder>,
    /// What makes clips, if anything does.
    pub clips: Option<Clips>,
}

/// What makes clips.
#[derive(Debug)]
pub enum Clips {
    /// The daemon, on a thread of its own.
    Here(Box<ClipMaker>),
    /// Workers, which have to have the same files.
    Elsewhere(Box<ClipPlan>),
}

impl Clips {
    /// What clips are made with.
    #[must_use]
    pub fn plan(&self) -> &ClipPlan {
        match self {
            Self::Here(maker) => maker.plan(),
            Self::Elsewhere(plan) => plan,
        }
    }
}

impl Plan {
    /// Opens mask and model and compares everything.
    ///
    /// # Errors
    ///
    /// Fails on the first thing that is missing or does not agree.
    pub fn make(config: Config) -> Result<Self, PlanError> {
        let mask_path = config.signal.mask.as_deref().ok_or(PlanError::NoMask)?;
        let mask = mask::read(mask_path)?;
        let decoder = config.model.dir.as_deref().map(|dir| open(dir, &config)).transpose()?;
        let signal = agree(&config, &mask, decoder.as_ref().map(Decoder::manifest))?;
        let clips = clips(&config, decoder.as_ref())?;
        if clips.is_none() && !config.outputs.is_empty() {
            return Err(PlanError::NoClips);
        }
        for (what, found) in [
            ("what a clip is made of", decoder.as_ref().map_or(0, conditions_bytes)),
            ("a clip", clips.as_ref().map_or(0, |clips| clips.plan().bytes())),
        ] {
            if found > MAX_PRODUCT_BYTES {
                return Err(PlanError::TooLarge { what, found });
            }
        }
        Ok(Self { config, mask, signal, decoder, clips })
    }

    /// Whether a run may start: its matrix and affine are the mask's, its TR the model's.
    #[must_use]
    pub fn admission(&self) -> Admission {
        let space = self.mask.space().clone();
        let trained = self.decoder.as_ref().map(|d| d.manifest().signal.repetition_time);
        Arc::new(move |header: &RunHeader| admit(header, &space, trained))
    }

    /// The signal path of this plan. Takes mask and model out of it.
    ///
    /// # Errors
    ///
    /// Fails when the normalisation does not fit the mask.
    pub fn into_path(
        self,
        metrics: Metrics,
        clock: fn() -> u64,
    ) -> Result<SignalPath, InvalidNormalise> {
        SignalPath::new(self.signal, self.mask, self.decoder, metrics, clock)
    }

    /// What was agreed, as TOML, for `corticast check`, `prepare` and recordings.
    #[must_use]
    pub fn effective(&self) -> toml::Table {
        use toml::Value;
        let text = |value: &str| Value::String(value.to_owned());
        let integer = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        let space = self.mask.space();
        let matrix = space.matrix().map(integer).to_vec();
        let affine = space.affine().iter().map(|r| r.iter().map(|&v| Value::Float(v)).collect());
        let mask = toml::Table::from_iter([
            ("hash".to_owned(), text(self.mask.hash())),
            ("kind".to_owned(), text(self.mask.kind())),
            ("n_voxel".to_owned(), integer(self.mask.n_voxel())),
            ("matrix".to_owned(), Value::Array(matrix)),
            ("affine".to_owned(), Value::Array(affine.map(Value::Array).collect())),
        ]);
        let signal = &self.signal;
        let signal_table = toml::Table::from_iter([
            ("hrf_delay_s".to_owned(), Value::Float(signal.hrf_delay_s)),
            ("shift".to_owned(), word(signal.shift)),
            ("window_volumes".to_owned(), integer(signal.window_volumes.get())),
            ("discard_volumes".to_owned(), integer(signal.discard_volumes as usize)),
            ("missing".to_owned(), word(signal.missing)),
            ("max_fill_volumes".to_owned(), integer(signal.max_fill_volumes as usize)),
        ]);
        let normalise = &signal.normalise;
        let normalise_table = toml::Table::from_iter([
            ("mode".to_owned(), word(normalise.mode)),
            ("warm_up_volumes".to_owned(), integer(normalise.warm_up_volumes as usize)),
            ("baseline_volumes".to_owned(), integer(normalise.baseline_volumes as usize)),
            ("frozen_mean".to_owned(), word(normalise.frozen_mean)),
        ]);
        let mut effective = toml::Table::from_iter([
            ("mask".to_owned(), Value::Table(mask)),
            ("signal".to_owned(), Value::Table(signal_table)),
            ("normalise".to_owned(), Value::Table(normalise_table)),
        ]);
        if let Some(FamilyDecoder::Neurons(neurons)) = self.decoder.as_ref().map(Decoder::family) {
            let config = &self.config.decoder;
            let heads = neurons.heads().into_iter().map(|head| text(head.name())).collect();
            let decoder = toml::Table::from_iter([
                (
                    "prior".to_owned(),
                    text(if config.prior_steps.is_some() { "ddim" } else { "ddpm" }),
                ),
                ("prior_steps".to_owned(), integer(neurons.prior_steps())),
                ("seed".to_owned(), Value::Integer(config.seed.into())),
                ("heads".to_owned(), Value::Array(heads)),
            ]);
            effective.insert("decoder".to_owned(), Value::Table(decoder));
        }
        if let Some(clips) = &self.clips {
            effective.insert("generator".to_owned(), Value::Table(clips.plan().effective()));
        }
        effective
    }

    /// The most bytes that a clip takes; 0 where none are made.
    #[must_use]
    pub fn clip_bytes(&self) -> usize {
        self.clips.as_ref().map_or(0, |clips| clips.plan().bytes())
    }

    /// The most bytes that the conditions of one result take; 0 where the model gives none.
    #[must_use]
    pub fn conditions_bytes(&self) -> usize {
        self.decoder.as_ref().map_or(0, conditions_bytes)
    }
}

/// A setting that is one word in TOML.
fn word(setting: impl serde::Serialize) -> toml::Value {
    toml::Value::try_from(setting).expect("settings are plain enums")
}

fn open(dir: &Path, config: &Config) -> Result<Decoder, ModelError> {
    let runtime = OnnxRuntime { device: config.model.device, ..OnnxRuntime::default() };
    Decoder::open(dir, &config.decoder.options(), &runtime)
}

fn clips(config: &Config, decoder: Option<&Decoder>) -> Result<Option<Clips>, PlanError> {
    if config.generator.options().is_none() {
        return Ok(None);
    }
    let decoder = decoder.ok_or(PlanError::NoModel)?;
    let Some(plan) = ClipPlan::make(&config.generator, decoder.manifest())? else {
        return Ok(None);
    };
    plan.check(decoder)?;
    if config.generator.workers.is_some() {
        return Ok(Some(Clips::Elsewhere(Box::new(plan))));
    }
    let maker = ClipMaker::open(plan)?;
    if let Some(reason) = maker.fallback_reason() {
        tracing::info!(reason, "clips are made on the CPU");
    }
    Ok(Some(Clips::Here(Box::new(maker))))
}

fn conditions_bytes(decoder: &Decoder) -> usize {
    match decoder.family() {
        FamilyDecoder::Linear(_) => 0,
        FamilyDecoder::Neurons(neurons) => neurons.sizes().max_bytes(),
    }
}

fn admit(
    header: &RunHeader,
    space: &VoxelSpace,
    trained: Option<RepetitionTime>,
) -> Result<(), String> {
    header.space.check_is(space).map_err(|mismatch| {
        format!("the scan does not lie where the mask was drawn: {mismatch}")
    })?;
    match trained {
        Some(trained) if !header.repetition_time.agrees_with(trained) => Err(format!(
            "the scan's TR is {}, the model was trained with {trained}",
            header.repetition_time
        )),
        _ => Ok(()),
    }
}

/// What the session does, if configuration, mask and model agree.
fn agree(
    config: &Config,
    mask: &SpatialMask,
    manifest: Option<&Manifest>,
) -> Result<SignalOptions, PlanError> {
    if let Some(facts) = manifest.map(|manifest| &manifest.mask) {
        mask.space().check_is(&facts.space).map_err(PlanError::Space)?;
        same("number of voxels", mask.n_voxel(), facts.n_voxel)?;
        same("hash of the mask", mask.hash(), facts.hash.as_str())?;
    }
    let signal = &config.signal;
    let trained = manifest.map(|manifest| &manifest.signal);
    let normalise = &config.normalise;
    let learnt = manifest.map(|manifest| &manifest.normalise);
    let hrf_delay_s = match (signal.hrf_delay_s, trained.map(|t| t.hrf_delay_s)) {
        (Some(found), Some(expected)) if (found - expected).abs() > 1e-6 => {
            return Err(PlanError::Disagreement {
                what: "`hrf_delay_s`",
                found: format!("{found} s"),
                expected: format!("{expected} s"),
            });
        }
        (Some(asked), _) => asked,
        (None, trained) => trained.unwrap_or(DEFAULT_HRF_DELAY_S),
    };
    let mode = pick("normalise `mode`", normalise.mode, learnt.map(|l| l.mode), Mode::default())?;
    Ok(SignalOptions {
        hrf_delay_s,
        shift: pick(
            "`shift`",
            signal.shift,
            trained.map(|t| t.shift),
            ShiftInterpolation::Nearest,
        )?,
        window_volumes: pick(
            "`window_volumes`",
            signal.window_volumes,
            trained.map(|t| t.window_volumes),
            NonZeroUsize::MIN,
        )?,
        discard_volumes: signal.discard_volumes,
        missing: signal.missing,
        max_fill_volumes: signal.max_fill_volumes,
        quality_baseline_volumes: signal.quality_baseline_volumes,
        normalise: NormaliseOptions {
            mode,
            warm_up_volumes: pick(
                "`warm_up_volumes`",
                normalise.warm_up_volumes,
                learnt.and_then(|l| l.warm_up_volumes),
                DEFAULT_WARM_UP_VOLUMES,
            )?,
            baseline_volumes: pick(
                "`baseline_volumes`",
                normalise.baseline_volumes,
                learnt.and_then(|l| l.baseline_volumes.map(std::num::NonZeroU32::get)),
                DEFAULT_BASELINE_VOLUMES,
            )?,
            frozen_mean: pick(
                "`frozen_mean`",
                normalise.frozen_mean,
                learnt.and_then(|l| l.frozen_mean),
                corticast_bold::normalise::FrozenMean::default(),
            )?,
            statistics: learnt.and_then(|l| l.statistics.clone()),
        },
    })
}

/// What is asked for, else what the model was trained with, else the default; refused when the
/// first two differ.
fn pick<T: PartialEq + std::fmt::Debug>(
    what: &'static str,
    asked: Option<T>,
    trained: Option<T>,
    default: T,
) -> Result<T, PlanError> {
    match (asked, trained) {
        (Some(found), Some(expected)) if found != expected => Err(PlanError::Disagreement {
            what,
            found: format!("{found:?}").to_lowercase(),
            expected: format!("{expected:?}").to_lowercase(),
        }),
        (Some(asked), _) => Ok(asked),
        (None, trained) => Ok(trained.unwrap_or(default)),
    }
}

fn same<T: PartialEq + std::fmt::Display>(
    what: &'static str,
    found: T,
    expected: T,
) -> Result<(), PlanError> {
    if found == expected {
        return Ok(());
    }
    Err(PlanError::Disagreement { what, found: found.to_string(), expected: expected.to_string() })
}
