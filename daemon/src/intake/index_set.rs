//! A set of volume indices: one bit for each index up to the largest.

use corticast_bold::{
    state::{Loader, Saver},
    time::TrIndex,
};

/// A set of volume indices. Indices are less than [`MAX_INDEX`](super::verdict::MAX_INDEX), so it
/// takes at most 125 kB.
#[derive(Clone, Debug, Default)]
pub(super) struct IndexSet {
    words: Vec<u64>,
    /// All indices below this one are in the set.
    lowest_missing: u32,
}

impl IndexSet {
    /// Adds an index.
    pub(super) fn insert(&mut self, index: TrIndex) {
        let (word, bit) = (index.0 as usize / 64, index.0 % 64);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << bit;
        while self.contains(TrIndex(self.lowest_missing)) {
            self.lowest_missing += 1;
        }
    }

    /// Whether an index is in the set.
    pub(super) fn contains(&self, index: TrIndex) -> bool {
        let word = self.words.get(index.0 as usize / 64).copied().unwrap_or(0);
        word >> (index.0 % 64) & 1 == 1
    }

    /// Adds the set to a checkpoint.
    pub(super) fn save(&self, to: &mut Saver) {
        to.u64(self.words.len() as u64);
        self.words.iter().for_each(|&word| to.u64(word));
    }

    /// The set of a checkpoint. `None` when the bytes do not fit.
    pub(super) fn load(from: &mut Loader<'_>) -> Option<Self> {
        let mut set = Self::default();
        for _ in 0..from.u64()? {
            set.words.push(from.u64()?);
        }
        while set.contains(TrIndex(set.lowest_missing)) {
            set.lowest_missing += 1;
        }
        Some(set)
    }

    /// The lowest index that is not in the set.
    pub(super) fn lowest_missing(&self) -> u32 {
        self.lowest_missing
    }

    /// The largest index in the set.
    pub(super) fn newest(&self) -> Option<TrIndex> {
        // The last word is never empty: indices are only added.
        let (at, word) = self.words.iter().enumerate().next_back()?;
        Some(TrIndex(at as u32 * 64 + 63 - word.leading_zeros()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It answers as a set of numbers does.
        #[test]
        fn it_is_a_set(indices in proptest::collection::vec(0_u32..300, 0..200)) {
            let mut set = IndexSet::default();
            let mut model = BTreeSet::new();
            for index in indices {
                set.insert(TrIndex(index));
                model.insert(index);
                prop_assert_eq!(set.newest().map(|newest| newest.0), model.last().copied());
                let lowest = (0..).find(|index| !model.contains(index));
                prop_assert_eq!(Some(set.lowest_missing()), lowest);
            }
            for index in 0..400 {
                prop_assert_eq!(set.contains(TrIndex(index)), model.contains(&index));
            }
        }
    }
}
