//! Prepare: training data from the very same signal path.
//!
//! Each run becomes a folder with `data.safetensors` (`windows` `[n, S, V]` f32, `stimulus_time_s`
//! `[n]` f64, `index` `[n]` i64), its `events.tsv`, and `prepared.toml` with what a model that is
//! trained on it has to agree with. With `normalise = "frozen"` the statistics are learnt from
//! all runs first, and stand in `normalise.safetensors` beside the run folders.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use corticast_bold::{
    normalise::{Mode, NormaliseOptions, Statistics, TrainingStatistics},
    volume::{MadeFrom, MaskedVolume, ShiftInterpolation, Window},
};
use corticast_wire::message::{FromAdapter, Mark};
use safetensors::{Dtype, tensor::TensorView};

use crate::{
    clock::monotonic_ns,
    config::Config,
    metrics::Metrics,
    plan::{Plan, agree::SignalOptions, error::PlanError},
    product::Product,
    replay::{Fed, Player, ReplayError, Source},
    signal::{
        path::SignalPath,
        session::{Session, WindowTap},
    },
};

/// Name of the frozen statistics beside the run folders.
const STATISTICS: &str = "normalise.safetensors";

/// Why training data cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Configuration and mask do not agree.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A run cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The output cannot be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// There are too few volumes to learn the statistics from.
    #[error("the runs hold fewer than two volumes after the warm-up; nothing can be learnt")]
    TooFew,
    /// One file of events cannot belong to several runs.
    #[error(
        "{path} holds {n_run} runs, and one events.tsv was named for them; leave it out: the recorded marks are used"
    )]
    Events {
        /// Which recording.
        path: PathBuf,
        /// Its runs.
        n_run: usize,
    },
    /// A run gave no window.
    #[error(
        "`{run}` gave no window: it is shorter than warm-up, delay and window together, or its \
         volumes could not be used"
    )]
    Empty {
        /// Which run.
        run: String,
    },
}

/// What was written for one run.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedRun {
    /// Its name, and that of its folder.
    pub run: String,
    /// Windows written.
    pub n_window: usize,
}

struct Collected {
    windows: Vec<f32>,
    stimulus_time_s: Vec<f64>,
    index: Vec<i64>,
}

/// Windows of each run, in the order in which the runs came.
type Runs = Arc<Mutex<Vec<(String, Collected)>>>;

/// Makes training data of these runs in `out`. `progress` sees each volume.
///
/// # Errors
///
/// Fails when a run cannot be read, does not fit the mask, or gives nothing, or when the
/// output cannot be written.
pub fn prepare(
    mut config: Config,
    sources: &[Source],
    out: &Path,
    progress: &mut dyn FnMut(Option<u32>),
) -> Result<Vec<PreparedRun>, PrepareError> {
    // Training data comes before the model.
    config.model.dir = None;
    let frozen = config.normalise.mode == Some(Mode::Frozen);
    let statistics = frozen.then(|| learn(config.clone(), sources, progress)).transpose()?;
    if let Some(statistics) = &statistics {
        write_statistics(&out.join(STATISTICS), statistics)?;
    }
    let written_config = config.to_toml();
    let mut plan = Plan::make(config)?;
    plan.signal.normalise.statistics = statistics;
    let effective = plan.effective();
    let shape = [plan.signal.window_volumes.get(), plan.mask.n_voxel()];
    let (runs, played) = play(plan, sources, progress)?;
    let runs = Arc::into_inner(runs).map(Mutex::into_inner);
    let runs = runs.and_then(Result::ok).expect("the session that shared them is gone");
    let mut prepared = Vec::new();
    for played in &played {
        let run = &played.run;
        let collected = runs.iter().find(|(name, _)| name == run).map(|(_, collected)| collected);
        let Some(collected) = collected else {
            return Err(PrepareError::Empty { run: run.clone() });
        };
        let folder = out.join(run);
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        write_windows(&folder.join("data.safetensors"), collected, shape)?;
        write_events(&folder.join("events.tsv"), played)?;
        let path = folder.join("prepared.toml");
        std::fs::write(&path, describe(played, &effective, &written_config))
            .map_err(|error| failed(&path, &error))?;
        prepared.push(PreparedRun { run: run.clone(), n_window: collected.index.len() });
    }
    Ok(prepared)
}

