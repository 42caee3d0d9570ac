//! Clients of the daemon's sockets, for tests that send one message at a time.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use bytes::Bytes;
use corticast_bold::run::RunHeader;
use corticast_images::acquired::AcquiredVolume;
use corticast_wire::{
    message::{Encoding, End, FromAdapter, Ready, ToAdapter, decode},
    socket::{ClientSecurity, Dealer, Limits, SocketError, Subscriber},
};
use serde_json::Value;
use tokio::{runtime::Runtime, time::timeout};

use crate::PATIENCE;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A DEALER socket whose user sends and receives in turn.
#[derive(Debug)]
pub struct Talk {
    runtime: Runtime,
    dealer: Dealer,
}

impl Talk {
    /// Connects to an endpoint.
    #[must_use]
    pub fn connect(endpoint: &str, security: &ClientSecurity) -> Self {
        let runtime = runtime();
        // A test must not fail because the daemon reads slowly.
        let limits = Limits { send_timeout: PATIENCE, ..Limits::default() };
        let dealer = runtime.block_on(Dealer::connect(endpoint, security, &limits));
        let dealer = dealer.expect("an endpoint");
        Self { runtime, dealer }
    }

    /// Waits until the daemon has answered the ZeroMQ handshake, at most `limit`.
    ///
    /// # Errors
    ///
    /// Fails when the daemon does not answer in time, or refuses the connection.
    pub fn wait_connected(&self, limit: Duration) -> Result<(), SocketError> {
        self.runtime.block_on(self.dealer.wait_connected(limit))
    }

    /// Sends raw frames.
    pub fn say_frames(&self, frames: &[&[u8]]) {
        let frames = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
        self.runtime.block_on(self.dealer.send(frames)).expect("the daemon listens");
    }

    /// Sends a message.
    pub fn say(&self, message: &FromAdapter) {
        let frames = message.to_frames(Encoding::MessagePack);
        self.runtime.block_on(self.dealer.send(frames)).expect("the daemon listens");
    }

    fn frames(&self) -> Vec<Bytes> {
        let received = self.runtime.block_on(async { timeout(PATIENCE, self.dealer.recv()).await });
        received.expect("an answer in time").expect("an answer")
    }

    /// The next answer other than a heartbeat.
    #[must_use]
    pub fn answer(&self) -> ToAdapter {
        loop {
            let answer = ToAdapter::parse(&self.frames()).expect("an answer that can be read");
            if !matches!(answer, ToAdapter::Ping(_)) {
                return answer;
            }
        }
    }

    /// Like [`Talk::answer`], if an answer or heartbeat arrives within `limit`.
    #[must_use]
    pub fn answer_within(&self, limit: Duration) -> Option<ToAdapter> {
        let received = self.runtime.block_on(async { timeout(limit, self.dealer.recv()).await });
        Some(ToAdapter::parse(&received.ok()?.ok()?).expect("an answer that can be read"))
    }

    /// Starts a run. Returns the daemon's answer.
    #[must_use]
    pub fn start_run(&self, header: &RunHeader) -> Ready {
        self.say(&FromAdapter::Run { header: header.clone(), resume: false });
        match self.answer() {
            ToAdapter::Ready(ready) => ready,
            other => panic!("expected ready, got {other:?}"),
        }
    }

    /// Sends volumes of a run and waits until each is acknowledged.
    pub fn send_volumes(&self, run: &str, volumes: &[AcquiredVolume]) {
        for volume in volumes {
            self.say(&FromAdapter::Volume(volume.clone().into_message(run)));
            match self.answer() {
                ToAdapter::Ack(ack) => assert_eq!(ack.index, Some(volume.index.0)),
                other => panic!("expected the acknowledgement of {}, got {other:?}", volume.index),
            }
        }
    }

    /// Ends a run and waits for the acknowledgement.
    pub fn end_run(&self, run: &str, n_sent: u32) {
        self.say(&FromAdapter::End(End {
            run: run.to_owned(),
            n_sent: Some(n_sent),
            triggers: None,
        }));
        match self.answer() {
            ToAdapter::Ack(ack) => assert_eq!(ack.index, None),
            other => panic!("expected an acknowledgement, got {other:?}"),
        }
    }

