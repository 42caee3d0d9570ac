//! `corticast check`: checks whether a session could run, without starting it.

use std::{collections::BTreeMap, time::Instant};

use corticast_models::{
    decoder::{Decoder, FamilyDecoder},
    error::ModelError,
    manifest::TensorFacts,
    readout::Watch,
};
use toml::{Table, Value};

use super::{
    ConfigArgs,
    run::{FileArgs, check_files},
};
use crate::{
    config::{Config, wire::TrustError},
    exit::Exit,
    generate::Clips,
    plan::Plan,
    recording::disk,
};

/// Most windows that are timed, and the longest time for them: a published model can take seconds
/// for one.
const MAX_TIMED: usize = 9;
const MAX_TIMED_S: f64 = 2.0;

/// Checks that configuration, model and mask agree, and prints the effective configuration.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    files: FileArgs,
    /// Print JSON instead of TOML
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the session could not run; the error gives the reason.
pub fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    let config: Config = args.config.load(&args.files.overlays())?;
    let security = config.wire.security()?;
    let mut plan = Plan::make(config)?;
    plan.check_outputs()?;
    check_files(&args.config.config, &plan.config, None)?;
    if let Some(endpoint) = &plan.config.generator.workers {
        security.worker.permits(endpoint).map_err(TrustError::from)?;
    }
    let clips = plan.clips.clone().map(|clips| Clips::open(clips, &plan.config.generator));
    let mut clips = clips.transpose()?;
    let mut table: toml::Table = toml::from_str(&plan.config.to_toml())?;
    // The agreed settings replace the configured ones.
    for (name, agreed) in plan.effective() {
        match (table.get_mut(&name), agreed) {
            (Some(toml::Value::Table(asked)), toml::Value::Table(agreed)) => asked.extend(agreed),
            (_, agreed) => {
                table.insert(name, agreed);
            }
        }
    }
    if let (Some(feedback), Some(Value::Table(section))) =
        (&plan.feedback, table.get_mut("feedback"))
    {
        section.extend(feedback.facts(&plan.signal.quality));
    }
    let mut too_slow = None;
    if let Some(decoder) = &mut plan.decoder {
        let times = Times::measure(decoder)?;
        let tr_s = decoder.manifest().signal.repetition_time.as_secs();
        too_slow = (times.whole_s > tr_s).then_some((times.whole_s, tr_s));
        let model = table.entry("model").or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(model) = model {
            model.extend(describe(decoder, &times));
        }
    }
    let mut clips_too_slow = None;
    if let Some(Clips::Here(maker)) = &mut clips {
        let takes_s = maker.trial()?.as_secs_f64();
        let tr_s = maker.plan().repetition_time_s;
        clips_too_slow = (takes_s > tr_s).then_some((takes_s, tr_s));
        if let Some(Value::Table(generator)) = table.get_mut("generator") {
            let provider = Value::String(maker.provider().to_string());
            generator.insert("provider".to_owned(), provider);
            generator.insert("clip_takes_s".to_owned(), seconds(takes_s));
        }
    }
    if args.json {
        super::print_line(&serde_json::to_string_pretty(&table)?)?;
    } else {
        super::print_line(toml::to_string(&table)?.trim_end())?;
    }
    if let Some(reason) = plan.decoder.as_ref().and_then(|d| d.fallback_reason()) {
        eprintln!("note: the model runs on the CPU: {reason}");
    }
    if let Some((whole_s, tr_s)) = too_slow {
        eprintln!(
            "note: a window takes {whole_s:.2} s here and the TR is {tr_s} s, so feedback falls \
             behind: use fewer steps (`prior_steps` in [decoder]) or heads, or a GPU"
        );
    }
    if let Some((takes_s, tr_s)) = clips_too_slow {
        eprintln!(
            "note: a clip takes {takes_s:.2} s here and the TR is {tr_s} s, so not every result \
             gets one: use fewer `steps` in [generator], mode `live` or `still`, or a GPU"
        );
    }
    if let Some(file) = &plan.config.recording.file
        && let Some(free) = disk::free_bytes(file)
    {
        eprintln!("note: {:.1} GB free on the disk of the recording", free as f64 / 1e9);
    }
    if let Some(feedback) = &plan.feedback {
        for line in feedback.lines(plan.config.signal.mask.as_deref())? {
            eprintln!("feedback: {line}");
        }
    }
    eprintln!("ok: configuration, mask and model agree");
    Ok(Exit::Fine)
}

