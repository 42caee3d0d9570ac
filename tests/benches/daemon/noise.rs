//! The prior's noise: what the signal thread spends on it.

use std::{hint::black_box, time::Duration};

use corticast::clock::monotonic_ns;
use corticast_bold::time::TrIndex;
use corticast_models::prior::{
    ahead::{AHEAD_BYTES, NoiseAhead},
    noise::Noise,
};

use crate::{
    Chapter, Figure,
    numbers::{listed, median},
};

/// Tokens and channels of a large prior, and its blocks of noise: the start, and one for each of 100
/// steps.
const TOKENS: [usize; 2] = [256, 1664];
const BLOCKS: usize = 101;

/// Measures it and adds it to the chapter of the stages.
pub async fn measure(chapter: &mut Chapter) {
    let n_value: usize = TOKENS.iter().product();
    let (mut block, mut sample) = (vec![0.0; n_value], vec![0.0; n_value]);
    // The signal thread reads blocks that another thread wrote, out of memory. So adding them to the
    // sample counts too, less the time that adding one block again and again takes.
    let mut add = |block: &[f32]| {
        let started_ns = monotonic_ns();
        sample.iter_mut().zip(block).for_each(|(x, z)| *x += 0.1 * z);
        black_box(&mut sample);
        monotonic_ns() - started_ns
    };
    let warm_ns = median(&(0..BLOCKS).map(|_| add(&block) as f64).collect::<Vec<_>>());
    let mut spent_ms = |ahead: &mut NoiseAhead, tr: u32, block: &mut Vec<f32>| {
        let started_ns = monotonic_ns();
        ahead.start(TrIndex(tr));
        for _ in 0..BLOCKS {
            ahead.take(block);
            add(block);
        }
        let all_ns = (monotonic_ns() - started_ns) as f64;
        ((all_ns - warm_ns * BLOCKS as f64) / 1e6).max(0.0)
    };
    let here = |block: &mut Vec<f32>| {
        let started_ns = monotonic_ns();
        let mut noise = Noise::new(1, TrIndex(0));
        (0..BLOCKS).for_each(|_| noise.fill(black_box(block)));
        (monotonic_ns() - started_ns) as f64 / 1e6
    };
    let here_ms = median(&[here(&mut block), here(&mut block), here(&mut block)]);
    let mut ahead = NoiseAhead::new(1, n_value, BLOCKS);
    let unexpected_ms = spent_ms(&mut ahead, 0, &mut block);
    let mut expected_ms = Vec::new();
    for tr in 1..=5 {
        // The rest of a TR of 1 s.
        tokio::time::sleep(Duration::from_secs(1)).await;
        expected_ms.push(spent_ms(&mut ahead, tr, &mut block));
    }
    let [tokens, channels] = TOKENS;
    chapter.text += &format!(
        "\n### The prior's noise\n\n{tokens} tokens of {channels} channels, {BLOCKS} blocks (100 \
         steps), TR 1 s, and a network that takes no time, which is the worst case: time of the \
         signal thread to get the noise of a window and to read it from memory.\n\n| window | ms |\n|---|---|\n\
         | expected: made ahead | {} |\n\
         | not expected: made while the thread waits | {unexpected_ms:.1} |\n\
         | without a thread | {here_ms:.1} |\n\n\
         Blocks that were made ahead take {} MB here, at most {} MB for any model.\n",
        listed(&expected_ms, 2),
        BLOCKS * n_value * 4 / 1_000_000,
        AHEAD_BYTES / 1_000_000
    );
    let spent = median(&expected_ms);
    chapter.figures.push(Figure {
        what: format!("noise of the prior, {tokens}x{channels}, 100 steps, signal thread"),
        asked: "< 20 ms a window".to_owned(),
        measured: format!("{spent:.2} ms (a window that was not expected: {unexpected_ms:.0} ms)"),
        floor: "0: made by another thread".to_owned(),
        is_met: Some(spent < 20.0),
    });
}
