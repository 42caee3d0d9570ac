//! Presentation: what the participant sees, and when.
//!
//! Two times matter. A score *belongs to* the block of its stimulus, some seconds ago. It is *seen*
//! in the block that the participant is in when its volume is complete. A score is shown only while
//! the participant is still in its block or rests after it, so that a baseline, a transfer or
//! another condition is never disturbed by the response to what came before.
//!
//! - `continuous`: each score of a `regulate` block, as soon as it is there.
//! - `intermittent`: the mean score of a `regulate` block, from the first volume whose stimulus is
//!   after the block until the rest is over.
//!
//! `transfer` blocks show nothing. Where a score should be shown and there is none (bad data, or a
//! baseline that is still too short), the policy for bad data decides: `hold` shows the last score
//! of the same block again, `blank` nothing, `neutral` the middle, 0.5.

use serde::{Deserialize, Serialize};

use super::design::{BlockKind, Place};
use crate::state::{Loader, Saver};

/// When a score is shown. See the module docs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presentation {
    /// Volume by volume.
    #[default]
    Continuous,
    /// As a mean after the block.
    Intermittent,
}

/// What is shown where there is no score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadData {
    /// The last score of the block; nothing before its first.
    #[default]
    Hold,
    /// Nothing.
    Blank,
    /// 0.5.
    Neutral,
}

/// What the shown value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownAs {
    /// The score of this volume.
    Score,
    /// The mean score of the last block.
    BlockMean,
    /// An earlier score, held because there is none for this volume.
    Held,
    /// The middle, because there is no score for this volume.
    Neutral,
    /// Nothing is shown.
    Nothing,
    /// What the sham has at this volume.
    Sham,
}

/// A shown value, 0 to 1, and what it is.
pub(super) type Shown = (Option<f64>, ShownAs);

const NOTHING: Shown = (None, ShownAs::Nothing);
const NEUTRAL: f64 = 0.5;

/// Decides what is shown.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    presentation: Presentation,
    bad_data: BadData,
    /// The last score that was shown in continuous presentation.
    last: Option<(usize, f64)>,
    /// The same for the run of another participant.
    of_other: Option<(usize, f64)>,
    /// The block that is being averaged.
    averaged: Option<Average>,
    /// The mean of the last complete block, until its rest is over; the inner `None` is a block
    /// without a score.
    mean: Option<Option<f64>>,
}

#[derive(Clone, Copy, Debug)]
struct Average {
    block_index: usize,
    sum: f64,
    n: u32,
}

impl Screen {
    pub(super) fn new(presentation: Presentation, bad_data: BadData) -> Self {
        Self { presentation, bad_data, last: None, of_other: None, averaged: None, mean: None }
    }

    /// What is shown after this volume. `scored` is the place of its stimulus, `now` the place of
    /// the participant, `score` its score if there is one.
    pub(super) fn show(&mut self, scored: Place, now: Place, score: Option<f64>) -> Shown {
        let regulated = scored.block_index.filter(|_| scored.kind == BlockKind::Regulate);
        match self.presentation {
            Presentation::Continuous => {
                let is_due = now.block_index == scored.block_index || now.kind == BlockKind::Rest;
                match regulated.filter(|_| is_due) {
                    Some(block_index) => self.continuous(block_index, score),
                    None => NOTHING,
                }
            }
            Presentation::Intermittent => {
                self.average(regulated, score);
                if now.kind != BlockKind::Rest {
                    self.mean = None;
                }
                match self.mean {
                    Some(Some(mean)) => (Some(mean), ShownAs::BlockMean),
                    Some(None) => self.without_score(None),
                    None => NOTHING,
                }
            }
        }
    }

    /// What of another participant's run is shown. Where the own data are bad, a score of the own
    /// run would not be shown, so neither is this one: the policy for bad data decides, as in a run
    /// without sham.
    pub(super) fn of_other(&mut self, scored: Place, shown: Shown, is_good: bool) -> Shown {
        let regulated = scored.block_index.filter(|_| scored.kind == BlockKind::Regulate);
        let (Presentation::Continuous, Some(block_index), (Some(value), _)) =
            (self.presentation, regulated, shown)
        else {
            return shown;
        };
        if is_good {
            self.of_other = Some((block_index, value));
            return shown;
        }
        let last = self.of_other.filter(|(of_block, _)| *of_block == block_index);
        (self.without_score(last.map(|(_, value)| value)).0, shown.1)
    }

    fn continuous(&mut self, block_index: usize, score: Option<f64>) -> Shown {
        if let Some(score) = score {
            self.last = Some((block_index, score));
            return (Some(score), ShownAs::Score);
        }
        let last = self.last.filter(|(of_block, _)| *of_block == block_index);
        self.without_score(last.map(|(_, score)| score))
    }

    fn without_score(&self, last: Option<f64>) -> Shown {
        match (self.bad_data, last) {
            (BadData::Hold, Some(last)) => (Some(last), ShownAs::Held),
            (BadData::Neutral, _) => (Some(NEUTRAL), ShownAs::Neutral),
            (BadData::Hold, None) | (BadData::Blank, _) => NOTHING,
        }
    }

    fn average(&mut self, regulated: Option<usize>, score: Option<f64>) {
        if let Some(Average { block_index, sum, n }) = self.averaged
            && regulated != Some(block_index)
        {
            self.mean = Some((n > 0).then(|| (sum / f64::from(n)).clamp(0.0, 1.0)));
            self.averaged = None;
        }
        if let Some(block_index) = regulated {
            let average = self.averaged.get_or_insert(Average { block_index, sum: 0.0, n: 0 });
            if let Some(score) = score {
                average.sum += score;
                average.n += 1;
            }
        }
    }

