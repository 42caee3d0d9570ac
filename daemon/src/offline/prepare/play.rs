//! Feeds runs through the signal path and collects their windows.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use corticast_bold::volume::{MadeFrom, Window};
use corticast_wire::message::{FromAdapter, Mark};

use super::error::PrepareError;
use crate::{
    clock::monotonic_ns,
    metrics::Metrics,
    offline::{
        replay::{Input, Player},
        source::Source,
    },
    plan::Plan,
    product::Product,
    signal::{
        path::SignalPath,
        session::{Session, WindowTap},
    },
};

pub(super) struct Collected {
    pub(super) windows: Vec<f32>,
    pub(super) stimulus_time_s: Vec<f64>,
    pub(super) index: Vec<i64>,
}

/// Windows of each run, in the order of the runs.
pub(super) type Runs = Arc<Mutex<Vec<(String, Collected)>>>;

/// One run that was fed through the signal path.
pub(super) struct Played {
    pub(super) run: String,
    pub(super) repetition_time_s: f64,
    /// Name of the source file.
    pub(super) bold: String,
    /// The events file given with the source.
    pub(super) events: Option<PathBuf>,
    /// Marks of the run.
    pub(super) marks: Vec<Mark>,
}

pub(super) fn play(
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
    // Train on measured volumes only; interpolated and held ones are for live feedback.
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

pub(super) fn play_with(
    plan: Plan,
    sources: &[Source],
    tap: WindowTap,
    progress: &mut dyn FnMut(Option<u32>),
) -> Result<Vec<Played>, PrepareError> {
    let metrics = Metrics::new();
    let admission = plan.admission();
    let copies = plan.config.signal.content_duplicates;
    let resequence = plan.config.signal.resequence_volumes;
    let path: SignalPath = SignalPath::of(plan, metrics.clone(), monotonic_ns)?;
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
        let mut log = |input: &Input, _: u64| {
            if let Input::Message(frames) = input
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
            run.marks = marks
                .iter()
                // Triggers are no conditions to train on.
                .filter(|mark| mark.run == run.run && !mark.is_trigger())
                .cloned()
                .collect();
        }
        played.append(&mut runs);
    }
    Ok(played)
}
