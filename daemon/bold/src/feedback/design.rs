//! The design of a run: which block the participant is in at a time.
//!
//! A design is made of the rows of a BIDS `events.tsv`. A row's `trial_type` says what its block is
//! for: `baseline`, `regulate`, `rest` and `transfer` mean themselves, and the configuration says
//! what other names mean, or that they are no blocks (`ignore`, for key presses). The `trial_type`
//! stays as the block's condition.
//!
//! Time between blocks is rest, and so is time before the first and after the last. A run that is
//! longer than its design goes on in rest, marked ([`Place::is_beyond_design`]): there is nothing to
//! score, and stopping the run would lose data.
//!
//! Blocks that overlap, a name without a meaning, and a design that lacks a needed block are errors
//! that name the event: guessing would change the experiment.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// Scores are compared with the signal of these blocks.
    Baseline,
    /// The participant regulates and sees the score.
    Regulate,
    /// Nothing is scored.
    Rest,
    /// The participant regulates and sees no score; it is computed and recorded.
    Transfer,
}

impl BlockKind {
    /// Whether the participant regulates, so that there is a score.
    #[must_use]
    pub fn is_scored(self) -> bool {
        matches!(self, Self::Regulate | Self::Transfer)
    }

    /// Its name in configurations and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Regulate => "regulate",
            Self::Rest => "rest",
            Self::Transfer => "transfer",
        }
    }
}

impl fmt::Display for BlockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What events of one `trial_type` are, as written in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventUse {
    /// Baseline blocks.
    Baseline,
    /// Regulation blocks.
    Regulate,
    /// Rest blocks.
    Rest,
    /// Transfer blocks.
    Transfer,
    /// No blocks.
    Ignore,
}

impl EventUse {
    /// `None` for events that are no blocks.
    fn kind(self) -> Option<BlockKind> {
        match self {
            Self::Baseline => Some(BlockKind::Baseline),
            Self::Regulate => Some(BlockKind::Regulate),
            Self::Rest => Some(BlockKind::Rest),
            Self::Transfer => Some(BlockKind::Transfer),
            Self::Ignore => None,
        }
    }

    /// What a name that is a kind of block means by itself.
    fn of_name(trial_type: &str) -> Option<Self> {
        match trial_type {
            "baseline" => Some(Self::Baseline),
            "regulate" => Some(Self::Regulate),
            "rest" => Some(Self::Rest),
            "transfer" => Some(Self::Transfer),
            _ => None,
        }
    }
}

/// One row of an `events.tsv`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventRow<'a> {
    /// Start, seconds since the start of volume index 0; negative before it.
    pub onset_s: f64,
    /// Length in seconds.
    pub duration_s: f64,
    /// What happened.
    pub trial_type: &'a str,
}

/// A stretch of the run in which the participant does one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// What it is for.
    pub kind: BlockKind,
    /// Start, seconds since the start of volume index 0.
    pub onset_s: f64,
    /// Length in seconds.
    pub duration_s: f64,
    /// The `trial_type` of its event.
    pub condition: Arc<str>,
}

impl Block {
    /// End, seconds since the start of volume index 0. The block does not contain it.
    #[must_use]
    pub fn end_s(&self) -> f64 {
        self.onset_s + self.duration_s
    }
}

/// Where a time lies in the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Position of the block in the design; `None` outside all blocks.
    pub block_index: Option<usize>,
    /// What the block is for; rest outside all blocks.
    pub kind: BlockKind,
    /// Whether the time is after the last block.
    pub is_beyond_design: bool,
}

/// The blocks of a run, in the order of their onsets, without overlap. See the module docs.
#[derive(Clone, Debug, PartialEq)]
pub struct Design(Vec<Block>);

/// Why events are no design.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidDesign {
    /// A time is not a number in its range.
    #[error("event {number} (`{trial_type}`): {column} is {found} s, expected {expected}")]
    Time {
        /// Number of the event, from 1, in the order given.
        number: usize,
        /// Its type.
        trial_type: String,
        /// Name of the column.
        column: &'static str,
        /// Value found.
        found: f64,
        /// Values that are valid.
        expected: &'static str,
    },
    /// Nobody said what this type of event means.
    #[error(
        "event {number} at {onset_s} s: unknown trial_type `{trial_type}`, expected baseline, \
         regulate, rest, transfer, or one that `blocks` maps to them or to ignore; `blocks` maps \
         {mapped:?}"
    )]
    UnknownType {
        /// Number of the event, from 1, in the order given.
        number: usize,
        /// Its start.
        onset_s: f64,
        /// The type found.
        trial_type: String,
        /// Types that the configuration names.
        mapped: Vec<String>,
    },
    /// Two blocks at one time.
    #[error(
        "event {number} (`{trial_type}`) starts at {onset_s} s, inside `{before}`, which lasts \
         until {end_s} s; expected blocks that do not overlap"
    )]
    Overlap {
        /// Number of the later event, from 1, in the order given.
        number: usize,
        /// Its type.
        trial_type: String,
        /// Its start.
        onset_s: f64,
        /// Type of the earlier event.
        before: String,
        /// Its end.
        end_s: f64,
    },
    /// A needed block is not there.
    #[error("no `{needed}` block among {n_block} blocks; {why}")]
    Lacks {
        /// Kind of the block.
        needed: &'static str,
        /// Blocks found.
        n_block: usize,
        /// What it is needed for.
        why: &'static str,
    },
    /// No time to show the mean of a block.
    #[error(
        "the rest after the `{condition}` block that ends at {end_s} s lasts {found_s} s; \
         intermittent feedback is shown there and needs more than {needed_s} s (`hrf_delay_s`)"
    )]
    NoRest {
        /// Condition of the block.
        condition: String,
        /// Its end.
        end_s: f64,
        /// Length of the rest.
        found_s: f64,
        /// Length needed.
        needed_s: f64,
    },
}

