//! The backlog of a restart: what was recorded, and may not have been processed before the kill.
//!
//! A volume is recorded when it arrives and processed later. Its report is recorded after the
//! results of its windows, so a recorded report says that nothing of this volume is left to do. The
//! backlog holds the happenings without such a report: at the end of the recording these are the
//! ones that the kill cut off.

use std::collections::VecDeque;

use corticast_bold::time::TrIndex;

use crate::signal::happening::{Event, Happening, RunNumber};

/// Most happenings and bytes of volumes that can have been cut off: those that the signal thread
/// had not taken at several kills in a row. A recording without reports holds more.
const MAX_HAPPENINGS: usize = 1024;
/// See [`MAX_HAPPENINGS`].
const MAX_BYTES: usize = 512 << 20;

/// Happenings in the order of the recording. See the module docs.
#[derive(Default)]
pub(super) struct Backlog {
    waiting: VecDeque<Happening>,
    n_byte: usize,
}

impl Backlog {
    /// Adds a happening. Returns the oldest ones if the backlog holds too much: they were
    /// processed, and their reports were not recorded.
    pub(super) fn push(&mut self, happening: Happening) -> Vec<Happening> {
        self.n_byte += n_byte(&happening);
        self.waiting.push_back(happening);
        let mut oldest = Vec::new();
        while self.waiting.len() > MAX_HAPPENINGS || self.n_byte > MAX_BYTES {
            oldest.extend(self.pop());
        }
        oldest
    }

    /// The happenings up to a volume whose report was recorded, or up to the first volume that has
    /// to wait for its own report.
    pub(super) fn reported(&mut self, run: RunNumber, index: TrIndex) -> Vec<Happening> {
        let mut n = 0;
        for (at, happening) in self.waiting.iter().enumerate() {
            if let Happening::Event(Event::Volume(number, volume)) = happening {
                if (*number, volume.header.index) > (run, index) {
                    break;
                }
                n = at + 1;
            }
        }
        self.take(n)
    }

    /// The happenings up to the end of a run, if that end was reported.
    pub(super) fn ended(&mut self, run: RunNumber) -> Vec<Happening> {
        let is_end = |happening: &Happening| matches!(happening, Happening::Event(Event::RunEnded { number, .. }) if *number == run);
        let n = self.waiting.iter().position(is_end).map_or(0, |at| at + 1);
        self.take(n)
    }

    /// All that is left at the end of the recording.
    pub(super) fn finish(self) -> Vec<Happening> {
        self.waiting.into()
    }

    fn take(&mut self, n: usize) -> Vec<Happening> {
        (0..n).filter_map(|_| self.pop()).collect()
    }

    fn pop(&mut self) -> Option<Happening> {
        let happening = self.waiting.pop_front()?;
        self.n_byte -= n_byte(&happening);
        Some(happening)
    }
}

fn n_byte(happening: &Happening) -> usize {
    match happening {
        Happening::Event(Event::Volume(_, volume)) => volume.voxels.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{recording::fixture, signal::happening::EndedBy};

    const RUN: RunNumber = RunNumber(0);

    fn volume(index: u32) -> Happening {
        Happening::Event(Event::Volume(RUN, fixture::volume(fixture::RUN, index, 0)))
    }

    fn indices(happenings: &[Happening]) -> Vec<u32> {
        let index = |happening: &Happening| match happening {
            Happening::Event(Event::Volume(_, volume)) => Some(volume.header.index.0),
            _ => None,
        };
        happenings.iter().filter_map(index).collect()
    }

    #[test]
    fn the_end_of_a_run_waits_for_its_report() {
        let mut backlog = Backlog::default();
        backlog.push(volume(0));
        let by = EndedBy::Adapter;
        backlog.push(Happening::Event(Event::RunEnded { number: RUN, n_sent: None, by }));
        assert_eq!(backlog.reported(RUN, TrIndex(0)).len(), 1);
        assert_eq!(backlog.ended(RunNumber(1)).len(), 0);
        assert_eq!(backlog.ended(RUN).len(), 1);
        assert!(backlog.finish().is_empty());
    }

    #[test]
    fn a_recording_without_reports_does_not_fill_the_memory() {
        let mut backlog = Backlog::default();
        let n = MAX_HAPPENINGS as u32 + 10;
        let oldest: Vec<_> = (0..n).flat_map(|index| backlog.push(volume(index))).collect();
        assert_eq!(indices(&oldest), (0..10).collect::<Vec<_>>());
        assert_eq!(backlog.finish().len(), MAX_HAPPENINGS);
    }

    proptest! {
        /// In whatever order volumes arrived, none is released before its own report.
        #[test]
        fn no_volume_is_released_before_its_report(
            order in Just((0..12_u32).collect::<Vec<_>>()).prop_shuffle(),
            n_reported in 0..12_u32,
        ) {
            let mut backlog = Backlog::default();
            for &index in &order {
                backlog.push(volume(index));
            }
            let mut released = Vec::new();
            for index in 0..n_reported {
                released.extend(indices(&backlog.reported(RUN, TrIndex(index))));
            }
            prop_assert!(released.iter().all(|&index| index < n_reported));
            released.extend(indices(&backlog.finish()));
            prop_assert_eq!(released, order);
        }
    }
}