/// How long the model takes for one window.
struct Times {
    whole_s: f64,
    parts_s: BTreeMap<&'static str, f64>,
}

impl Times {
    /// Takes the medians over a few windows of zeros.
    fn measure(decoder: &mut Decoder) -> Result<Self, ModelError> {
        let window = decoder.manifest().zeros();
        let started = Instant::now();
        let mut parts = PartTimes { last: started, seconds: BTreeMap::new() };
        let mut wholes_s = Vec::new();
        while wholes_s.is_empty()
            || (wholes_s.len() < MAX_TIMED && started.elapsed().as_secs_f64() < MAX_TIMED_S)
        {
            let begun = Instant::now();
            parts.last = begun;
            decoder.decode(&window, &mut parts)?;
            wholes_s.push(begun.elapsed().as_secs_f64());
        }
        let parts_s = parts.seconds.into_iter().map(|(part, s)| (part, median(s))).collect();
        Ok(Self { whole_s: median(wholes_s), parts_s })
    }
}

struct PartTimes {
    last: Instant,
    seconds: BTreeMap<&'static str, Vec<f64>>,
}

impl Watch for PartTimes {
    fn done(&mut self, part: &'static str) {
        self.seconds.entry(part).or_default().push(self.last.elapsed().as_secs_f64());
        self.last = Instant::now();
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Seconds, rounded to a microsecond.
fn seconds(s: f64) -> Value {
    Value::Float((s * 1e6).round() / 1e6)
}

/// Describes the model, its networks, the time of a window, and the size of its conditions.
fn describe(decoder: &Decoder, times: &Times) -> Table {
    let manifest = decoder.manifest();
    let text = |value: &str| Value::String(value.to_owned());
    let tensors = |tensors: &[TensorFacts]| {
        Value::Array(tensors.iter().map(|tensor| Value::String(tensor.to_string())).collect())
    };
    let opened = decoder.networks();
    let networks = manifest.networks.iter().map(|network| {
        let found = opened.iter().find(|(role, _)| *role == network.role);
        let provider = found.map(|(_, network)| network.provider().to_string());
        Value::Table(Table::from_iter([
            ("role".to_owned(), text(network.role.name())),
            ("provider".to_owned(), text(provider.as_deref().unwrap_or("not loaded"))),
            ("inputs".to_owned(), tensors(&network.inputs)),
            ("outputs".to_owned(), tensors(&network.outputs)),
        ]))
    });
    let parts = times.parts_s.iter().map(|(part, s)| ((*part).to_owned(), seconds(*s)));
    let mut table = Table::from_iter([
        ("name".to_owned(), text(&manifest.name)),
        ("subject".to_owned(), text(&manifest.subject)),
        ("provider".to_owned(), text(&decoder.provider().to_string())),
        ("repetition_time_s".to_owned(), Value::Float(manifest.signal.repetition_time.as_secs())),
        ("window_takes_s".to_owned(), seconds(times.whole_s)),
    ]);
    if let FamilyDecoder::Neurons(neurons) = decoder.family() {
        let bytes = i64::try_from(neurons.sizes().max_bytes()).unwrap_or(i64::MAX);
        table.insert("conditions_bytes".to_owned(), Value::Integer(bytes));
    }
    table.insert("networks".to_owned(), Value::Array(networks.collect()));
    table.insert("parts_take_s".to_owned(), Value::Table(parts.collect()));
    table.insert("provenance".to_owned(), Value::Table(manifest.provenance.clone()));
    table
}
