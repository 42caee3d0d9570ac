//! What is done when no file comes: when a run gives way to the next series, when an export has
//! stalled, and when volumes wait no longer.

use std::time::{Duration, Instant};

use corticast_bold::time::RepetitionTime;
use corticast_images::error::AdapterError;

use super::{DicomAdapter, Series, State};

/// A series begins only after the one before it was silent for this many repetition times: files
/// of both may come out of order.
const SILENT_TRS: f64 = 1.5;
/// An export that is silent for this many repetition times has stalled, or the run is over.
const STALLED_TRS: f64 = 2.0;
/// Slices whose number is not known are a volume after this long without a file.
const SLICES_AFTER: Duration = Duration::from_secs(2);

impl DicomAdapter {
    /// Whether the series that is ready may begin now, and when it may otherwise.
    pub(super) fn successor(&self) -> Option<Instant> {
        self.ready.front()?;
        let tr = self.series.get(self.current.as_ref()?)?.repetition_time()?;
        let silent = if self.options.once { 0.0 } else { SILENT_TRS };
        Some(self.last_volume + Duration::from_secs_f64(silent * tr.as_secs()))
    }

    /// What is due when no file comes: at the earliest of these times.
    pub(super) fn due(&self) -> Option<Instant> {
        let waits = self.series.values().any(|series| {
            series.has_slices() || series.state == State::Waiting && !series.held.is_empty()
        });
        let slices = waits.then(|| self.last_file + SLICES_AFTER);
        let first = self.unnumbered().map(|(_, until)| until).min();
        let tr = self.current.as_ref().and_then(|id| self.series.get(id)?.repetition_time());
        let stall = tr.filter(|_| !self.is_stalled).map(|tr| self.last_volume + self.stalled(tr));
        let pause = (self.current.is_some() && !self.is_paused)
            .then(|| self.last_volume + self.options.end_after_s);
        [slices, first, stall, pause, self.successor()].into_iter().flatten().min()
    }

    /// Series whose first volumes wait for another one, and until when.
    fn unnumbered(&self) -> impl Iterator<Item = (&String, Instant)> {
        self.series.iter().filter_map(|(id, series)| {
            let is_waiting = !series.is_numbered() && !series.held.is_empty();
            Some((id, series.first_came.filter(|_| is_waiting)? + series.wait()))
        })
    }

    fn stalled(&self, tr: RepetitionTime) -> Duration {
        // Polling sees a file only after two looks.
        Duration::from_secs_f64(STALLED_TRS * tr.as_secs())
            + 2 * Duration::from_millis(self.options.poll_ms)
    }

    /// Does what is due after a silence.
    pub(super) fn quiet(&mut self) -> Result<(), AdapterError> {
        // A signal may end the program while nothing comes.
        self.count_losses();
        let now = Instant::now();
        let due = self.unnumbered().filter(|(_, until)| *until <= now);
        let due: Vec<String> = due.map(|(id, _)| id.clone()).collect();
        for id in due {
            self.begin(&id);
            self.try_start(&id, false)?;
        }
        if now >= self.last_file + SLICES_AFTER {
            let is_late = now >= self.last_file + self.options.end_after_s;
            let waiting = self.series.iter().filter(|(_, series)| {
                series.has_slices() || series.state == State::Waiting && !series.held.is_empty()
            });
            let waiting: Vec<String> = waiting.map(|(id, _)| id.clone()).collect();
            // Only once for each silence.
            self.last_file = now;
            for id in waiting {
                if self.series.get(&id).is_some_and(Series::counts_slices) {
                    self.flush(&id, is_late)?;
                } else if is_late {
                    self.try_start(&id, true)?;
                }
            }
        }
        let Some(series) = self.current.as_ref().and_then(|id| self.series.get(id)) else {
            return Ok(());
        };
        let Some((tr, header)) = series.repetition_time().zip(series.header.as_ref()) else {
            return Ok(());
        };
        let silent = now.saturating_duration_since(self.last_volume);
        if !self.is_stalled && silent >= self.stalled(tr) {
            self.is_stalled = true;
            tracing::warn!(
                run = header.run_id(),
                "no volume for {:.1} s, more than {STALLED_TRS} TR: the export has stalled, or \
                 the scan is over",
                silent.as_secs_f64()
            );
        }
        if !self.is_paused && silent >= self.options.end_after_s {
            self.is_paused = true;
            tracing::info!(
                run = header.run_id(),
                missing = series.n_missing(),
                "no volume for {:.1} s: the run is taken to be over. It stays open until the \
                 next series begins, and goes on if its own series does",
                silent.as_secs_f64()
            );
        }
        Ok(())
    }
}
