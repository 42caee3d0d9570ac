//! The connected adapters: when each was last heard, and which owns the open run.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use corticast_wire::{
    heartbeat::SILENCE,
    message::{Encoding, FromAdapter},
    socket::PeerId,
};

use crate::signal::happening::RunNumber;

/// Most adapters that are tracked.
const MAX_PEERS: usize = 1024;

/// An adapter.
struct Peer {
    encoding: Encoding,
    heard: Instant,
    is_silent: bool,
    /// The run that it announced last, and a number that grows with every announcement.
    announced: Option<(RunNumber, u64)>,
}

/// What the messages of an adapter are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has announced no run: it connected again, or was known to an earlier daemon.
    Unannounced,
    /// The run that it announced last.
    Announced(RunNumber),
    /// Another adapter has announced the same run since.
    Superseded,
}

/// The adapters. See the module docs.
#[derive(Default)]
pub struct Peers {
    known: HashMap<PeerId, Peer>,
    /// The adapter whose messages made up the open run last. A connection that was replaced
    /// stays known for a while, and its silence means nothing.
    owner: Option<PeerId>,
    n_announced: u64,
}

/// The silence of the adapter that owns the open run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Silence {
    /// How long it has been silent; zero without a run.
    pub(super) lasted: Duration,
    /// Whether it has just become silent.
    pub(super) is_new: bool,
}

impl Peers {
    /// Notes a message. Returns whether the adapter had been silent.
    pub(super) fn heard(
        &mut self,
        peer: &PeerId,
        encoding: Encoding,
        message: &FromAdapter,
    ) -> bool {
        if self.known.len() >= MAX_PEERS && !self.known.contains_key(peer) {
            return false;
        }
        let heard = Instant::now();
        let known = self.known.entry(peer.clone());
        let known = known.or_insert(Peer { encoding, heard, is_silent: false, announced: None });
        known.heard = heard;
        known.encoding = if *message == FromAdapter::Ping { known.encoding } else { encoding };
        std::mem::take(&mut known.is_silent)
    }

    /// Notes that this adapter announced a run, and was told to send its volumes.
    pub(super) fn announced(&mut self, peer: &PeerId, number: RunNumber) {
        self.n_announced += 1;
        if let Some(known) = self.known.get_mut(peer) {
            known.announced = Some((number, self.n_announced));
        }
    }

    /// What the messages of this adapter are for.
    pub(super) fn standing(&self, peer: &PeerId) -> Standing {
        let Some((number, at)) = self.known.get(peer).and_then(|known| known.announced) else {
            return Standing::Unannounced;
        };
        let later = |other: &Peer| other.announced.is_some_and(|(n, t)| n == number && t > at);
        if self.known.values().any(later) {
            Standing::Superseded
        } else {
            Standing::Announced(number)
        }
    }

    /// Notes that this adapter announced the open run, or sent a volume of it.
    pub(super) fn owns_run(&mut self, peer: &PeerId) {
        if self.owner.as_ref() != Some(peer) {
            self.owner = Some(peer.clone());
        }
    }

    /// Notes that the open run has ended.
    pub(super) fn run_ended(&mut self) {
        self.owner = None;
    }

    /// Looks after the adapter that owns the open run, and forgets other silent adapters. Calls
    /// `ping` for the owner.
    pub(super) fn look_after(&mut self, ping: impl FnOnce(&PeerId, Encoding)) -> Silence {
        let owner = &self.owner;
        self.known.retain(|id, peer| owner.as_ref() == Some(id) || peer.heard.elapsed() < SILENCE);
        let Some(id) = owner else { return Silence::default() };
        let Some(peer) = self.known.get_mut(id) else { return Silence::default() };
        ping(id, peer.encoding);
        let lasted = peer.heard.elapsed();
        let is_new = lasted > SILENCE && !std::mem::replace(&mut peer.is_silent, lasted > SILENCE);
        Silence { lasted, is_new }
    }

    /// How many adapters are connected.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
