//! The session in a restart: its state in a checkpoint, and the results that were published before.

use std::sync::Arc;

use corticast_bold::{
    state::{Loader, Saver},
    time::TrIndex,
    volume::Window,
};

use super::{OpenRun, Resequence, ResultKey, Session};
use crate::intake::run_book::RunBook;

impl Session {
    /// Adds its state to a checkpoint. `None` while a volume waits for an earlier one: its bytes
    /// are not part of the state.
    pub(in crate::signal) fn save(&self, to: &mut Saver) -> Option<()> {
        if !self.resequence.is_empty() {
            return None;
        }
        to.u32(u32::from(self.paused));
        to.u32(u32::from(self.blanked));
        to.u64(u64::from(self.n_lost));
        to.u32(self.resequence.next_index().0);
        to.u32(u32::from(self.run.is_some()));
        if let Some(open) = &self.run {
            open.save(to);
        }
        self.path.save(to, self.run.is_some());
        Some(())
    }

    /// Takes its state from a checkpoint, whose runs are in `book`. `None` when the bytes do not
    /// fit; then nothing has changed.
    pub(crate) fn load(&mut self, from: &mut Loader<'_>, book: &RunBook) -> Option<()> {
        let (paused, blanked) = (from.u32()? == 1, from.u32()? == 1);
        let n_lost = from.u64()?.try_into().ok()?;
        let next = TrIndex(from.u32()?);
        let run = match from.u32()? {
            0 => None,
            _ => Some(OpenRun::load(from, book)?),
        };
        self.path.load(from, run.as_ref().map(|open| &**open.header()))?;
        (self.paused, self.blanked, self.n_lost) = (paused, blanked, n_lost);
        self.resequence = Resequence::new(self.resequence_volumes);
        self.resequence.go_on_at(next);
        self.metrics.run_open.set(f64::from(u8::from(run.is_some())));
        self.run = run;
        Some(())
    }

    /// Marks the start of a restart: until [`Session::restored`], happenings are those that a
    /// recording proves to have been processed. No window is decoded again, except for what a model
    /// remembers of it.
    pub fn begin_restoring(&mut self) {
        self.is_restoring = true;
    }

    /// Notes a result that was published before the restart.
    pub fn was_published(&mut self, result: ResultKey) {
        self.published.insert(result);
    }

    /// Notes a score that was published before the restart, with its raw value.
    pub fn score_was_published(&mut self, key: ResultKey, raw: Option<f64>) {
        if let Some(feedback) = &mut self.path.feedback {
            feedback.was_published(key, raw);
        }
    }

    /// Marks the end of a restart. Windows of later happenings are decoded, except those whose
    /// results were published.
    pub fn restored(&mut self) {
        self.is_restoring = false;
    }

    /// Whether the result of a window is known from before a restart. Counts it if so.
    pub(super) fn is_known(&mut self, window: &Window) -> bool {
        if !self.is_restoring && self.published.is_empty() {
            return false;
        }
        let Some(open) = &mut self.run else { return false };
        let was_published = self.published.remove(&ResultKey {
            run: Arc::clone(open.name()),
            index: window.tr,
            stimulus_time_bits: window.stimulus_time_s.to_bits(),
        });
        if was_published {
            open.report.n_results += 1;
            open.set_paused(self.paused);
        } else if self.is_restoring && self.path.decodes() {
            open.report.n_dropped += 1;
        }
        was_published || self.is_restoring
    }
}
