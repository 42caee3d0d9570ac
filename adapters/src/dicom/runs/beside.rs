//! Series that were acquired at the same times as a run: filtered copies, other reconstructions, echoes
//! with a series of their own. The series that comes first is the run, the others are left out. Files
//! that are there when the adapter starts come in order of acquisition, and of series acquired at one
//! time the one with the shortest echo and the lowest number comes first. So a folder that is watched and one that is read once give the
//! same runs.

use std::time::{Duration, Instant};

use corticast_images::error::AdapterError;

use super::{DicomAdapter, Next, Scan, Series, State};
use crate::dicom::clock::Moment;

/// Files that came together with the first one of a series are read before a run is chosen.
const TOGETHER: Duration = Duration::from_millis(1);
/// Most of these files.
const MOST_TOGETHER: usize = 16;

/// Whether a series covers the times of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    No,
    /// Both have one volume, so it may be one that was acquired before the run's series goes on, such
    /// as a single-band reference.
    Perhaps,
    Yes,
}

impl DicomAdapter {
    /// Whether a series of this scan covers the times of one that is or was a run. `time` is that of an
    /// image that it does not have yet.
    pub(super) fn beside(&self, scan: &Scan, time: Option<Moment>) -> Beside {
        let own = self.series.get(&scan.series_id);
        let start = own.and_then(Series::first_time).or(time);
        let mut beside = Beside::No;
        // Exports without dates have the same times of day in every visit.
        let is_other_visit =
            |run: &Series| run.scan.study.zip(scan.study).is_some_and(|(a, b)| a != b);
        let runs = self.series.iter().filter(|(id, series)| {
            **id != scan.series_id
                && matches!(series.state, State::Run | State::Over)
                && !is_other_visit(series)
        });
        for (_, run) in runs.filter(|(_, run)| run.was_scanning(start) == Some(true)) {
            if run.n_volume() > 1 {
                return Beside::Yes;
            }
            let goes_on = own.is_some_and(|own| {
                // A clock that stands still tells nothing.
                let is_still = own.first_time() == own.last_time();
                own.n_volume() > 1 && (is_still || run.was_scanning(own.last_time()) != Some(true))
            });
            if !goes_on {
                beside = Beside::Perhaps;
            }
        }
        beside
    }

    /// The series that becomes the next run, if one is ready.
    pub(super) fn next_ready(&mut self) -> Result<Option<String>, AdapterError> {
        if !self.options.once && !self.ready.is_empty() {
            let until = Instant::now() + TOGETHER;
            for _ in 0..MOST_TOGETHER {
                let Next::Image(read) = self.intake.next(Some(until)) else { break };
                self.take(*read)?;
            }
        }
        let Some(first) = self.ready.front().and_then(|id| self.series.get(id)) else {
            return Ok(None);
        };
        let is_together = |series: &Series| first.was_scanning(series.first_time()) == Some(true);
        let rank = |series: &Series| {
            let echo_us = series.scan.echo.time_ms.map(|ms| (ms * 1e3) as i64);
            (echo_us, series.scan.series_number.unwrap_or(u32::MAX))
        };
        let together = self.ready.iter().filter(|id| {
            self.series.get(*id).is_some_and(|s| std::ptr::eq(s, first) || is_together(s))
        });
        let id = together.min_by_key(|id| self.series.get(*id).map(rank)).cloned();
        let Some(id) = id else { return Ok(None) };
        self.ready.retain(|ready| *ready != id);
        let scan = self.series.get(&id).map(|series| &series.scan);
        if scan.is_some_and(|scan| self.beside(scan, None) == Beside::Yes) {
            self.leave_out_series(&id);
            return self.next_ready();
        }
        Ok(Some(id))
    }
}
