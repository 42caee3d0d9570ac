//! The noise of the next window, made before that window arrives.
//!
//! A sample of a large prior needs 10⁸ random numbers, which take a good part of a TR. The noise
//! depends on seed and index only, so a thread of low priority makes it while the signal thread
//! waits for the next volume: the blocks of one window in their order, then those of the window
//! of the next index. The signal thread takes each block over without copying it and gives its
//! used buffer back.
//!
//! If the next window is not the expected one (the first of a run, or the one after a gap), the
//! thread is replaced by one that starts at this window. The signal thread then waits for each
//! block that is not made yet, while the thread works ahead of it. If no thread can be started,
//! the signal thread makes the blocks itself. The numbers are the same in every case.
//!
//! The thread holds the blocks of one window at most, and no more than [`AHEAD_BYTES`]: 172 MB for
//! 256 tokens of 1664 channels and 100 steps. It then waits until a block is taken.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use corticast_bold::time::TrIndex;

use super::noise::Noise;

/// Bytes that noise made ahead may take.
pub const AHEAD_BYTES: usize = 256 << 20;
/// Added to the nice value of the thread.
const NICENESS: i32 = 10;

/// The blocks of noise of consecutive windows. See the module docs.
#[derive(Debug)]
pub struct NoiseAhead {
    seed: u64,
    /// Numbers of a block.
    n_value: usize,
    /// Blocks of a window.
    n_block: usize,
    making: Option<Making>,
    /// Where the next block belongs: the newest index of its window, and its place there.
    next: (TrIndex, usize),
}

/// A thread that makes blocks.
#[derive(Debug)]
struct Making {
    /// Its blocks, from `next` on. Full: the thread waits.
    blocks: Receiver<Vec<f32>>,
    /// Used buffers. Full: the buffer is freed.
    used: SyncSender<Vec<f32>>,
}

impl NoiseAhead {
    /// Noise for windows of `n_block` blocks of `n_value` numbers each.
    #[must_use]
    pub fn new(seed: u64, n_value: usize, n_block: usize) -> Self {
        Self { seed, n_value, n_block, making: None, next: (TrIndex(0), 0) }
    }

    /// Starts the window whose newest volume has this index.
    pub fn start(&mut self, tr: TrIndex) {
        if self.making.is_none() || self.next != (tr, 0) {
            self.next = (tr, 0);
            // Ends the thread before, if there was one: nobody takes its blocks any more.
            self.making = None;
            self.making = self.make_from(tr).inspect_err(|error| {
                tracing::warn!(%error, "no thread for noise, the signal thread makes it itself");
            }).ok();
        }
    }

    /// The next block of the window, in exchange for `block`.
    pub fn take(&mut self, block: &mut Vec<f32>) {
        let (tr, place) = self.next;
        let made = self.making.as_ref().and_then(|making| making.blocks.recv().ok());
        if let (Some(made), Some(making)) = (made, &self.making) {
            let used = std::mem::replace(block, made);
            // Full or closed: the buffer is freed.
            making.used.try_send(used).ok();
        } else {
            self.making = None;
            let mut noise = Noise::new(self.seed, tr);
            (0..=place).for_each(|_| noise.fill(block));
        }
        self.next = if place + 1 < self.n_block { (tr, place + 1) } else { (tr.next(), 0) };
    }

    fn make_from(&self, first: TrIndex) -> std::io::Result<Making> {
        let (seed, n_value, n_block) = (self.seed, self.n_value, self.n_block);
        let fit = AHEAD_BYTES / (4 * n_value).max(1);
        let room = n_block.min(fit).max(1);
        let (blocks, taken) = sync_channel(room);
        let (used, unused) = sync_channel::<Vec<f32>>(room);
        thread::Builder::new().name("noise".to_owned()).spawn(move || {
            // On Linux this sets the priority of this thread only. The noise is right without it.
            rustix::process::nice(NICENESS).ok();
            let mut tr = first;
            loop {
                let mut noise = Noise::new(seed, tr);
                for _ in 0..n_block {
                    let mut block = unused.try_recv().unwrap_or_default();
                    block.resize(n_value, 0.0);
                    noise.fill(&mut block);
                    if blocks.send(block).is_err() {
                        return;
                    }
                }
                tr = tr.next();
            }
        })?;
        Ok(Making { blocks: taken, used })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What [`Noise`] gives for a window.
    fn expected(seed: u64, tr: u32, n_value: usize, n_block: usize) -> Vec<Vec<f32>> {
        let mut noise = Noise::new(seed, TrIndex(tr));
        let block = |_| {
            let mut block = vec![0.0; n_value];
            noise.fill(&mut block);
            block
        };
        (0..n_block).map(block).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever windows come, in order or not, complete or cancelled after some blocks, each
        /// block has the bits that it has without a thread.
        #[test]
        fn noise_made_ahead_has_the_same_bits(
            seed in any::<u64>(),
            windows in proptest::collection::vec((0_u32..6, 0_usize..=5, any::<bool>()), 1..30),
            n_value in 1_usize..70,
            n_block in 1_usize..=5,
        ) {
            let mut ahead = NoiseAhead::new(seed, n_value, n_block);
            let mut tr = 0;
            for (jump, n_taken, is_next) in windows {
                tr = if is_next { tr + 1 } else { jump };
                ahead.start(TrIndex(tr));
                let expected = expected(seed, tr, n_value, n_block);
                for expected in &expected[..n_taken.min(n_block)] {
                    let mut block = vec![0.0; n_value];
                    ahead.take(&mut block);
                    let bits = |block: &[f32]| block.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                    prop_assert_eq!(bits(&block), bits(expected));
                }
            }
        }
    }

    #[test]
    fn without_a_thread_the_noise_is_the_same() {
        let mut ahead = NoiseAhead::new(3, 5, 2);
        ahead.start(TrIndex(7));
        for expected in expected(3, 7, 5, 2) {
            ahead.making = None;
            let mut block = vec![0.0; 5];
            ahead.take(&mut block);
            assert_eq!(block, expected);
        }
    }
}
