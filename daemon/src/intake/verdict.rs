//! The verdict on a message: the answers, the accepted events, and any problem for the operator.

use corticast_wire::message::{Ack, MAX_VOLUMES, MessageError, ToAdapter};

use crate::signal::happening::{Event, RunNumber};

/// Limit of volume indices in a run: more than a day at the shortest TR in use, 0.1 s.
pub(super) const MAX_INDEX: u32 = MAX_VOLUMES;

/// The decision on one message.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Answers to send at once.
    pub replies: Vec<ToAdapter>,
    /// Events accepted from the message.
    pub events: Vec<Event>,
    /// Acknowledgement to send once the message is in the recording.
    pub acknowledge: Option<(RunNumber, Ack)>,
    /// Problem to report to the operator.
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
    /// The message names a run that is not open.
    #[error("`{run}` is not open{}; send `run` first", open_run(.open.as_deref()))]
    UnknownRun {
        /// The run that the message names.
        run: String,
        /// The open run.
        open: Option<String>,
    },
    /// Earlier volumes of the run were lost when the daemon restarted.
    #[error("the daemon restarted and lacks volumes of `{run}` before {index}; send `run` first")]
    Overtaken {
        /// The run that the message names.
        run: String,
        /// Index of the volume.
        index: u32,
    },
    /// The run may not start.
    #[error("run `{run}` is refused: {reason}")]
    RunRefused {
        /// The run.
        run: String,
        /// Why: what was found and what was expected.
        reason: String,
    },
    /// The index is out of range.
    #[error("a volume of `{run}` has index {index}, expected less than {MAX_INDEX}")]
    Index {
        /// The run.
        run: String,
        /// Index in the message.
        index: u32,
    },
    /// The volume has the same bytes as another volume.
    #[error("volume {index} of `{run}` has the same bytes as volume {same_as}; dropped as a copy")]
    Copy {
        /// The run.
        run: String,
        /// Index in the message.
        index: u32,
        /// Index of the earlier volume.
        same_as: u32,
    },
    /// A run started while another was open.
    #[error("run `{started}` started before `{ended}` was ended; the daemon has ended `{ended}`")]
    NoEnd {
        /// The earlier run, now ended.
        ended: String,
        /// The run that starts.
        started: String,
    },
}

fn open_run(open: Option<&str>) -> String {
    open.map_or_else(|| ", no run is".to_owned(), |open| format!(", `{open}` is"))
}

/// How the run continues after an error. A participant is in the scanner, so the default is to
/// carry on; stopping needs a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Drop this volume or message, count it, and wait for the next.
    SkipVolume,
    /// Keep showing the last feedback while the connection is retried.
    HoldFeedback,
    /// End the run and tell the operator.
    StopRun,
}

impl IngestError {
    /// How the run continues after this error.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        // No `_` arm: a new error needs a decision here.
        match self {
            Self::Message(_) | Self::Index { .. } | Self::Copy { .. } | Self::NoEnd { .. } => {
                Disposition::SkipVolume
            }
            // The adapter announces the run again and continues.
            Self::UnknownRun { .. } | Self::Overtaken { .. } => Disposition::HoldFeedback,
            Self::RunRefused { .. } => Disposition::StopRun,
        }
    }
}
