//! A sender's bytes, with an end to every wait and a bound on every length.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

/// Bytes that are read at once, and by which memory grows.
const CHUNK: usize = 256 * 1024;
/// How often a wait looks at its deadline.
const LOOK: Duration = Duration::from_millis(100);

/// Why a sender's bytes gave no message. The connection ends.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The sender closed the connection between two messages.
    #[error("the sender closed the connection")]
    Closed,
    /// The sender closed the connection within a message.
    #[error("the connection ended after {found} of {expected} bytes of {what}")]
    Cut {
        /// What was read.
        what: &'static str,
        /// Bytes that arrived.
        found: usize,
        /// Bytes that were expected.
        expected: usize,
    },
    /// The sender fell silent within a message.
    #[error("the sender was silent for {after_s} s after {found} of {expected} bytes of {what}")]
    Stalled {
        /// What was read.
        what: &'static str,
        /// Bytes that arrived.
        found: usize,
        /// Bytes that were expected.
        expected: usize,
        /// How long the sender was silent.
        after_s: f64,
    },
    /// The bytes break the protocol.
    #[error("{0}")]
    Invalid(String),
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
}

/// Whether a message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// Its first bytes are here, or the sender has closed the connection.
    Now,
    /// Nothing came in time.
    Not,
}

/// A connected sender.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were taken.
    taken: usize,
    ended: bool,
    stall: Duration,
}

impl Stream {
    /// Reads from a socket; `stall` is how long the sender may be silent within a message.
    ///
    /// # Errors
    ///
    /// Fails when the socket cannot be set up.
    pub fn new(socket: TcpStream, stall: Duration) -> io::Result<Self> {
        socket.set_read_timeout(Some(LOOK))?;
        socket.set_write_timeout(Some(stall.max(LOOK)))?;
        Ok(Self { socket, buffer: Vec::new(), taken: 0, ended: false, stall })
    }

    /// Another handle on the socket, to write from another thread.
    ///
    /// # Errors
    ///
    /// Fails when the system has no further handle.
    pub fn socket(&self) -> io::Result<TcpStream> {
        self.socket.try_clone()
    }

    /// Waits until a message begins; `until` or for ever.
    ///
    /// # Errors
    ///
    /// Fails when the sender closed the connection.
    pub fn begins(&mut self, until: Option<Instant>) -> Result<Begins, StreamError> {
        loop {
            if self.taken < self.buffer.len() {
                return Ok(Begins::Now);
            }
            if self.ended {
                return Err(StreamError::Closed);
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Ok(Begins::Not);
            }
            self.fill()?;
        }
    }

    /// Reads exactly `n` bytes; the caller has checked that `n` is a length to expect.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends or stalls before.
    pub fn take(&mut self, n: usize, what: &'static str) -> Result<Vec<u8>, StreamError> {
        let mut bytes = Vec::with_capacity(n.min(CHUNK));
        let mut heard = Instant::now();
        while bytes.len() < n {
            let here = &self.buffer[self.taken..];
            if here.is_empty() {
                let found = bytes.len();
                if self.ended {
                    return Err(StreamError::Cut { what, found, expected: n });
                }
                if heard.elapsed() > self.stall {
                    let after_s = self.stall.as_secs_f64();
                    return Err(StreamError::Stalled { what, found, expected: n, after_s });
                }
                if self.fill()? {
                    heard = Instant::now();
                }
                continue;
            }
            let some = here.len().min(n - bytes.len());
            bytes.extend_from_slice(&here[..some]);
            self.taken += some;
        }
        Ok(bytes)
    }

    /// Reads up to the byte `end`, which is taken and not returned; at most `most` bytes.
    ///
    /// # Errors
    ///
    /// Fails when `end` does not come within `most` bytes, or the connection ends or stalls.
    pub fn take_until(
        &mut self,
        end: u8,
        most: usize,
        what: &'static str,
    ) -> Result<Vec<u8>, StreamError> {
        let (started, mut bytes) = (Instant::now(), Vec::new());
        loop {
            let here = &self.buffer[self.taken..];
            let at = here.iter().position(|&byte| byte == end);
            let some = at.unwrap_or(here.len());
            if bytes.len() + some > most {
                return Err(StreamError::Invalid(format!(
                    "found no end of {what} within {most} bytes"
                )));
            }
            bytes.extend_from_slice(&here[..some]);
            self.taken += some + usize::from(at.is_some());
            if at.is_some() {
                return Ok(bytes);
            }
            let (found, expected) = (bytes.len(), most);
            if self.ended {
                return Err(StreamError::Cut { what, found, expected });
            }
            // From the start, so that a byte now and then does not hold the place.
            if started.elapsed() > self.stall {
                let after_s = self.stall.as_secs_f64();
                return Err(StreamError::Stalled { what, found, expected, after_s });
            }
            self.fill()?;
        }
    }

    /// Answers the sender.
    ///
    /// # Errors
    ///
    /// Fails when the sender does not take the answer in time.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        self.socket.write_all(bytes).map_err(StreamError::Io)
    }

    /// Waits a moment for bytes. Returns whether some came.
    fn fill(&mut self) -> Result<bool, StreamError> {
        self.buffer.resize(CHUNK, 0);
        self.taken = 0;
        let read = self.socket.read(&mut self.buffer);
        self.buffer.truncate(*read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => {
                self.ended = true;
                Ok(false)
            }
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted => Ok(false),
                // A reset within a message is a cut like any other.
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    self.ended = true;
                    Ok(false)
                }
                _ => Err(StreamError::Io(error)),
            },
        }
    }
}
