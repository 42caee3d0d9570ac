//! The recorded scores of a sham against the design, before a run starts.
//!
//! Both arms are checked alike. Only the TR and the name of the run are unknown before it starts, so
//! each recorded run is held against the design at its own TR.

use std::path::Path;

use corticast_bold::{
    feedback::sham::{RecordedSession, run_label},
    run::RunEntities,
    time::RepetitionTime,
};

use super::FeedbackPlan;
use crate::plan::error::PlanError;

/// A recorded run, in short.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    label: String,
    repetition_time: RepetitionTime,
    n_score: usize,
    n_shown: usize,
}

/// The recorded runs of a session.
pub(super) fn summary(session: &RecordedSession) -> Vec<Recorded> {
    let runs = session.iter().map(|(label, run)| Recorded {
        label: label.clone(),
        repetition_time: run.repetition_time_s,
        n_score: run.scores.len(),
        n_shown: run.scores.iter().filter(|score| score.shown.is_some()).count(),
    });
    runs.collect()
}

impl FeedbackPlan {
    /// Checks every recorded run against the design, and its TR against the model's if there is one.
    ///
    /// # Errors
    ///
    /// Fails on the first run that could not be shown.
    pub(in crate::plan) fn check_recorded(
        &self,
        hrf_delay_s: f64,
        trained: Option<RepetitionTime>,
    ) -> Result<(), PlanError> {
        let Some(sham) = &self.options.sham else { return Ok(()) };
        let wrong = |path: &Path, what: String| {
            PlanError::Feedback(format!(
                "{}: {what}; make the scores with `corticast sham scores`, of a whole session with \
                 this design, and name its runs with `--run`",
                path.display()
            ))
        };
        let wrong = |what| Err(wrong(&sham.scores, what));
        if self.recorded.is_empty() {
            return wrong("no recorded run, expected at least one".to_owned());
        }
        for Recorded { label, repetition_time, n_score, n_shown } in &self.recorded {
            let entities = RunEntities::from_name(&format!("sub-any_{label}"));
            let Some(entities) = entities.filter(|entities| run_label(entities) == *label) else {
                return wrong(format!(
                    "no run is named `{label}`, expected a name as task-nf_run-1"
                ));
            };
            if *n_shown == 0 {
                return wrong(format!(
                    "nothing was shown at any of the {n_score} volumes of `{label}`, expected scores"
                ));
            }
            let mut engine = self.engine(hrf_delay_s)?;
            if let Err(error) = engine.start_run(&entities, *repetition_time) {
                return wrong(error.to_string());
            }
            if let Some(trained) = trained.filter(|tr| !tr.agrees_with(*repetition_time)) {
                return wrong(format!(
                    "the recorded scores of `{label}` have a TR of {repetition_time}, the model was \
                     trained with {trained}"
                ));
            }
        }
        Ok(())
    }

    /// What is known about the sham, and what is not, for `corticast check`.
    pub(super) fn sham_lines(&self) -> Vec<String> {
        let mut lines =
            vec!["real or sham is sealed; the assignment opens with its key".to_owned()];
        for Recorded { label, repetition_time, n_score, n_shown } in &self.recorded {
            lines.push(format!(
                "recorded scores of `{label}`: {n_score} volumes at a TR of {repetition_time}, \
                 something was shown at {n_shown}; they fit the design"
            ));
        }
        let participant = self.participant.as_deref().unwrap_or("n/a");
        lines.push(format!(
            "known only when a run starts: whether it is of participant {participant}, has one of \
             these names and its TR"
        ));
        lines
    }
}
