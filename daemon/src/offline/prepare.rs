//! Prepare: makes training data with the signal path of a live session.
//!
//! Each run becomes a folder with `data.safetensors` (`windows` `[n, S, V]` f32, `stimulus_time_s`
//! `[n]` f64, `index` `[n]` i64), its `events.tsv`, and `prepared.toml` with the settings that a
//! model trained on it must match. With `normalise = "frozen"` the statistics are first learnt
//! from all runs, and written to `normalise.safetensors` beside the run folders.

pub mod error;
mod play;
mod write;

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use corticast_bold::{
    normalise::{Mode, NormaliseOptions, Statistics},
    training_statistics::TrainingStatistics,
    volume::{Confounds, MaskedVolume, ShiftInterpolation},
};
use corticast_wire::files::apart::Kind;

use self::{
    error::{PrepareError, failed},
    play::{play, play_with},
    write::{STATISTICS, describe, write_events, write_statistics, write_windows},
};
use super::{files::Files, source::Source};
use crate::{
    config::{Config, NormaliseConfig},
    plan::{Plan, agree::SignalOptions},
    signal::session::WindowTap,
};

/// A run that was prepared.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedRun {
    /// Name of the run and of its folder.
    pub run: String,
    /// Windows written.
    pub n_window: usize,
}

/// Makes training data from these runs in `out`. `inputs` are the files of the configuration, into
/// which nothing is written. `progress` is called for each volume.
///
/// # Errors
///
/// Fails when a run cannot be read, does not match the mask or gives no window, or when the
/// output cannot be written.
pub fn prepare(
    mut config: Config,
    sources: &[Source],
    inputs: &Files,
    out: &Path,
    progress: &mut dyn FnMut(Option<u32>),
) -> Result<Vec<PreparedRun>, PrepareError> {
    // There is no model yet: this is its training data. Nobody is shown anything either, so a
    // configuration for sessions serves as it is.
    config.model.dir = None;
    config.feedback = None;
    let admission = Plan::make(config.clone())?.admission();
    sources.iter().try_for_each(|source| source.check(&admission).map(drop))?;
    let frozen = config.normalise.mode == Some(Mode::Frozen);
    let statistics = frozen.then(|| learn(config.clone(), sources, progress)).transpose()?;
    let written_config = config.to_toml();
    let mut plan = Plan::make(config)?;
    plan.signal.normalise.statistics = statistics.clone();
    let effective = plan.effective();
    let shape = [plan.signal.window_volumes.get(), plan.mask.n_voxel()];
    let (runs, played) = play(plan, sources, progress)?;
    let runs = Arc::into_inner(runs).map(Mutex::into_inner);
    let runs = runs.and_then(Result::ok).expect("the session that shared them is gone");
    let mut complete = Vec::new();
    for played in &played {
        let run = &played.run;
        let collected = runs.iter().find(|(name, _)| name == run).map(|(_, collected)| collected);
        let collected = collected.ok_or_else(|| PrepareError::Empty { run: run.clone() })?;
        complete.push((played, collected));
    }
    // Nothing is written until every run is known to be good, and no file of it an input.
    let mut files = inputs.clone();
    sources.iter().for_each(|source| files.source(source));
    files.output("--out", statistics.as_ref().map(|_| out.join(STATISTICS)).as_deref(), Kind::File);
    for (played, _) in &complete {
        for name in ["data.safetensors", "events.tsv", "prepared.toml"] {
            files.output("--out", Some(&out.join(&played.run).join(name)), Kind::File);
        }
    }
    files.check()?;
    if let Some(statistics) = &statistics {
        write_statistics(&out.join(STATISTICS), statistics)?;
    }
    let mut prepared = Vec::new();
    for (played, collected) in complete {
        let run = &played.run;
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

/// Mean and standard deviation for [`Mode::Frozen`], over all runs.
fn learn(
    config: Config,
    sources: &[Source],
    progress: &mut dyn FnMut(Option<u32>),
) -> Result<Statistics, PrepareError> {
    // Without normalisation, delay and window, each window is one masked volume.
    let bare = Config {
        normalise: NormaliseConfig { mode: Some(Mode::None), ..config.normalise.clone() },
        ..config
    };
    let mut plan = Plan::make(bare)?;
    let options = plan.signal.normalise.clone();
    plan.signal = SignalOptions {
        hrf_delay_s: 0.0,
        shift: ShiftInterpolation::Nearest,
        window_volumes: NonZeroUsize::MIN,
        normalise: NormaliseOptions { mode: Mode::None, across_voxels: false, ..options.clone() },
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
            confounds: Confounds::default(),
        });
    });
    play_with(plan, sources, tap, progress)?;
    let (_, learnt) = &*learnt.lock().unwrap_or_else(PoisonError::into_inner);
    learnt.finish().ok_or(PrepareError::TooFew)
}
