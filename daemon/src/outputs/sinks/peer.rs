//! A TCP peer that the daemon connects to.
//!
//! Nothing waits for the peer: a write that does not fit into the buffer of the operating system
//! ends the connection, and what the peer sends is thrown away, a few kilobytes for each event.
//! After a failure the next attempt waits, longer each time.

use std::{
    io::{Error, ErrorKind, Read as _, Result, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_millis(250);
/// Pause after the first failure, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// The peer, connected or not.
pub(super) struct Peer {
    address: SocketAddr,
    stream: Option<TcpStream>,
    /// After a failure: when to try again, and the pause before.
    next: Option<(Instant, Duration)>,
}

impl Peer {
    /// A peer that is not connected yet.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, next: None }
    }

    /// Connects unless it is connected. Says whether the connection is new.
    pub(super) fn connect(&mut self) -> Result<bool> {
        if self.stream.is_some() && !self.has_hung_up() {
            return Ok(false);
        }
        let now = Instant::now();
        if self.next.is_some_and(|(next, _)| now < next) {
            return Err(self.error("not connected; the next attempt follows".into()));
        }
        let connected = TcpStream::connect_timeout(&self.address, CONNECT).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => {
                (self.stream, self.next) = (Some(stream), None);
                Ok(true)
            }
            Err(error) => {
                let pause = self.next.map_or(PAUSE.0, |(_, last)| (2 * last).min(PAUSE.1));
                self.next = Some((now + pause, pause));
                Err(self.error(format!("cannot connect: {error}")))
            }
        }
    }

    /// Sends a whole message, or ends the connection.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(stream) = &mut self.stream else {
            return Err(self.error("not connected".into()));
        };
        match stream.write(bytes) {
            Ok(n) if n == bytes.len() => Ok(()),
            Ok(_) => Err(self.give_up("does not read".into())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(self.give_up("does not read".into()))
            }
            Err(error) => Err(self.give_up(error.to_string())),
        }
    }

    /// Ends the connection in an orderly way.
    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    /// Reads a little of what the peer sent, and ends the connection if the peer did.
    fn has_hung_up(&mut self) -> bool {
        let mut unread = [0; 4096];
        let is_open = match self.stream.as_mut().map(|stream| stream.read(&mut unread)) {
            Some(Ok(n)) => n > 0,
            Some(Err(error)) => error.kind() == ErrorKind::WouldBlock,
            None => false,
        };
        if !is_open {
            self.stream = None;
        }
        !is_open
    }

    fn give_up(&mut self, reason: String) -> Error {
        self.stream = None;
        self.next = Some((Instant::now() + PAUSE.0, PAUSE.0));
        self.error(reason)
    }

    fn error(&self, reason: String) -> Error {
        Error::other(format!("the program at {}: {reason}", self.address))
    }
}
