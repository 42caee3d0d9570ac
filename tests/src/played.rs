//! A daemon that a test plays: a ROUTER socket that shows every message of a real adapter, and
//! answers what the test decides.

use std::time::Duration;

use bytes::Bytes;
use corticast_wire::{
    message::{Ack, DaemonPing, Durability, Encoding, FromAdapter, PROTOCOL, Ready, ToAdapter},
    socket::{Limits, PeerId, Router, ServerSecurity, SocketError},
};
use tokio::{runtime::Runtime, time::timeout};

use crate::PATIENCE;

/// See the module docs.
#[derive(Debug)]
pub struct PlayedDaemon {
    runtime: Runtime,
    router: Router,
    /// Name of this daemon process in its answers.
    instance: String,
    peer: Option<PeerId>,
    /// All frames received so far.
    pub heard: Vec<Bytes>,
}

impl PlayedDaemon {
    /// Listens at a free port of this machine.
    #[must_use]
    pub fn listen() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let limits = Limits { send_timeout: PATIENCE, ..Limits::default() };
        let bound = Router::bind("tcp://127.0.0.1:0", &ServerSecurity::LoopbackOnly, &limits);
        let router = runtime.block_on(bound).expect("a free port");
        Self { runtime, router, instance: "played".to_owned(), peer: None, heard: Vec::new() }
    }

    /// The endpoint for adapters.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.router.endpoint().to_owned()
    }

    /// The next message of the adapter, if one arrives within `limit`. Answers no message.
    #[must_use]
    pub fn next_within(&mut self, limit: Duration) -> Option<FromAdapter> {
        let router = &self.router;
        let received = self.runtime.block_on(async { timeout(limit, router.recv()).await });
        let (peer, frames) = received.ok()?.expect("a message");
        self.peer = Some(peer);
        let message = FromAdapter::parse(&frames).expect("a valid message").0;
        self.heard.extend(frames);
        Some(message)
    }

    /// The next message other than a heartbeat. Answers heartbeats.
    #[must_use]
    pub fn next_message(&mut self) -> FromAdapter {
        loop {
            match self.next_within(PATIENCE).expect("a message in time") {
                FromAdapter::Ping => self.ping(),
                other => return other,
            }
        }
    }

    /// Answers the adapter that sent the last message.
    pub fn say(&self, answer: &ToAdapter) {
        let peer = self.peer.as_ref().expect("an adapter sent a message");
        let frames = answer.to_frames(Encoding::MessagePack);
        match self.runtime.block_on(self.router.send(peer, frames)) {
            // An adapter may end before it reads the answer to its heartbeat.
            Ok(()) | Err(SocketError::PeerGone { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a heartbeat.
    pub fn ping(&self) {
        self.say(&ToAdapter::Ping(DaemonPing { instance: self.instance.clone() }));
    }

    /// Accepts a run under this name.
    pub fn accept(&self, run: &str, next_index: u32) {
        self.say(&ToAdapter::Ready(Ready {
            protocol: PROTOCOL,
            run: run.to_owned(),
            durability: Durability::None,
            next_index,
            instance: self.instance.clone(),
        }));
    }

    /// Acknowledges a volume, or with `None` the end of the run.
    pub fn ack(&self, run: &str, index: Option<u32>) {
        self.say(&ToAdapter::Ack(Ack { run: run.to_owned(), index }));
    }
}