    /// Expects a refusal. Returns its reason.
    #[must_use]
    pub fn refusal(&self) -> String {
        match self.answer() {
            ToAdapter::Refused(refused) => refused.reason,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    /// Sends an operator command. Returns the daemon's answer.
    #[must_use]
    pub fn command(&self, command: &str) -> Value {
        self.say_command(command);
        self.confirmation()
    }

    /// Sends an operator command without waiting for its answer.
    pub fn say_command(&self, command: &str) {
        self.say_frames(&[serde_json::json!({ "command": command }).to_string().as_bytes()]);
    }

    /// The answer to a command.
    #[must_use]
    pub fn confirmation(&self) -> Value {
        serde_json::from_slice(&self.frames()[0]).expect("JSON")
    }

    /// Sends a question to the query socket. Returns the answer.
    #[must_use]
    pub fn query(&self, question: &str) -> Value {
        self.say_frames(&[question.as_bytes(), b"json"]);
        let frames = self.frames();
        serde_json::from_slice(&frames[1]).expect("JSON")
    }
}

/// A text that is not a valid kind of message.
fn question(n: u32) -> String {
    format!("heard-{n}?")
}

/// A subscriber to the daemon's PUB socket.
#[derive(Debug)]
pub struct Watch {
    runtime: Runtime,
    subscriber: Subscriber,
}

impl Watch {
    /// Subscribes to everything. Returns once the subscriber will receive every later message.
    ///
    /// A finished handshake does not mean that the daemon has read the subscription. `adapters` is
    /// a connection to the adapter socket. The daemon publishes a warning about each message that
    /// it refuses there, so this function sends invalid messages until such a warning arrives.
    #[must_use]
    pub fn hearing_all(endpoint: &str, security: &ClientSecurity, adapters: &Talk) -> Self {
        /// Pause between two invalid messages. Its length affects only how many are sent.
        const PAUSE: Duration = Duration::from_millis(50);
        let watch = Self::connect(endpoint, security);
        let started = std::time::Instant::now();
        for n in 0.. {
            let is_warning = |said: u32, topic: &str, header: &Value| {
                topic == "status"
                    && header["message"].as_str().is_some_and(|m| m.contains(&question(said)))
            };
            adapters.say_frames(&[question(n).as_bytes()]);
            assert!(adapters.refusal().contains(&question(n)));
            if let Some((topic, header)) = watch.next(PAUSE) {
                // Warnings about earlier messages may still be on their way. The test must not see
                // them.
                if !is_warning(n, &topic, &header) {
                    drop(watch.until("refusal", |topic, header| is_warning(n, topic, header)));
                }
                return watch;
            }
            assert!(started.elapsed() < PATIENCE, "no subscription within {PATIENCE:?}");
        }
        unreachable!("a test does not ask for ever")
    }

    /// Subscribes to everything, without waiting until the subscription has arrived.
    #[must_use]
    pub fn connect(endpoint: &str, security: &ClientSecurity) -> Self {
        let runtime = runtime();
        let subscriber =
            runtime.block_on(Subscriber::connect(endpoint, &[""], security, &Limits::default()));
        Self { runtime, subscriber: subscriber.expect("an endpoint") }
    }

    /// Waits until the daemon has answered the ZeroMQ handshake, at most `limit`.
    ///
    /// # Errors
    ///
    /// Fails when the daemon does not answer in time, or refuses the connection.
    pub fn wait_connected(&self, limit: Duration) -> Result<(), SocketError> {
        self.runtime.block_on(self.subscriber.wait_connected(limit))
    }

    /// The next message, as topic and header, if one arrives within `limit`.
    #[must_use]
    pub fn next(&self, limit: Duration) -> Option<(String, Value)> {
        self.next_with_payload(limit).map(|(topic, header, _)| (topic, header))
    }

    /// Like [`Watch::next`], with the payload if there is one.
    #[must_use]
    pub fn next_with_payload(&self, limit: Duration) -> Option<(String, Value, Option<Bytes>)> {
        let received =
            self.runtime.block_on(async { timeout(limit, self.subscriber.recv()).await });
        let frames = received.ok()?.expect("a message");
        let topic = String::from_utf8_lossy(&frames[0]).into_owned();
        let header = decode("message", &frames[1], Encoding::MessagePack).expect("MessagePack");
        Some((topic, header, frames.get(2).cloned()))
    }

    /// Waits for the first message for which `fits` returns `true`.
    #[must_use]
    pub fn until(&self, what: &str, fits: impl Fn(&str, &Value) -> bool) -> Value {
        loop {
            let (topic, header) =
                self.next(PATIENCE).unwrap_or_else(|| panic!("no {what} in time"));
            if fits(&topic, &header) {
                return header;
            }
        }
    }
}

/// Status and body of `GET`, from a server that then closes the connection.
#[must_use]
pub fn http_get(endpoint: &str, path: &str) -> (u16, String) {
    let host = endpoint.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}