/// The events that were named, or the marks that came with the run.
fn write_events(path: &Path, played: &Played) -> Result<(), PrepareError> {
    if let Some(events) = &played.events {
        return std::fs::copy(events, path).map(|_| ()).map_err(|error| failed(events, &error));
    }
    if played.marks.is_empty() {
        tracing::warn!(run = played.run, "no events are known: nothing can be trained on this run");
        return Ok(());
    }
    let mut text = "onset\tduration\ttrial_type\n".to_owned();
    for mark in &played.marks {
        let duration_s = mark.value.unwrap_or(0.0);
        text += &format!("{}\t{duration_s}\t{}\n", mark.time_s, mark.name);
    }
    std::fs::write(path, text).map_err(|error| failed(path, &error))
}

/// Statistics of what [`Mode::Frozen`] divides by, over all runs.
fn learn(
    config: Config,
    sources: &[Source],
    progress: &mut dyn FnMut(Option<u32>),
) -> Result<Statistics, PrepareError> {
    // Without normalisation, delay and window, each window is one masked volume.
    let bare = Config {
        normalise: crate::config::NormaliseConfig {
            mode: Some(Mode::None),
            ..config.normalise.clone()
        },
        ..config
    };
    let mut plan = Plan::make(bare)?;
    let options = plan.signal.normalise.clone();
    plan.signal = SignalOptions {
        hrf_delay_s: 0.0,
        shift: ShiftInterpolation::Nearest,
        window_volumes: std::num::NonZeroUsize::MIN,
        normalise: NormaliseOptions { mode: Mode::None, ..options.clone() },
        ..plan.signal
    };
    let learnt = TrainingStatistics::new(&options, plan.mask.n_voxel());
    let learnt = Arc::new(Mutex::new((String::new(), learnt)));
    let shared = Arc::clone(&learnt);
    let tap: WindowTap = Box::new(move |run, window| {
        let (current, learnt) = &mut *shared.lock().unwrap_or_else(PoisonError::into_inner);
        if current != run {
            learnt.start_run();
            run.clone_into(current);
        }
        learnt.update(&MaskedVolume {
            tr: window.tr,
            acquisition_time_s: window.acquisition_time_s,
            bold: window.bold.row(0).to_owned(),
            made_from: window.made_from,
        });
    });
    play_with(plan, sources, tap, progress)?;
    let (_, learnt) = &*learnt.lock().unwrap_or_else(PoisonError::into_inner);
    learnt.finish().ok_or(PrepareError::TooFew)
}

/// One run that was fed through the signal path.
struct Played {
    run: String,
    repetition_time_s: f64,
    /// Name of its file.
    bold: String,
    /// Events that were named with it.
    events: Option<PathBuf>,
    /// Marks that came with it.
    marks: Vec<Mark>,
}

fn play(
    plan: Plan,
    sources: &[Source],
    progress: &mut dyn FnMut(Option<u32>),
) -> Result<(Runs, Vec<Played>), PrepareError> {
    let runs = Runs::default();
    let shared = Arc::clone(&runs);
    let tap: WindowTap = Box::new(move |run, window| {
        collect(&mut shared.lock().unwrap_or_else(PoisonError::into_inner), run, window);
    });
    let times = play_with(plan, sources, tap, progress)?;
    Ok((runs, times))
}

fn collect(runs: &mut Vec<(String, Collected)>, run: &str, window: &Window) {
    // A model is trained on what was measured; what was filled in is for the participant.
    if window.made_from != MadeFrom::Measured {
        return;
    }
    if runs.last().is_none_or(|(name, _)| name != run) {
        let empty = Collected { windows: vec![], stimulus_time_s: vec![], index: vec![] };
        runs.push((run.to_owned(), empty));
    }
    let Some((_, collected)) = runs.last_mut() else { return };
    collected.windows.extend(window.bold.iter());
    collected.stimulus_time_s.push(window.stimulus_time_s);
    collected.index.push(i64::from(window.tr.0));
}

