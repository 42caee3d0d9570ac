//! The scores of a recorded session, in the form in which a sham shows them to another participant.
//!
//! They are what the participant was *shown*: nothing where the operator had blanked the feedback,
//! and the sham where that participant had one. The recording describes its design itself.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use corticast_bold::{
    feedback::{
        design::Block,
        sham::{RecordedRun, RecordedScore, RecordedSession, run_label},
    },
    time::TrIndex,
};
use serde::Deserialize;

use crate::{
    recording::{format::SESSION, log::Log, reader::RecordingError},
    signal::happening::{Event, Run},
};

/// Why a recording gives no scores.
#[derive(Debug, thiserror::Error)]
pub enum ScoresError {
    /// It cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Part of it is lost, so scores may be missing.
    #[error("the recording is damaged, so scores may be missing: {0}")]
    Damaged(String),
    /// The session had no feedback.
    #[error("the recording has no [feedback]: expected a session that gave scores")]
    NoFeedback,
    /// No run has scores, or not the one that was asked for.
    #[error("no scores of run `{asked}`, found those of {found:?}")]
    NoRun {
        /// Name that was asked for.
        asked: String,
        /// Runs with scores.
        found: Vec<String>,
    },
    /// A repeated run.
    #[error("runs {found:?} are both `{label}`; name the one to use with --run")]
    Twice {
        /// Their label without participant and session.
        label: String,
        /// Their names.
        found: [String; 2],
    },
}

/// A recorded score, as far as it is used here.
#[derive(Deserialize)]
struct Line {
    run: String,
    index: TrIndex,
    stimulus_time_s: f64,
    score: Option<f64>,
    blanked: bool,
}

/// The part of a session's description that is used here.
#[derive(Deserialize)]
struct Description {
    feedback: Option<Feedback>,
}

#[derive(Deserialize)]
struct Feedback {
    blocks: Vec<Block>,
}

/// The scores of all runs, or of the runs `asked`.
///
/// # Errors
///
/// Fails when the recording cannot be read or is damaged, when it has no scores, and when two runs
/// have the same label.
pub fn scores(recording: &Path, asked: &[String]) -> Result<RecordedSession, ScoresError> {
    let mut blocks: Option<Vec<Block>> = None;
    let mut runs: BTreeMap<Arc<str>, (Run, Vec<RecordedScore>)> = BTreeMap::new();
    let mut log = Log::open(recording)?;
    for (entry, events) in &mut log {
        for event in events {
            if let Event::RunStarted(run) = event {
                runs.insert(Arc::clone(&run.name), (run, Vec::new()));
            }
        }
        if entry.topic == SESSION {
            let description: Option<Description> = serde_json::from_slice(&entry.data).ok();
            let found = description.and_then(|session| session.feedback);
            blocks = blocks.or(found.map(|feedback| feedback.blocks));
        }
        if entry.topic == "feedback"
            && let Ok(line) = serde_json::from_slice::<Line>(&entry.data)
            && let Some((_, scores)) = runs.get_mut(line.run.as_str())
        {
            let Line { index, stimulus_time_s, score, blanked, .. } = line;
            let shown = score.filter(|_| !blanked);
            scores.push(RecordedScore { index, stimulus_time_s, shown });
        }
    }
    log.recording().check_read()?;
    if !log.recording().is_whole() {
        return Err(ScoresError::Damaged(log.recording().faults().to_string()));
    }
    let blocks = blocks.ok_or(ScoresError::NoFeedback)?;
    runs.retain(|_, (_, scores)| !scores.is_empty());
    let names = |runs: &BTreeMap<Arc<str>, _>| runs.keys().map(ToString::to_string).collect();
    let missing = asked.iter().find(|asked| !runs.contains_key(asked.as_str()));
    let missing = missing.cloned().or_else(|| runs.is_empty().then(|| "any".to_owned()));
    if let Some(asked) = missing {
        return Err(ScoresError::NoRun { asked, found: names(&runs) });
    }
    let mut session = RecordedSession::new();
    let mut of_label: BTreeMap<String, String> = BTreeMap::new();
    for (name, (run, scores)) in runs {
        if !asked.is_empty() && !asked.iter().any(|asked| **asked == *name) {
            continue;
        }
        let label = run_label(&run.header.entities);
        if let Some(before) = of_label.insert(label.clone(), name.to_string()) {
            return Err(ScoresError::Twice { label, found: [before, name.to_string()] });
        }
        let repetition_time_s = run.header.repetition_time;
        session.insert(label, RecordedRun { repetition_time_s, blocks: blocks.clone(), scores });
    }
    Ok(session)
}
