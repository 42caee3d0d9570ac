//! The control port: a sender says here to which port it will send.
//!
//! The answer is that we are listening. A sender behind a tunnel or a translated address may name
//! another port than ours and reach us nevertheless, so only one that does not connect to the data
//! port is told of: two programs that wait for each other. A sender can also ask the receiver to run
//! a program; that is never done.

use std::{
    io::{self, Read as _},
    net::{IpAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::network::{
    ListenOptions,
    listen::{bind, is_allowed},
};

/// Bytes of a control message.
const MAX_BYTES: usize = 32 * 1024;
/// How long a sender may take to send it.
const TALK: Duration = Duration::from_secs(5);
/// A sender that announced itself connects to the data port within this time.
const CONNECTS: Duration = Duration::from_secs(5);
/// The connection may be there before the announcement was read.
const BEFORE: Duration = Duration::from_secs(2);

/// When a sender last connected to the data port. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Connected(Arc<Mutex<Option<Instant>>>);

impl Connected {
    /// A sender has connected.
    pub(super) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_since(&self, at: Instant) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|last| last + BEFORE >= at)
    }
}

/// Answers on the control port, from a thread of its own.
pub(super) struct ControlPort {
    allowed: Vec<IpAddr>,
    data_port: u16,
    connected: Connected,
    /// Whether an announcement is being watched.
    is_watching: Arc<AtomicBool>,
}

impl ControlPort {
    pub(super) fn start(
        options: &ListenOptions,
        port: u16,
        data_port: u16,
        connected: Connected,
    ) -> io::Result<()> {
        let listener = bind(options, port)?;
        tracing::info!(address = %listener.local_addr()?, "listening for afni control");
        let (allowed, is_watching) = (options.allow.clone(), Arc::default());
        let port = Self { allowed, data_port, connected, is_watching };
        thread::Builder::new().name("afni-control".into()).spawn(move || port.keep(&listener))?;
        Ok(())
    }

    fn keep(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // For example when the process has no file handles left.
                thread::park_timeout(Duration::from_millis(100));
                continue;
            };
            let allowed = stream.peer_addr().is_ok_and(|peer| is_allowed(peer.ip(), &self.allowed));
            if !allowed {
                tracing::warn!("afni: control connection refused: not among --allow");
                continue;
            }
            match read(stream) {
                Ok(text) => self.look(&text),
                Err(error) => tracing::warn!(%error, "afni: no control message"),
            }
        }
    }

    fn look(&self, text: &[u8]) {
        match control(text) {
            Ok(port) if port == self.data_port => {
                tracing::info!("afni: a sender announced itself");
            }
            Ok(port) => {
                let ours = self.data_port;
                tracing::info!("afni: a sender announced itself, for port {port} (ours is {ours})");
                self.watch(port);
            }
            Err(reason) => tracing::error!("afni: {reason}"),
        }
        if text.contains(&b'\n') {
            tracing::warn!("afni: the sender asks to run a program, which is never done");
        }
    }
}

impl ControlPort {
    /// Tells of a sender that named `port` and then does not connect to ours.
    fn watch(&self, port: u16) {
        if self.is_watching.swap(true, Ordering::AcqRel) {
            return;
        }
        let (announced, ours) = (Instant::now(), self.data_port);
        let (connected, is_watching) = (self.connected.clone(), Arc::clone(&self.is_watching));
        let watch = move || {
            let until = announced + CONNECTS;
            while Instant::now() < until {
                thread::park_timeout(until.saturating_duration_since(Instant::now()));
            }
            is_watching.store(false, Ordering::Release);
            if !connected.is_since(announced) {
                tracing::error!(
                    "afni: a sender announced images for port {port} and has not connected to {ours}, \
                     where this adapter takes them: give --data-port {port}, or change the sender's \
                     port"
                );
            }
        };
        if thread::Builder::new().name("afni-announced".into()).spawn(watch).is_err() {
            self.is_watching.store(false, Ordering::Release);
        }
    }
}

/// Reads up to a NUL or the end of the connection.
fn read(mut stream: TcpStream) -> io::Result<Vec<u8>> {
    let (until, mut text, mut chunk) = (Instant::now() + TALK, Vec::new(), [0; 512]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let n = stream.read(&mut chunk)?;
        let end = chunk[..n].iter().position(|&byte| byte == 0);
        text.extend_from_slice(&chunk[..end.unwrap_or(n)]);
        if end.is_some() || n == 0 {
            return Ok(text);
        }
        if text.len() > MAX_BYTES {
            return Err(io::Error::other("it is longer than 32 KiB"));
        }
    }
}

/// The data port of `tcp:<host>:<port>`.
fn control(text: &[u8]) -> Result<u16, &'static str> {
    let text = String::from_utf8_lossy(text);
    let first = text.lines().next().unwrap_or("").trim();
    if first.starts_with("shm:") {
        return Err("found a sender that uses shared memory (shm:), expected tcp: give it the \
                    address of this machine with -host");
    }
    let port = first.strip_prefix("tcp:").and_then(|rest| rest.rsplit(':').next());
    port.and_then(|port| port.parse().ok())
        .ok_or("found a control message other than tcp:HOST:PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_message_names_a_port_of_tcp_only() {
        assert_eq!(control(b"tcp:127.0.0.1:5214"), Ok(5214));
        assert_eq!(control(b"tcp:scanner:7960\nrm -rf /"), Ok(7960));
        assert!(control(b"shm:grv:1M").unwrap_err().contains("-host"));
        for other in [&b""[..], b"tcp:", b"tcp:host:99999", b"GET / HTTP/1.1", b"\xff\xfe"] {
            control(other).unwrap_err();
        }
    }
}
