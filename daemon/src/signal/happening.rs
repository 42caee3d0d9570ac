//! What can happen to a session: an accepted message from an adapter, or a command.
//!
//! The receive task, a restart and a replay all put happenings into the session in the order in
//! which they were recorded.

use std::sync::Arc;

use corticast_bold::run::RunHeader;
use corticast_wire::message::{Mark, VolumeMessage};
use serde::{Deserialize, Serialize};

/// One thing that happened to a session.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A message from an adapter was accepted.
    Event(Event),
    /// The operator gave a command.
    Command(Command),
}

/// A command to a running session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Reports the state of the session. Changes nothing.
    Status,
    /// Stops decoding; volumes are still taken, recorded and normalised.
    Pause,
    /// Decodes again.
    Resume,
    /// The participant sees neutral feedback.
    Blank,
    /// The participant sees the feedback again.
    Unblank,
    /// Ends the open run; the session goes on.
    EndRun,
    /// Ends the run and the daemon.
    Abort,
    /// The daemon was stopped by a signal. Not for operators.
    #[serde(rename = "stop")]
    Stop,
}

/// Number of a run within the session, from 0, in order of their start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunNumber(pub usize);

/// A run as the session knows it.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its number in the session.
    pub number: RunNumber,
    /// Its name: its BIDS entities, and `+2` and so on where it is a repeat of the same.
    pub name: Arc<str>,
    /// What the adapter said of it.
    pub header: Arc<RunHeader>,
}

/// What was accepted, in the order in which it happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A run started.
    RunStarted(Run),
    /// A volume came.
    Volume(RunNumber, VolumeMessage),
    /// A trigger or event came.
    Mark(RunNumber, Mark),
    /// A run ended.
    RunEnded {
        /// Which run.
        number: RunNumber,
        /// Volumes that the adapter sent, where it said so.
        n_sent: Option<u32>,
        /// Who ended it.
        by: EndedBy,
    },
}

/// Who ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The adapter said `end`: everything it had was sent before.
    Adapter,
    /// The operator. What still comes is refused.
    Operator,
    /// The daemon stopped, or another run started. The rest may come as a run of its own.
    Interruption,
}