fn play_with(
    plan: Plan,
    sources: &[Source],
    tap: WindowTap,
    progress: &mut dyn FnMut(Option<u32>),
) -> Result<Vec<Played>, PrepareError> {
    let metrics = Metrics::new();
    let admission = plan.admission();
    let copies = plan.config.signal.content_duplicates;
    let resequence = plan.config.signal.resequence_volumes;
    let path: SignalPath =
        SignalPath::of(plan, metrics.clone(), monotonic_ns).map_err(PlanError::from)?;
    let session = Session::new(path, resequence, metrics, monotonic_ns).with_tap(tap);
    let mut player = Player::new(session, admission, copies, 0.0);
    let mut played: Vec<Played> = Vec::new();
    for source in sources {
        let bold = source.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut runs: Vec<Played> = Vec::new();
        let mut marks: Vec<Mark> = Vec::new();
        let mut out = |product: Product| match product {
            Product::Run(report) if runs.last().is_none_or(|last| *last.run != *report.run) => {
                runs.push(Played {
                    run: report.run.to_string(),
                    repetition_time_s: report.repetition_time_s,
                    bold: bold.clone(),
                    events: source.events.clone(),
                    marks: Vec::new(),
                });
            }
            Product::Status(status) => tracing::warn!("{}", status.message),
            _ => {}
        };
        let mut log = |fed: &Fed, _: u64| {
            if let Fed::Message(frames) = fed
                && let Ok((FromAdapter::Mark(mark), _)) = FromAdapter::parse(frames)
            {
                marks.push(mark);
            }
        };
        player.play(source, &mut log, &mut out, progress)?;
        if runs.len() > 1 && source.events.is_some() {
            return Err(PrepareError::Events { path: source.path.clone(), n_run: runs.len() });
        }
        for run in &mut runs {
            run.marks = marks.iter().filter(|mark| mark.run == run.run).cloned().collect();
        }
        played.append(&mut runs);
    }
    Ok(played)
}

fn describe(played: &Played, effective: &toml::Table, config: &str) -> String {
    use toml::Value;
    let mut facts = toml::Table::new();
    facts.insert("format".to_owned(), Value::Integer(1));
    facts.insert("run".to_owned(), Value::String(played.run.clone()));
    facts.insert("bold".to_owned(), Value::String(played.bold.clone()));
    facts.extend(effective.clone());
    if let Some(Value::Table(signal)) = facts.get_mut("signal") {
        signal.insert("repetition_time_s".to_owned(), Value::Float(played.repetition_time_s));
    }
    if let Some(Value::Table(normalise)) = facts.get_mut("normalise")
        && normalise.get("mode").and_then(Value::as_str) == Some("frozen")
    {
        let path = format!("../{STATISTICS}");
        normalise.insert("statistics".to_owned(), Value::String(path));
    }
    let config = toml::from_str(config).expect("it was just written");
    facts.insert("config".to_owned(), Value::Table(config));
    toml::to_string(&facts).expect("facts are tables of plain values")
}

fn write_windows(
    path: &Path,
    collected: &Collected,
    [n_tr, n_voxel]: [usize; 2],
) -> Result<(), PrepareError> {
    let n = collected.index.len();
    let windows = bytes_of(&collected.windows, f32::to_le_bytes);
    let times = bytes_of(&collected.stimulus_time_s, f64::to_le_bytes);
    let index = bytes_of(&collected.index, i64::to_le_bytes);
    write_tensors(
        path,
        &[
            ("windows", Dtype::F32, vec![n, n_tr, n_voxel], &windows),
            ("stimulus_time_s", Dtype::F64, vec![n], &times),
            ("index", Dtype::I64, vec![n], &index),
        ],
    )
}

fn write_statistics(path: &Path, statistics: &Statistics) -> Result<(), PrepareError> {
    let mean = bytes_of(&statistics.mean.to_vec(), f32::to_le_bytes);
    let sd = bytes_of(&statistics.sd.to_vec(), f32::to_le_bytes);
    let shape = vec![statistics.mean.len()];
    let tensors = [("mean", Dtype::F32, shape.clone(), &mean), ("sd", Dtype::F32, shape, &sd)];
    write_tensors(path, &tensors)
}

fn bytes_of<T: Copy, const N: usize>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to_bytes(value)).collect()
}

fn write_tensors(
    path: &Path,
    tensors: &[(&str, Dtype, Vec<usize>, &Vec<u8>)],
) -> Result<(), PrepareError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let mut views = HashMap::new();
    for (name, dtype, shape, bytes) in tensors {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        views.insert(*name, view.map_err(|error| failed(path, &error))?);
    }
    safetensors::serialize_to_file(views, None, path).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> PrepareError {
    PrepareError::Write { path: path.to_owned(), reason: error.to_string() }
}