/// An overlap up to this long is rounding of a table that is written in milliseconds.
const ROUNDING_S: f64 = 1.5e-3;

impl Design {
    /// Makes a design of events in any order. `uses` says what a `trial_type` means; it comes
    /// before the meaning that a name has by itself.
    ///
    /// # Errors
    ///
    /// Fails when an event has no valid time or an unknown type, when blocks overlap, and when
    /// there is no baseline or nothing to score.
    pub fn from_events(
        rows: &[EventRow<'_>],
        uses: &BTreeMap<String, EventUse>,
    ) -> Result<Self, InvalidDesign> {
        let mut numbered = Vec::new();
        for (position, row) in rows.iter().enumerate() {
            let number = position + 1;
            let kind = uses.get(row.trial_type).copied();
            let kind = kind.or_else(|| EventUse::of_name(row.trial_type)).ok_or_else(|| {
                InvalidDesign::UnknownType {
                    number,
                    onset_s: row.onset_s,
                    trial_type: row.trial_type.to_owned(),
                    mapped: uses.keys().cloned().collect(),
                }
            })?;
            if let Some(kind) = kind.kind() {
                numbered.push((number, block(number, kind, row)?));
            }
        }
        numbered.sort_by(|a, b| a.1.onset_s.total_cmp(&b.1.onset_s));
        for pair in numbered.windows(2) {
            let ((_, before), (number, after)) = (&pair[0], &pair[1]);
            if after.onset_s < before.end_s() - ROUNDING_S {
                return Err(InvalidDesign::Overlap {
                    number: *number,
                    trial_type: after.condition.to_string(),
                    onset_s: after.onset_s,
                    before: before.condition.to_string(),
                    end_s: before.end_s(),
                });
            }
        }
        let blocks: Vec<Block> = numbered.into_iter().map(|(_, block)| block).collect();
        let n_block = blocks.len();
        if !blocks.iter().any(|block| block.kind == BlockKind::Baseline) {
            let why = "scores are compared with the signal there";
            return Err(InvalidDesign::Lacks { needed: "baseline", n_block, why });
        }
        if !blocks.iter().any(|block| block.kind.is_scored()) {
            let why = "without it or a `transfer` block there is nothing to score";
            return Err(InvalidDesign::Lacks { needed: "regulate", n_block, why });
        }
        Ok(Self(blocks))
    }

    /// The blocks, in the order of their onsets.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.0
    }

    /// End of the last block, seconds since the start of volume index 0.
    #[must_use]
    pub fn end_s(&self) -> f64 {
        self.0.last().map_or(0.0, Block::end_s)
    }

    /// Total length of the blocks of a kind, in seconds.
    #[must_use]
    pub fn total_s(&self, kind: BlockKind) -> f64 {
        self.0.iter().filter(|block| block.kind == kind).map(|block| block.duration_s).sum()
    }

    /// The block that contains this time, its start included and its end not.
    #[must_use]
    pub fn at(&self, time_s: f64) -> Place {
        let n_started = self.0.partition_point(|block| block.onset_s <= time_s);
        let found = n_started.checked_sub(1).filter(|&index| time_s < self.0[index].end_s());
        Place {
            block_index: found,
            kind: found.map_or(BlockKind::Rest, |index| self.0[index].kind),
            is_beyond_design: n_started == self.0.len() && found.is_none(),
        }
    }

    /// Checks that every regulation block is followed by a rest long enough to show its mean: the
    /// last response of the block arrives `hrf_delay_s` after its end.
    pub(super) fn check_intermittent(&self, hrf_delay_s: f64) -> Result<(), InvalidDesign> {
        for (index, block) in self.0.iter().enumerate() {
            if block.kind != BlockKind::Regulate {
                continue;
            }
            // After the last block there is rest without end.
            let next = self.0[index + 1..].iter().find(|block| block.kind != BlockKind::Rest);
            let found_s = next.map_or(f64::INFINITY, |next| next.onset_s - block.end_s());
            if found_s <= hrf_delay_s {
                return Err(InvalidDesign::NoRest {
                    condition: block.condition.to_string(),
                    end_s: block.end_s(),
                    found_s: found_s.max(0.0),
                    needed_s: hrf_delay_s,
                });
            }
        }
        Ok(())
    }
}

fn block(number: usize, kind: BlockKind, row: &EventRow<'_>) -> Result<Block, InvalidDesign> {
    let EventRow { onset_s, duration_s, trial_type } = *row;
    let wrong = |column, found, expected| InvalidDesign::Time {
        number,
        trial_type: trial_type.to_owned(),
        column,
        found,
        expected,
    };
    if !onset_s.is_finite() {
        return Err(wrong("onset", onset_s, "a finite time"));
    }
    if !(duration_s > 0.0 && duration_s.is_finite()) {
        return Err(wrong("duration", duration_s, "more than 0 s, because it is a block"));
    }
    Ok(Block { kind, onset_s, duration_s, condition: trial_type.into() })
}

#[cfg(test)]
mod tests;
