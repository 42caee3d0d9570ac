//! Which volumes are in the recording. The recorder writes it, and ingest reads it to decide
//! whether a volume that was sent again can be acknowledged at once.

use std::sync::{Arc, Mutex};

use corticast_bold::time::TrIndex;

use super::{index_set::IndexSet, run_book::RunBook};
use crate::signal::happening::RunNumber;

/// The volumes that are safe in the recording, by run and index.
pub type Recorded = Arc<Mutex<SafeVolumes>>;

/// See [`Recorded`].
#[derive(Debug, Default)]
pub struct SafeVolumes(Vec<IndexSet>);

impl SafeVolumes {
    /// All volumes of a run book.
    #[must_use]
    pub(crate) fn all_of(book: &RunBook) -> Self {
        Self(book.seen().cloned().collect())
    }

    /// Notes that a volume is in the recording.
    pub fn insert(&mut self, run: RunNumber, index: TrIndex) {
        if self.0.len() <= run.0 {
            self.0.resize_with(run.0 + 1, IndexSet::default);
        }
        self.0[run.0].insert(index);
    }

    /// Whether a volume is in the recording.
    #[must_use]
    pub fn contains(&self, run: RunNumber, index: TrIndex) -> bool {
        self.0.get(run.0).is_some_and(|indices| indices.contains(index))
    }

    /// The lowest index of a run that is not in the recording.
    #[must_use]
    pub fn lowest_missing(&self, run: RunNumber) -> u32 {
        self.0.get(run.0).map_or(0, IndexSet::lowest_missing)
    }
}
