//! The session's feedback: the score of a window or a volume, handed to the outputs.

use std::sync::Arc;

use corticast_bold::{time::TrIndex, volume::Window};
use corticast_models::readout::Readouts;

use super::Session;
use crate::{
    product::{Product, feedback::FeedbackReport},
    signal::{feedback::FeedbackStage, open_run::OpenRun, path::Step},
};

impl Session {
    /// Hands the score of a window to `out`, if its source is the model.
    pub(super) fn score_window(
        &mut self,
        run: &Arc<str>,
        window: &Window,
        readouts: Option<&Readouts>,
        step: &Step,
        received_ns: u64,
        out: &mut dyn FnMut(Product),
    ) {
        let feedback = self.path.feedback.as_mut();
        let report = feedback.and_then(|stage| stage.of_window(run, window, readouts, step));
        self.hand_out(report, received_ns, out);
    }

    /// Hands the score of a volume to `out`, if its source is a region.
    pub(super) fn score_volume(
        &mut self,
        index: TrIndex,
        acquisition_time_s: f64,
        step: &Step,
        received_ns: u64,
        out: &mut dyn FnMut(Product),
    ) {
        let Some(open) = &self.run else { return };
        let feedback = self.path.feedback.as_mut();
        let report = feedback
            .and_then(|stage| stage.of_volume(open.name(), index, acquisition_time_s, step));
        if report.is_some() {
            let latency_ns = (self.clock)().saturating_sub(received_ns);
            self.metrics.feedback_latency.record(latency_ns as f64 / 1e9);
        }
        self.hand_out(report, received_ns, out);
    }

    /// Hands out what is shown for a volume that was dropped, if the source is a region.
    pub(super) fn score_lost(
        &mut self,
        index: TrIndex,
        acquisition_time_s: f64,
        received_ns: u64,
        out: &mut dyn FnMut(Product),
    ) {
        let Some(open) = &self.run else { return };
        let feedback = self.path.feedback.as_mut();
        let report =
            feedback.and_then(|stage| stage.of_lost(open.name(), index, acquisition_time_s));
        self.hand_out(report, received_ns, out);
    }

    fn hand_out(
        &mut self,
        report: Option<FeedbackReport>,
        received_ns: u64,
        out: &mut dyn FnMut(Product),
    ) {
        let warning = self.path.feedback.as_mut().and_then(FeedbackStage::take_warning);
        if let Some(message) = warning {
            self.warn(message, out);
        }
        if let Some(report) = report {
            let is_shown = report.score.is_some();
            if is_shown && self.run.as_mut().is_some_and(OpenRun::shown) {
                self.report_run(out);
            }
            let (published_ns, blanked) = ((self.clock)(), self.blanked);
            out(Product::Feedback(FeedbackReport { received_ns, published_ns, blanked, ..report }));
        }
    }
}
