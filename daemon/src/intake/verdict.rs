//! The verdict on a message: what to answer, what was accepted, and what the operator should know.

use corticast_wire::message::{Ack, MessageError, ToAdapter};

use crate::signal::happening::{Event, RunNumber};

/// Volumes of one run: at the shortest TR in use, 0.1 s, more than a day.
pub(super) const MAX_INDEX: u32 = 1_000_000;

/// What becomes of one message.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What to answer now.
    pub replies: Vec<ToAdapter>,
    /// What was accepted.
    pub events: Vec<Event>,
    /// What to acknowledge once the message is in the recording.
    pub acknowledge: Option<(RunNumber, Ack)>,
    /// What the operator should know.
    pub problem: Option<IngestError>,
    /// Whether the message was a duplicate.
    pub duplicate: bool,
}

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The message cannot be read, or does not fit its run.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Its run is not open.
    #[error("`{run}` is not open{}; send `run` first", open_run(.open.as_deref()))]
    UnknownRun {
        /// Which run the message names.
        run: String,
        /// Which run is open.
        open: Option<String>,
    },
    /// Volumes before it were lost with the process before this one.
    #[error(
        "the daemon was restarted and lacks volumes of `{run}` before {index}; send `run` first"
    )]
    Overtaken {
        /// Which run the message names.
        run: String,
        /// Its index.
        index: u32,
    },
    /// The run may not start.
    #[error("run `{run}` is refused: {reason}")]
    RunRefused {
        /// Which run.
        run: String,
        /// What was found and expected.
        reason: String,
    },
    /// The index is out of range.
    #[error("`{run}` announces volume index {index}, expected less than {MAX_INDEX}")]
    Index {
        /// Which run.
        run: String,
        /// What it said.
        index: u32,
    },
    /// The bytes are those of another volume.
    #[error("volume {index} of `{run}` is byte for byte volume {same_as}; dropped as a copy")]
    Copy {
        /// Which run.
        run: String,
        /// What it calls itself.
        index: u32,
        /// What it is.
        same_as: u32,
    },
    /// A run started while another was open.
    #[error("run `{started}` started before `{ended}` was ended; `{ended}` is ended now")]
    NoEnd {
        /// The run before.
        ended: String,
        /// The run that starts.
        started: String,
    },
}

fn open_run(open: Option<&str>) -> String {
    open.map_or_else(|| ", no run is".to_owned(), |open| format!(", `{open}` is"))
}

/// What the run does about an error. A participant is in the scanner, so the default is to
/// carry on; stopping needs a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Drop this volume or message, count it, wait for the next.
    SkipVolume,
    /// Keep showing the last feedback while the connection is retried.
    HoldFeedback,
    /// End the run and tell the operator.
    StopRun,
}

impl IngestError {
    /// What the run does about this error.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        // No `_` arm: whoever adds an error has to decide.
        match self {
            Self::Message(_) | Self::Index { .. } | Self::Copy { .. } | Self::NoEnd { .. } => {
                Disposition::SkipVolume
            }
            // The adapter sends the run again and goes on.
            Self::UnknownRun { .. } | Self::Overtaken { .. } => Disposition::HoldFeedback,
            Self::RunRefused { .. } => Disposition::StopRun,
        }
    }
}
