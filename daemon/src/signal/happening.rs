//! What can happen to a session: an accepted message from an adapter, or a command.
//!
//! The receive task, a restart and a replay all put happenings into the session in the order in
//! which they were recorded.

use std::sync::Arc;

use corticast_bold::run::RunHeader;
use corticast_wire::message::{Mark, VolumeMessage};
use serde::{Deserialize, Serialize};

/// An accepted message or a command, as the session receives it.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A message from an adapter was accepted.
    Event(Event),
    /// The operator gave a command.
    Command(Command),
}

impl Happening {
    /// What happened, in words for the operator.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Event(Event::RunStarted(_)) => "the start of a run",
            Self::Event(Event::Volume(..)) => "a volume",
            Self::Event(Event::Mark(..)) => "a mark",
            Self::Event(Event::RunEnded { .. }) => "the end of a run",
            Self::Command(_) => "a command",
        }
    }
}

/// A command to a running session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Reports the state of the session. Changes nothing.
    Status,
    /// Stops decoding; volumes are still accepted, recorded and normalised.
    Pause,
    /// Resumes decoding.
    Resume,
    /// Shows the participant neutral feedback.
    Blank,
    /// Shows the participant the real feedback again.
    Unblank,
    /// Ends the open run; the session continues.
    EndRun,
    /// Ends the run and the daemon.
    Abort,
    /// Marks that a signal stopped the daemon. Operators cannot send it.
    #[serde(rename = "stop")]
    Stop,
}

/// Number of a run within the session, from 0, in order of start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunNumber(pub usize);

/// A run as the session knows it.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its number in the session.
    pub number: RunNumber,
    /// Its name: its BIDS entities, followed by `+2` and so on for a repeat.
    pub name: Arc<str>,
    /// The adapter's description of the run.
    pub header: Arc<RunHeader>,
}

/// An event that ingest accepted from an adapter's message.
#[derive(Clone, Debug)]
pub enum Event {
    /// A run started.
    RunStarted(Run),
    /// A volume arrived.
    Volume(RunNumber, VolumeMessage),
    /// A trigger or stimulus event arrived.
    Mark(RunNumber, Mark),
    /// A run ended.
    RunEnded {
        /// Number of the run.
        number: RunNumber,
        /// Volumes that the adapter sent, if its `end` gives the number.
        n_sent: Option<u32>,
        /// Who ended it.
        by: EndedBy,
    },
}

/// Who ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The adapter, with `end`, after sending all its volumes.
    Adapter,
    /// The operator. Later volumes of the run are refused.
    Operator,
    /// The daemon stopped, or another run started. The adapter may send the rest as a new run.
    Interruption,
}
