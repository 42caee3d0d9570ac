//! The volumes that do not fit into the window: on disk, and sent once without delay if that keeps
//! the order.

use std::{collections::HashSet, time::Instant};

use corticast_wire::message::VolumeMessage;

use super::spill::{Spill, SpillError};

/// See the module docs.
#[derive(Debug)]
pub(super) struct Overflow {
    spill: Spill,
    /// How many of the oldest volumes were sent, the one in `live` included.
    n_sent: u32,
    /// The newest volume, to be sent now.
    live: Option<VolumeMessage>,
    /// Volumes that were acknowledged before they reached the window.
    acked: HashSet<u32>,
}

/// What became of the volume that has waited longest.
#[derive(Debug)]
pub(super) enum Popped {
    /// It goes into the window.
    Volume {
        /// The volume.
        message: Box<VolumeMessage>,
        /// Now, if it was sent already.
        sent: Option<Instant>,
    },
    /// It was acknowledged.
    Acked,
    /// It cannot be read back, and others of its file neither.
    Lost {
        /// Number of volumes that are lost.
        n: u64,
        /// Why.
        error: SpillError,
    },
}

impl Overflow {
    pub(super) fn new(spill: Spill) -> Self {
        Self { spill, n_sent: 0, live: None, acked: HashSet::new() }
    }

    /// Number of waiting volumes.
    pub(super) fn len(&self) -> u32 {
        self.spill.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spill.is_empty()
    }

    /// Appends a volume. `in_order` tells that every volume before those here was sent.
    ///
    /// # Errors
    ///
    /// Fails when the volume does not fit or the disk fails.
    pub(super) fn push(
        &mut self,
        message: VolumeMessage,
        in_order: bool,
    ) -> Result<(), SpillError> {
        // Sent out of order, this volume would make the earlier ones late.
        let in_order = in_order && self.live.is_none() && self.n_sent == self.spill.len();
        self.spill.push(&message)?;
        if in_order {
            self.n_sent += 1;
            self.live = Some(message);
        }
        Ok(())
    }

    /// The volume to be sent now.
    pub(super) fn take_live(&mut self) -> Option<VolumeMessage> {
        self.live.take()
    }

    /// Takes the acknowledgement of a volume that is not in the window.
    pub(super) fn ack(&mut self, index: u32) {
        if self.n_sent > 0 {
            self.acked.insert(index);
        }
    }

    /// Sends all volumes again, because those in flight may not arrive.
    pub(super) fn send_again(&mut self) {
        self.live = None;
        self.n_sent = 0;
    }

    /// Removes the volume that has waited longest.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Popped> {
        let waited = u64::from(self.spill.len());
        let popped = match self.spill.pop() {
            Ok(Some(message)) => self.popped(message, now),
            Ok(None) => return None,
            Err(error) => {
                self.send_again();
                Popped::Lost { n: waited - u64::from(self.spill.len()), error }
            }
        };
        if self.spill.is_empty() {
            self.n_sent = 0;
            self.acked.clear();
        }
        Some(popped)
    }

    fn popped(&mut self, message: VolumeMessage, now: Instant) -> Popped {
        let was_sent = self.n_sent > 0;
        self.n_sent = self.n_sent.saturating_sub(1);
        if self.acked.remove(&message.header.index.0) {
            return Popped::Acked;
        }
        // The last one was not sent yet, only chosen for it.
        let is_live = was_sent && self.n_sent == 0 && self.live.take().is_some();
        let sent = (was_sent && !is_live).then_some(now);
        Popped::Volume { message: message.into(), sent }
    }
}
