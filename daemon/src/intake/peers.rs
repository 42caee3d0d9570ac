//! The connected adapters: when each was last heard, and which has the open run.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use corticast_wire::{
    heartbeat::SILENCE,
    message::{Encoding, FromAdapter},
    socket::PeerId,
};

/// Most adapters that are tracked.
const MAX_PEERS: usize = 1024;

/// An adapter.
struct Peer {
    encoding: Encoding,
    heard: Instant,
    /// Whether this adapter announced the open run.
    has_run: bool,
    is_silent: bool,
}

/// The adapters. See the module docs.
#[derive(Default)]
pub struct Peers(HashMap<PeerId, Peer>);

/// The silence of the adapters that have the open run.
pub(super) struct Silence {
    /// The longest silence, in seconds; 0 without a run.
    pub(super) longest_s: f64,
    /// The silence of each adapter that has just become silent.
    pub(super) newly_silent: Vec<Duration>,
}

impl Peers {
    /// Notes a message. Returns whether the adapter had been silent.
    pub(super) fn heard(
        &mut self,
        peer: &PeerId,
        encoding: Encoding,
        message: &FromAdapter,
    ) -> bool {
        let starts_run = matches!(message, FromAdapter::Run { .. });
        if self.0.len() >= MAX_PEERS && !self.0.contains_key(peer) {
            return false;
        }
        let known = self.0.entry(peer.clone()).or_insert(Peer {
            encoding,
            heard: Instant::now(),
            has_run: false,
            is_silent: false,
        });
        known.heard = Instant::now();
        known.has_run |= starts_run;
        known.encoding = if *message == FromAdapter::Ping { known.encoding } else { encoding };
        std::mem::take(&mut known.is_silent)
    }

    /// Notes that this adapter has the open run.
    pub(super) fn run_started(&mut self, peer: &PeerId) {
        self.0.entry(peer.clone()).and_modify(|peer| peer.has_run = true);
    }

    /// Notes that the open run has ended.
    pub(super) fn run_ended(&mut self) {
        self.0.values_mut().for_each(|peer| peer.has_run = false);
    }

    /// Calls `ping` for each adapter that has the open run, and forgets silent adapters without
    /// one.
    pub(super) fn look_after(
        &mut self,
        is_open: bool,
        mut ping: impl FnMut(&PeerId, Encoding),
    ) -> Silence {
        let mut silence = Silence { longest_s: 0.0, newly_silent: Vec::new() };
        for (id, peer) in &mut self.0 {
            let silent = peer.heard.elapsed();
            if peer.has_run && is_open {
                silence.longest_s = silence.longest_s.max(silent.as_secs_f64());
                ping(id, peer.encoding);
                if silent > SILENCE && !peer.is_silent {
                    peer.is_silent = true;
                    silence.newly_silent.push(silent);
                }
            }
        }
        self.0.retain(|_, peer| (peer.has_run && is_open) || peer.heard.elapsed() < SILENCE);
        silence
    }

    /// How many adapters are connected.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
