//! The agreed settings as TOML, for `corticast check`, training data and recordings.

use corticast_bold::spatial_mask::SpatialMask;
use corticast_models::decoder::FamilyDecoder;
use toml::Value;

use super::{agree::SignalOptions, clips::ClipPlan};
use crate::config::DecoderConfig;

/// The parts of the agreed settings.
pub(super) struct Agreed<'a> {
    pub(super) mask: &'a SpatialMask,
    pub(super) signal: &'a SignalOptions,
    pub(super) decoder: &'a DecoderConfig,
    /// The model's decoder; `None` without a model.
    pub(super) family: Option<&'a FamilyDecoder>,
    /// `None` when no clips are made.
    pub(super) clips: Option<&'a ClipPlan>,
}

/// The table of the agreed settings: `mask`, `signal`, `normalise`, with a model `decoder`, and
/// with clips `generator`.
pub(super) fn table(agreed: &Agreed<'_>) -> toml::Table {
    let text = |value: &str| Value::String(value.to_owned());
    let integer = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    let space = agreed.mask.space();
    let matrix = space.matrix().map(integer).to_vec();
    let affine = space.affine().iter().map(|r| r.iter().map(|&v| Value::Float(v)).collect());
    let mask = toml::Table::from_iter([
        ("hash".to_owned(), text(agreed.mask.hash())),
        ("kind".to_owned(), text(agreed.mask.kind())),
        ("n_voxel".to_owned(), integer(agreed.mask.n_voxel())),
        ("matrix".to_owned(), Value::Array(matrix)),
        ("affine".to_owned(), Value::Array(affine.map(Value::Array).collect())),
    ]);
    let signal = agreed.signal;
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
        ("across_voxels".to_owned(), Value::Boolean(normalise.across_voxels)),
    ]);
    let mut effective = toml::Table::from_iter([
        ("mask".to_owned(), Value::Table(mask)),
        ("signal".to_owned(), Value::Table(signal_table)),
        ("normalise".to_owned(), Value::Table(normalise_table)),
    ]);
    if let Ok(Value::Table(stages)) = Value::try_from(&signal.stages.settings)
        && !stages.is_empty()
    {
        effective.insert("stages".to_owned(), Value::Table(stages));
    }
    if let Some(FamilyDecoder::Neurons(neurons)) = agreed.family {
        let config = agreed.decoder;
        let heads = neurons.heads().into_iter().map(|head| text(head.name())).collect();
        let decoder = toml::Table::from_iter([
            ("prior".to_owned(), text(if config.prior_steps.is_some() { "ddim" } else { "ddpm" })),
            ("prior_steps".to_owned(), integer(neurons.prior_steps())),
            ("seed".to_owned(), Value::Integer(config.seed.into())),
            ("heads".to_owned(), Value::Array(heads)),
        ]);
        effective.insert("decoder".to_owned(), Value::Table(decoder));
    }
    if let Some(FamilyDecoder::Linear(linear)) = agreed.family
        && let Some(facts) = linear.evidence()
    {
        let evidence = toml::Table::from_iter([
            ("block_s".to_owned(), Value::Float(facts.block_s)),
            ("rest_s".to_owned(), Value::Float(facts.rest_s)),
        ]);
        let decoder = toml::Table::from_iter([("evidence".to_owned(), Value::Table(evidence))]);
        effective.insert("decoder".to_owned(), Value::Table(decoder));
    }
    if let Some(clips) = agreed.clips {
        effective.insert("generator".to_owned(), Value::Table(clips.effective()));
    }
    effective
}

/// A setting whose TOML value is one word.
fn word(setting: impl serde::Serialize) -> toml::Value {
    toml::Value::try_from(setting).expect("settings are plain enums")
}
