//! Tickets: the answers that are owed once an entry is safe, or once it is known not to be.

use corticast_bold::time::TrIndex;
use corticast_wire::{
    message::{Encoding, ToAdapter},
    socket::PeerId,
};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::signal::happening::RunNumber;

/// What is owed for an entry once it is safe.
#[derive(Debug)]
pub struct Ticket {
    /// The volume in the entry.
    pub volume: Option<(RunNumber, TrIndex)>,
    /// The answer to its sender.
    pub answer: Answer,
}

/// An answer that waits for its entry to be safe.
#[derive(Debug)]
pub enum Answer {
    /// To an adapter.
    Adapter {
        /// The adapter.
        peer: PeerId,
        /// Encoding of the message's headers.
        encoding: Encoding,
        /// The answer.
        answer: ToAdapter,
    },
    /// To an operator.
    Operator {
        /// Takes the answer.
        to: oneshot::Sender<Value>,
        /// The answer.
        answer: Value,
    },
}

impl Ticket {
    /// Whether the answer is owed although recording has failed: decoding goes on then, so runs
    /// start and commands are in force. What would say that something is recorded is not owed.
    #[must_use]
    pub fn is_owed_unrecorded(&self) -> bool {
        match &self.answer {
            Answer::Adapter { answer, .. } => !matches!(answer, ToAdapter::Ack(_)),
            Answer::Operator { .. } => true,
        }
    }

    /// The ticket of an entry that is not recorded. It tells an operator that a restart will not know
    /// of the command.
    #[must_use]
    pub fn unrecorded(mut self) -> Self {
        if let Answer::Operator { answer, .. } = &mut self.answer {
            let note = "in force, but not recorded: give the command again after a restart";
            let message = match answer["message"].as_str() {
                Some(message) if !message.is_empty() => format!("{message}; {note}"),
                _ => note.to_owned(),
            };
            answer["message"] = message.into();
        }
        Self { volume: None, ..self }
    }
}
