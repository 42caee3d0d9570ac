//! Messages that were received and not decided on yet, because the signal thread is behind.
//!
//! The receive task goes on reading while the signal thread is behind, so that heartbeats are
//! answered and commands obeyed. Other messages wait here, in order.
//!
//! **When full** a volume is dropped: its adapter sends it again, because it was not acknowledged.
//! Other messages have places that volumes cannot take.

use std::collections::VecDeque;

use bytes::Bytes;
use corticast_wire::{
    message::{Encoding, FromAdapter},
    socket::PeerId,
};

/// Bytes of messages up to which volumes may wait.
const MAX_BYTES: usize = 256 << 20;
/// Messages up to which volumes may wait: more than an adapter sends without an answer.
const MAX_VOLUMES: usize = 256;
/// Most messages that may wait.
const MAX_MESSAGES: usize = 1024;

/// A message, and where it came from.
pub(super) struct Received {
    pub(super) peer: PeerId,
    pub(super) encoding: Encoding,
    pub(super) message: FromAdapter,
    pub(super) frames: Vec<Bytes>,
    pub(super) received_ns: u64,
}

impl Received {
    fn n_byte(&self) -> usize {
        self.frames.iter().map(Bytes::len).sum()
    }

    /// Whether it is a volume.
    pub(super) fn is_volume(&self) -> bool {
        matches!(self.message, FromAdapter::Volume(_))
    }
}

/// The waiting messages. See the module docs.
#[derive(Default)]
pub struct Waiting {
    messages: VecDeque<Received>,
    n_byte: usize,
}

impl Waiting {
    /// Adds a message. Returns false when it was dropped.
    pub(super) fn push(&mut self, received: Received) -> bool {
        let n_byte = received.n_byte();
        let (most, is_volume) = match received.is_volume() {
            true => (MAX_VOLUMES, true),
            false => (MAX_MESSAGES, false),
        };
        let has_bytes = self.messages.is_empty() || !is_volume || self.n_byte + n_byte <= MAX_BYTES;
        if self.messages.len() >= most || !has_bytes {
            return false;
        }
        self.n_byte += n_byte;
        self.messages.push_back(received);
        true
    }

    /// The oldest message.
    pub(super) fn pop(&mut self) -> Option<Received> {
        let received = self.messages.pop_front()?;
        self.n_byte -= received.n_byte();
        Some(received)
    }

    /// Whether no message waits.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }
}
