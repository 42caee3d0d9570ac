//! What was lost, refused or left out, and the end of a run that tells it.

use std::sync::atomic::Ordering;

use super::{Counts, DicomAdapter, Left, Scan, State};
use crate::dicom::{numbering::NoNumber, series::Refusal};

/// Most reasons, of all series, that are named in the log.
const MAX_NAMED: usize = 4096;

impl DicomAdapter {
    /// Counts an image that gives no volume.
    pub(super) fn refuse(&mut self, file: &str, reason: &Refusal) {
        if matches!(reason, Refusal::Number(NoNumber::Copy)) {
            self.intake.counts.duplicates += 1;
            tracing::debug!(file, %reason, "file skipped");
            return;
        }
        self.intake.counts.refused += 1;
        tracing::warn!(file, %reason, "file skipped");
    }

    /// Notes an image that is left out. Each kind of each series is named once.
    pub(super) fn leave_out(&mut self, scan: &Scan, left: Left) {
        self.intake.counts.left_out += 1;
        self.name_left_out(scan, left);
    }

    fn name_left_out(&mut self, scan: &Scan, left: Left) {
        if self.left.len() < MAX_NAMED && self.left.insert((scan.series_id.clone(), left)) {
            let series = scan.series_number.map_or("without number".into(), |n| n.to_string());
            tracing::info!("series {series}: left out: {left}");
        }
    }

    /// Leaves out a whole series, because it covers the times of a run.
    pub(super) fn leave_out_series(&mut self, series_id: &str) {
        let n = self.drop_held(series_id);
        self.intake.counts.left_out += n;
        self.ready.retain(|ready| ready != series_id);
        let Some(series) = self.series.get_mut(series_id) else { return };
        series.state = State::Beside;
        if n > 0 {
            let scan = series.scan.clone();
            self.name_left_out(&scan, Left::Beside(scan.series_number));
        }
    }

    pub(super) fn end_run(&mut self) {
        self.count_losses();
        let Some(series) = self.current.take().and_then(|id| self.series.get_mut(&id)) else {
            return;
        };
        series.state = State::Over;
        let Some(header) = &series.header else { return };
        let (run, missing) = (header.run_id(), series.n_missing());
        let Counts { duplicates, refused, given_up, left_out, other_files, .. } =
            self.intake.counts;
        tracing::info!(
            run,
            missing,
            duplicates,
            refused,
            given_up,
            left_out,
            other_files,
            "run ended"
        );
    }

    /// Counts what was lost, so that the program's exit code can tell. The images that were lost on
    /// their way into the folder are counted in the same place.
    pub(super) fn count_losses(&mut self) {
        let is_here = |image: &Option<(String, u64)>| {
            let Some((series_id, instance)) = image else { return false };
            self.series.get(series_id).is_some_and(|series| series.has(*instance))
        };
        let cut = self.intake.incomplete.iter().filter(|image| !is_here(image)).count() as u64;
        let n = self.intake.counts.refused + cut;
        self.losses.fetch_add(n, Ordering::Relaxed);
        // A file that was cut may have been completed.
        self.losses.fetch_sub(std::mem::replace(&mut self.n_counted, n), Ordering::Relaxed);
    }
}
