//! The open run of a session: the volumes used so far, and the counts for its reports.

use std::sync::Arc;

use corticast_bold::{
    run::RunHeader,
    state::{Loader, Saver},
    time::TrIndex,
};

use super::{
    happening::{EndedBy, Run, RunNumber},
    path::Step,
};
use crate::{
    intake::run_book::RunBook,
    product::reports::{RunReport, RunState},
};

/// A run from its start to its end.
pub(super) struct OpenRun {
    run: Run,
    /// Counts so far; without the time of publication.
    pub(super) report: RunReport,
    /// Newest index that was used.
    last: Option<TrIndex>,
}

impl OpenRun {
    /// A run without volumes so far.
    pub(super) fn start(run: Run, is_paused: bool) -> Self {
        let mut report = RunReport::start(Arc::clone(&run.name), &run.header);
        if is_paused {
            report.state = RunState::Paused;
        }
        Self { run, report, last: None }
    }

    /// Adds its state to a checkpoint.
    pub(super) fn save(&self, to: &mut Saver) {
        to.u64(self.run.number.0 as u64);
        to.index(self.last);
        to.bytes(&serde_json::to_vec(&self.report).unwrap_or_default());
    }

    /// The open run of a checkpoint. `None` when the bytes do not fit.
    pub(super) fn load(from: &mut Loader<'_>, book: &RunBook) -> Option<Self> {
        let number = RunNumber(usize::try_from(from.u64()?).ok()?);
        let (last, report) = (from.index()?, serde_json::from_slice(from.bytes()?).ok()?);
        Some(Self { run: book.run(number)?.clone(), report, last })
    }

    /// The number of the run in the session.
    pub(super) fn number(&self) -> RunNumber {
        self.run.number
    }

    /// The name of the run.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.run.name
    }

    /// The adapter's description of the run.
    pub(super) fn header(&self) -> &Arc<RunHeader> {
        &self.run.header
    }

    /// Notes the quality of a volume.
    pub(super) fn note(&mut self, step: &Step) {
        let report = &mut self.report;
        report.max_dvars = report.max_dvars.max(step.dvars.unwrap_or(0.0));
        report.max_fd_mm = report.max_fd_mm.max(step.fd_mm.unwrap_or(0.0));
        report.n_spikes = report.n_spikes.saturating_add(u32::from(step.is_spike));
    }

    /// Notes that the volume of an index is used. Returns how many volumes before it are missing.
    pub(super) fn advance(&mut self, index: TrIndex) -> u32 {
        let n_missing = index.0.saturating_sub(self.last.map_or(0, |last| last.next().0));
        self.last = Some(index);
        self.report.n_missing = self.report.n_missing.saturating_add(n_missing);
        n_missing
    }

    /// Counts a volume that arrived after later ones were used.
    pub(super) fn late(&mut self) {
        self.report.n_late += 1;
        // It was counted as missing when later volumes were used.
        self.report.n_missing = self.report.n_missing.saturating_sub(1);
    }

    /// The participant was shown a score. Returns whether it is the first sign of the run that
    /// feedback works.
    pub(super) fn shown(&mut self) -> bool {
        let is_first = !std::mem::replace(&mut self.report.has_shown, true);
        let is_first = is_first && self.report.n_results == 0;
        if is_first {
            self.report.state = RunState::Feedback;
        }
        is_first
    }

    /// Pauses or resumes decoding.
    pub(super) fn set_paused(&mut self, is_paused: bool) {
        let has_result = self.report.n_results > 0 || self.report.has_shown;
        self.report.state = match (is_paused, has_result) {
            (true, _) => RunState::Paused,
            (false, false) => RunState::WarmingUp,
            (false, true) => RunState::Feedback,
        };
    }

    /// Ends the run. Returns how many volumes are missing at its end; these leave no gap, so only
    /// the counts show them.
    pub(super) fn end(&mut self, n_sent: Option<u32>, by: EndedBy) -> u32 {
        let reached = self.last.map_or(0, |last| last.next().0);
        let planned = self.run.header.n_volumes.filter(|_| by == EndedBy::Adapter).unwrap_or(0);
        let n_unreached = planned.max(n_sent.unwrap_or(0)).saturating_sub(reached);
        self.report.n_missing = self.report.n_missing.saturating_add(n_unreached);
        self.report.state = RunState::Ended;
        n_unreached
    }
}
