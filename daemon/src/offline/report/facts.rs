//! What a recording says about one run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use corticast_bold::run::RunHeader;
use corticast_wire::message::{Mark, TriggerCounts, VolumeHeader};
use serde_json::Value;

use super::{carpet::Carpet, latency::Latency, voxels::VoxelMaps};
use crate::product::reports::RunReport;

/// Most volumes of a run that are listed; further ones are counted. 24 days at a TR of 2 s.
pub(super) const MAX_ROWS: usize = 1 << 20;

/// Most warnings, alarms and commands of a run that are listed; further ones are counted.
pub(super) const MAX_NOTES: usize = 1000;

/// What the daemon reported on one volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct VolumeRow {
    pub(super) index: u32,
    /// Start of acquisition, seconds since the start of volume 0.
    pub(super) time_s: f64,
    /// Three translations in mm, three rotations in radians.
    pub(super) motion: Option<[f64; 6]>,
    pub(super) fd_mm: Option<f64>,
    pub(super) dvars: Option<f64>,
    pub(super) tsnr: Option<f64>,
    pub(super) is_spike: bool,
    pub(super) is_time_off: bool,
    pub(super) dropped: Option<Box<str>>,
}

/// One score of the feedback.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Score {
    /// Start of the volume after which it was shown, seconds since the start of volume 0.
    pub(super) time_s: f64,
    /// Time of the stimulus that it is about, on the same clock.
    pub(super) stimulus_time_s: f64,
    /// What was shown.
    pub(super) shown: Option<f64>,
    /// The participant's own.
    pub(super) own: Option<f64>,
}

/// A block of the feedback's design, as far as there are scores of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    pub(super) kind: String,
    pub(super) number: Option<u32>,
    pub(super) condition: String,
    /// Times of its first and last stimulus, in seconds.
    pub(super) from_s: f64,
    pub(super) to_s: f64,
}

/// The feedback of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Feedback {
    pub(super) scores: Vec<Score>,
    pub(super) blocks: Vec<Block>,
    /// How many scores had each state: `shown`, `held` and so on.
    pub(super) states: BTreeMap<String, u32>,
    pub(super) n_blanked: u32,
    /// Whether an assignment to real or sham feedback is sealed.
    pub(super) is_blind: bool,
}

impl Feedback {
    /// Whether the participant's own scores are shown: always, unless an assignment is sealed.
    pub(super) fn shows_own(&self, unblind: bool) -> bool {
        unblind || !self.is_blind
    }
}

/// A warning, an alarm, a command or a restart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Note {
    /// Seconds since the start of the run was recorded; negative before it.
    pub(super) time_s: f64,
    /// `alarm`, `warning`, `info`, `command` or `restart`.
    pub(super) kind: String,
    pub(super) text: String,
}

/// Results of a run, counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Results {
    pub(super) n: u32,
    pub(super) n_blanked: u32,
    pub(super) n_clips: u32,
    /// How many were made from `measured`, `interpolated`, `held` volumes.
    pub(super) made_from: BTreeMap<String, u32>,
    /// How often each head failed.
    pub(super) failed_heads: BTreeMap<String, u32>,
}

/// What a recording says about one run. See the module docs.
pub(super) struct RunFacts {
    pub(super) name: Arc<str>,
    pub(super) header: Arc<RunHeader>,
    /// Whether the recording holds the end of the run.
    pub(super) has_ended: bool,
    /// The description of the session.
    pub(super) session: Value,
    /// The last report on the run.
    pub(super) last: Option<RunReport>,
    /// Indices of recorded volumes.
    pub(super) recorded: BTreeSet<u32>,
    /// Volumes with an index that is implausibly large.
    pub(super) n_far: u32,
    /// Header of the first recorded volume.
    pub(super) first: Option<VolumeHeader>,
    pub(super) volumes: Vec<VolumeRow>,
    pub(super) n_unlisted_volumes: u64,
    pub(super) results: Results,
    pub(super) latency: Latency,
    pub(super) feedback: Feedback,
    pub(super) marks: Vec<Mark>,
    /// What the adapter found of the scanner's triggers, if it listened to them.
    pub(super) triggers: Option<TriggerCounts>,
    pub(super) notes: Vec<Note>,
    pub(super) n_unlisted_notes: u64,
    /// What is damaged in the part of the recording that holds the run.
    pub(super) faults: Vec<String>,
    /// Where that part was cut by a kill. All entries before are read.
    pub(super) cuts: Vec<String>,
    /// Whether the recording stops within the run: it is being written, or its writer was killed.
    pub(super) is_cut_short: bool,
    pub(super) maps: Option<VoxelMaps>,
    pub(super) carpet: Option<Carpet>,
}

impl RunFacts {
    /// A run that has just started.
    pub(super) fn new(name: Arc<str>, header: Arc<RunHeader>, session: Value) -> Self {
        Self {
            name,
            header,
            has_ended: false,
            session,
            last: None,
            recorded: BTreeSet::new(),
            n_far: 0,
            first: None,
            volumes: Vec::new(),
            n_unlisted_volumes: 0,
            results: Results::default(),
            latency: Latency::default(),
            feedback: Feedback::default(),
            marks: Vec::new(),
            triggers: None,
            notes: Vec::new(),
            n_unlisted_notes: 0,
            faults: Vec::new(),
            cuts: Vec::new(),
            is_cut_short: false,
            maps: None,
            carpet: None,
        }
    }

    /// Time between volumes, seconds.
    pub(super) fn tr_s(&self) -> f64 {
        self.header.repetition_time.as_secs()
    }

    /// Adds a note.
    pub(super) fn note(&mut self, note: Note) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        } else {
            self.n_unlisted_notes += 1;
        }
    }

    /// Adds the report on a volume. Reports come in the order of their index; another one of the
    /// same index is a repetition.
    pub(super) fn volume(&mut self, row: VolumeRow) {
        if self.volumes.last().is_some_and(|last| row.index <= last.index) {
            return;
        }
        if self.volumes.len() < MAX_ROWS {
            self.volumes.push(row);
        } else {
            self.n_unlisted_volumes += 1;
        }
    }

    /// Sorts the marks, and leaves out those that were sent twice.
    pub(super) fn finish(&mut self) {
        self.marks.sort_by(|a, b| a.time_s.total_cmp(&b.time_s).then(a.name.cmp(&b.name)));
        self.marks.dedup();
    }

    /// How many restarts the run survived.
    pub(super) fn n_restarts(&self) -> usize {
        self.notes.iter().filter(|note| note.kind == "restart").count()
    }
}

impl Feedback {
    /// Adds a score and extends its block.
    pub(super) fn add(&mut self, score: Score, block: Block, state: String) {
        *self.states.entry(state).or_default() += 1;
        if self.scores.len() < MAX_ROWS {
            self.scores.push(score);
        }
        let goes_on = |last: &&mut Block| {
            (&last.kind, last.number, &last.condition)
                == (&block.kind, block.number, &block.condition)
        };
        if let Some(last) = self.blocks.last_mut().filter(goes_on) {
            last.to_s = last.to_s.max(block.to_s);
        } else if self.blocks.len() < MAX_NOTES {
            self.blocks.push(block);
        }
    }
}
