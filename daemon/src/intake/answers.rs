//! Sends answers to adapters in a separate task, so that an adapter that does not read cannot
//! delay the receive task. When [`QUEUE`] answers wait, further ones are dropped; adapters ask
//! again.

use std::{sync::Arc, time::Duration};

use corticast_wire::{
    message::{Encoding, ToAdapter},
    socket::{PeerId, Router},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use crate::{
    failpoint,
    recording::recorder::{Answer, Ticket},
    supervise::Supervisor,
};

/// How long an answer waits for an adapter that does not read, while the answers to others wait
/// behind it.
const PATIENCE: Duration = Duration::from_millis(50);

/// Answers that may wait.
const QUEUE: usize = 1024;

/// Hands answers to the task that sends them.
#[derive(Clone)]
pub struct Answers(mpsc::Sender<(PeerId, Encoding, ToAdapter)>);

impl Answers {
    /// Starts the task. It ends once all clones are dropped and their answers are sent.
    pub fn start(adapters: Arc<Router>, supervisor: &Supervisor) -> (Self, JoinHandle<()>) {
        let (sender, mut waiting) = mpsc::channel::<(PeerId, Encoding, ToAdapter)>(QUEUE);
        let task = supervisor.spawn("answers", async move {
            while let Some((peer, encoding, answer)) = waiting.recv().await {
                failpoint::point("answers");
                let sent = timeout(PATIENCE, adapters.send(&peer, answer.to_frames(encoding)));
                match sent.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "an answer was not sent; the adapter asks again");
                    }
                    Err(_) => tracing::debug!("an adapter does not read its answers"),
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

    /// Gives the answer of a message or command that is in the recording.
    pub fn give(&self, ticket: Ticket) {
        match ticket.answer {
            Answer::Adapter { peer, encoding, answer } => self.send(&peer, encoding, answer),
            // The operator may have disconnected; the command is in force anyway.
            Answer::Operator { to, answer } => drop(to.send(answer)),
        }
    }
}
