//! Sends answers to adapters in a separate task, so that an adapter that does not read cannot
//! delay the receive task. When [`QUEUE`] answers wait, further ones are dropped; adapters ask
//! again.

use std::sync::Arc;

use corticast_wire::{
    message::{Encoding, ToAdapter},
    socket::{PeerId, Router},
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::recording::recorder::Ticket;

/// Answers that may wait.
const QUEUE: usize = 1024;

/// Hands answers to the task that sends them.
#[derive(Clone)]
pub struct Answers(mpsc::Sender<(PeerId, Encoding, ToAdapter)>);

impl Answers {
    /// Starts the task.
    pub fn start(adapters: Arc<Router>) -> (Self, JoinHandle<()>) {
        let (sender, mut waiting) = mpsc::channel::<(PeerId, Encoding, ToAdapter)>(QUEUE);
        let task = tokio::spawn(async move {
            while let Some((peer, encoding, answer)) = waiting.recv().await {
                if let Err(error) = adapters.send(&peer, answer.to_frames(encoding)).await {
                    tracing::debug!(%error, "could not send an answer; the adapter will ask again");
                }
            }
        });
        (Self(sender), task)
    }

    /// Queues an answer to an adapter, or drops it when the queue is full.
    pub fn send(&self, peer: &PeerId, encoding: Encoding, answer: ToAdapter) {
        if self.0.try_send((peer.clone(), encoding, answer)).is_err() {
            tracing::debug!("the queue of answers is full; the adapter will ask again");
        }
    }

    /// Tells the adapter that its message is in the recording.
    pub fn acknowledge(&self, ticket: Ticket) {
        self.send(&ticket.peer, ticket.encoding, ToAdapter::Ack(ticket.ack));
    }
}
