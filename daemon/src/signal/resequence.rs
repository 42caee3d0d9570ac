//! Resequence: puts volumes in the order of their index when some arrive late.
//!
//! A volume whose predecessor is missing is held back until the predecessor arrives, or until
//! more than `window` volumes are held: then the predecessor counts as missing. Only arrivals are
//! counted and no clock is read, so a replay makes the same decisions.

use std::collections::BTreeMap;

use corticast_bold::time::TrIndex;

/// A volume that arrived after later ones were used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{got} came too late, expected {next} or later; it is recorded but not used")]
pub struct TooLate {
    /// Index that arrived.
    pub got: TrIndex,
    /// Lowest index that could still be used.
    pub next: TrIndex,
}

/// Puts arrivals in order. `T` is the item that belongs to an index.
#[derive(Clone, Debug)]
pub struct Resequence<T> {
    window: usize,
    next: TrIndex,
    held: BTreeMap<TrIndex, T>,
}

impl<T> Resequence<T> {
    /// Holds back at most `window` volumes.
    #[must_use]
    pub fn new(window: u32) -> Self {
        Self { window: window as usize, next: TrIndex(0), held: BTreeMap::new() }
    }

    /// Adds one arrival. Returns the items that can be used now, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when later volumes were used already, and then changes nothing.
    pub fn arrive(&mut self, index: TrIndex, item: T) -> Result<Vec<(TrIndex, T)>, TooLate> {
        if index < self.next {
            return Err(TooLate { got: index, next: self.next });
        }
        self.held.insert(index, item);
        if self.held.len() > self.window
            && let Some(first) = self.held.keys().next()
        {
            self.next = *first;
        }
        Ok(self.release())
    }

    /// Ends the run. Returns the items still held, oldest first.
    pub fn finish(&mut self) -> Vec<(TrIndex, T)> {
        let held = std::mem::take(&mut self.held);
        if let Some(last) = held.keys().next_back() {
            self.next = last.next();
        }
        held.into_iter().collect()
    }

    /// Whether no volume waits for an earlier one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Goes on at this index, with no volume waiting.
    pub fn go_on_at(&mut self, next: TrIndex) {
        self.next = next;
        self.held.clear();
    }

    /// The index that would be used next.
    #[must_use]
    pub fn next_index(&self) -> TrIndex {
        self.next
    }

    fn release(&mut self) -> Vec<(TrIndex, T)> {
        let mut ready = Vec::new();
        while let Some(item) = self.held.remove(&self.next) {
            ready.push((self.next, item));
            self.next = self.next.next();
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(window: u32, arrivals: &[u32]) -> Vec<u32> {
        let mut resequence = Resequence::new(window);
        let mut used = Vec::new();
        for &index in arrivals {
            if let Ok(ready) = resequence.arrive(TrIndex(index), ()) {
                used.extend(ready.into_iter().map(|(index, ())| index.0));
            }
        }
        used.extend(resequence.finish().into_iter().map(|(index, ())| index.0));
        used
    }

    #[test]
    fn a_volume_that_is_one_late_takes_its_place() {
        assert_eq!(order(1, &[0, 2, 1, 3]), [0, 1, 2, 3]);
    }

    #[test]
    fn a_missing_volume_holds_the_next_one_back_only_as_long_as_the_window() {
        let mut resequence = Resequence::new(1);
        resequence.arrive(TrIndex(0), ()).unwrap();
        assert_eq!(resequence.arrive(TrIndex(2), ()).unwrap(), []);
        let ready = resequence.arrive(TrIndex(3), ()).unwrap();
        assert_eq!(ready, [(TrIndex(2), ()), (TrIndex(3), ())]);
        let late = resequence.arrive(TrIndex(1), ()).unwrap_err();
        assert_eq!(late, TooLate { got: TrIndex(1), next: TrIndex(4) });
    }

    proptest! {
        /// For any arrivals in any order, indices are used in rising order, each once.
        #[test]
        fn indices_rise(arrivals in proptest::collection::vec(0_u32..30, 0..60), window in 0_u32..5) {
            let used = order(window, &arrivals);
            prop_assert!(used.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