    /// Adds its state to a checkpoint.
    pub(super) fn save(&self, to: &mut Saver) {
        for last in [self.last, self.of_other] {
            to.u32(u32::from(last.is_some()));
            if let Some((block_index, score)) = last {
                to.u64(block_index as u64);
                to.f64(score);
            }
        }
        to.u32(u32::from(self.averaged.is_some()));
        if let Some(Average { block_index, sum, n }) = self.averaged {
            to.u64(block_index as u64);
            to.f64(sum);
            to.u32(n);
        }
        to.u32(u32::from(self.mean.is_some()));
        if let Some(mean) = self.mean {
            to.f64s(mean.as_slice());
        }
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit.
    pub(super) fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        (self.averaged, self.mean) = (None, None);
        for last in [&mut self.last, &mut self.of_other] {
            *last = match from.u32()? {
                1 => Some((usize::try_from(from.u64()?).ok()?, from.f64()?)),
                _ => None,
            };
        }
        if from.u32()? == 1 {
            let block_index = usize::try_from(from.u64()?).ok()?;
            self.averaged = Some(Average { block_index, sum: from.f64()?, n: from.u32()? });
        }
        if from.u32()? == 1 {
            self.mean = Some(from.f64s()?.first().copied());
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASELINE: Place = place(0, BlockKind::Baseline);
    const REGULATE: Place = place(1, BlockKind::Regulate);
    const TRANSFER: Place = place(3, BlockKind::Transfer);
    const REST: Place = Place { block_index: None, kind: BlockKind::Rest, is_beyond_design: false };

    const fn place(block_index: usize, kind: BlockKind) -> Place {
        Place { block_index: Some(block_index), kind, is_beyond_design: false }
    }

    fn continuous(bad_data: BadData) -> Screen {
        Screen::new(Presentation::Continuous, bad_data)
    }

    #[test]
    fn a_score_is_shown_in_its_block_and_in_the_rest_after_it_only() {
        let mut screen = continuous(BadData::Neutral);
        let shown = (Some(0.7), ShownAs::Score);
        assert_eq!(screen.show(REGULATE, REGULATE, Some(0.7)), shown);
        assert_eq!(screen.show(REGULATE, REST, Some(0.7)), shown);
        let another = place(2, BlockKind::Regulate);
        for (scored, now) in [
            (BASELINE, REGULATE),
            (REGULATE, BASELINE),
            (REGULATE, TRANSFER),
            (REGULATE, another),
            (TRANSFER, TRANSFER),
            (TRANSFER, REST),
            (REST, REST),
        ] {
            assert_eq!(screen.show(scored, now, Some(0.7)), NOTHING, "{scored:?} {now:?}");
            assert_eq!(screen.show(scored, now, None), NOTHING, "{scored:?} {now:?}");
        }
    }

    #[test]
    fn each_policy_for_bad_data_shows_its_own() {
        let after_a_score = |bad_data| {
            let mut screen = continuous(bad_data);
            let first = screen.show(REGULATE, REGULATE, None);
            let _ = screen.show(REGULATE, REGULATE, Some(0.2));
            let second = screen.show(REGULATE, REGULATE, None);
            let other = place(2, BlockKind::Regulate);
            [first, second, screen.show(other, other, None)]
        };
        assert_eq!(after_a_score(BadData::Hold), [NOTHING, (Some(0.2), ShownAs::Held), NOTHING]);
        assert_eq!(after_a_score(BadData::Blank), [NOTHING; 3]);
        assert_eq!(after_a_score(BadData::Neutral), [(Some(0.5), ShownAs::Neutral); 3]);
    }

    #[test]
    fn the_mean_of_a_block_is_shown_from_its_end_until_the_rest_is_over() {
        let mut screen = Screen::new(Presentation::Intermittent, BadData::Hold);
        let shown = [
            screen.show(REGULATE, REGULATE, Some(0.25)),
            screen.show(REGULATE, REST, None),
            screen.show(REGULATE, REST, Some(0.75)),
            screen.show(REST, REST, None),
            screen.show(REST, REST, None),
            screen.show(REST, TRANSFER, None),
            screen.show(TRANSFER, REST, Some(0.9)),
        ];
        let mean = (Some(0.5), ShownAs::BlockMean);
        assert_eq!(shown, [NOTHING, NOTHING, NOTHING, mean, mean, NOTHING, NOTHING]);
    }

    #[test]
    fn a_block_without_a_score_has_no_mean() {
        for (bad_data, expected) in
            [(BadData::Hold, NOTHING), (BadData::Neutral, (Some(0.5), ShownAs::Neutral))]
        {
            let mut screen = Screen::new(Presentation::Intermittent, bad_data);
            let _ = screen.show(REGULATE, REGULATE, None);
            assert_eq!(screen.show(REST, REST, None), expected);
        }
    }

    /// Bad own data look the same whether the score is the own one or that of another run.
    #[test]
    fn bad_data_look_alike_in_both_arms() {
        for bad_data in [BadData::Hold, BadData::Blank, BadData::Neutral] {
            let mut real = Screen::new(Presentation::Continuous, bad_data);
            let mut yoked = real.clone();
            for (place, score, is_good) in [
                (BASELINE, None, true),
                (REGULATE, None, false),
                (REGULATE, Some(0.2), true),
                (REGULATE, Some(0.4), false),
                (REGULATE, Some(0.6), true),
                (REST, None, false),
            ] {
                let own = real.show(place, place, score.filter(|_| is_good)).0;
                let other = (score, ShownAs::Sham);
                let shown = yoked.of_other(place, other, is_good).0;
                // Before its first score the other run shows nothing either.
                let is_first = place == REGULATE && score.is_none();
                assert!(is_first || own == shown, "{bad_data:?}: {own:?} {shown:?}");
            }
        }
    }
}
