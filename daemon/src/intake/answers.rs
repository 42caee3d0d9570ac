//! Answers to adapters, from a task of their own: a peer that does not read delays nobody who
//! receives. When [`QUEUE`] answers wait, further ones are dropped; adapters ask again.

use std::sync::Arc;

use corticast_wire::{
    message::{Encoding, ToAdapter},
    socket::{PeerId, Router},
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::recording::recorder::Ticket;

/// Answers that may wait.
const QUEUE: usize = 1024;

/// Hands answers to their task.
#[derive(Clone)]
pub struct Answers(mpsc::Sender<(PeerId, Encoding, ToAdapter)>);

impl Answers {
    /// Starts the task.
    pub fn start(adapters: Arc<Router>) -> (Self, JoinHandle<()>) {
        let (sender, mut waiting) = mpsc::channel::<(PeerId, Encoding, ToAdapter)>(QUEUE);
        let task = tokio::spawn(async move {
            while let Some((peer, encoding, answer)) = waiting.recv().await {
                if let Err(error) = adapters.send(&peer, answer.to_frames(encoding)).await {
                    tracing::debug!(%error, "an answer did not arrive; the adapter asks again");
                }
            }
        });
        (Self(sender), task)
    }

    /// Answers a peer.
    pub fn send(&self, peer: &PeerId, encoding: Encoding, answer: ToAdapter) {
        if self.0.try_send((peer.clone(), encoding, answer)).is_err() {
            tracing::debug!("no room for an answer; the adapter asks again");
        }
    }

    /// Says that a message is in the recording.
    pub fn acknowledge(&self, ticket: Ticket) {
        self.send(&ticket.peer, ticket.encoding, ToAdapter::Ack(ticket.ack));
    }
}
