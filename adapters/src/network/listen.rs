//! A listening socket that admits one allowed sender at a time.
//!
//! A second sender waits up to [`GRACE`] for the first to end, and is then refused: two scans at
//! once would be mixed. A sender whose run ended by silence gives way to a new one, so that a
//! machine that was switched off does not hold the place.

use std::{
    io::{self, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use socket2::{SockRef, TcpKeepalive};

use super::ListenOptions;

/// How long a second sender waits for the first to end.
pub const GRACE: Duration = Duration::from_secs(2);
/// Interval at which a waiting sender asks whether the place is free.
const ASK: Duration = Duration::from_millis(10);
/// Pause when the system has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);
/// A peer that is switched off is noticed after about this long.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long a refusal may take to send.
const FAREWELL: Duration = Duration::from_millis(200);

/// Who holds the one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    /// A sender that may be replaced.
    Idle,
    Taken,
}

/// The one place for a sender. Clones share it.
#[derive(Clone, Debug)]
pub struct Turn(Arc<Mutex<Place>>);

impl Turn {
    fn set(&self, place: Place) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    /// The sender is gone.
    pub fn free(&self) {
        self.set(Place::Free);
    }

    /// The sender is silent, and may be replaced.
    pub fn idle(&self) {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *place == Place::Taken {
            *place = Place::Idle;
        }
    }

    /// The silent sender speaks again. `false` when it was replaced.
    #[must_use]
    pub fn wake(&self) -> bool {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = *place == Place::Idle;
        *place = Place::Taken;
        is_ours
    }

    /// Takes the place for a new sender, if it is free or idle.
    fn take(&self) -> bool {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = *place != Place::Taken;
        *place = Place::Taken;
        is_free
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    connections: Receiver<TcpStream>,
    turn: Turn,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Whether a peer may connect.
#[must_use]
pub fn is_allowed(peer: IpAddr, allowed: &[IpAddr]) -> bool {
    peer.is_loopback() || allowed.contains(&peer.to_canonical())
}

/// Binds a socket at the address of the options.
///
/// # Errors
///
/// Fails when other machines could connect and none is allowed, or when the port is in use.
pub fn bind(options: &ListenOptions, port: u16) -> io::Result<TcpListener> {
    let ListenOptions { listen, allow, .. } = options;
    if !listen.is_loopback() && allow.is_empty() {
        return Err(io::Error::other(format!(
            "--listen {listen} is open to other machines: name those that may connect with --allow"
        )));
    }
    TcpListener::bind((*listen, port)).map_err(|error| {
        let text = format!("cannot listen on {}: {error}", SocketAddr::new(*listen, port));
        io::Error::new(error.kind(), text)
    })
}

impl Listener {
    /// Listens on `port` for the protocol `name`. `refusal` is what a second sender gets.
    ///
    /// # Errors
    ///
    /// As [`bind`].
    pub fn start(
        name: &'static str,
        options: &ListenOptions,
        port: u16,
        refusal: &'static [u8],
    ) -> io::Result<Self> {
        let listener = bind(options, port)?;
        let address = listener.local_addr()?;
        let (sender, connections) = bounded(1);
        let turn = Turn(Arc::new(Mutex::new(Place::Free)));
        let door = Door { name, allowed: options.allow.clone(), turn: turn.clone(), refusal };
        thread::Builder::new()
            .name(format!("{name}-door"))
            .spawn(move || door.keep(&listener, &sender))?;
        tracing::info!(%address, "listening for {name}");
        Ok(Self { connections, turn, address })
    }

    /// Waits for a sender, until `until` or for ever. `None` when none came.
    #[must_use]
    pub fn wait(&self, until: Option<Instant>) -> Option<TcpStream> {
        match until {
            None => self.connections.recv().ok(),
            Some(until) => self.connections.recv_deadline(until).ok(),
        }
    }

    /// The one place for a sender.
    #[must_use]
    pub fn turn(&self) -> Turn {
        self.turn.clone()
    }
}

/// Decides who comes in.
struct Door {
    name: &'static str,
    allowed: Vec<IpAddr>,
    turn: Turn,
    refusal: &'static [u8],
}

impl Door {
    fn keep(&self, listener: &TcpListener, connections: &Sender<TcpStream>) {
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    if !self.admit(stream, peer, connections) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    pause(NO_ROOM);
                }
            }
        }
    }

    /// Returns false when the adapter is gone.
    fn admit(&self, stream: TcpStream, peer: SocketAddr, connections: &Sender<TcpStream>) -> bool {
        let name = self.name;
        if !is_allowed(peer.ip(), &self.allowed) {
            tracing::warn!(
                peer = %peer.ip(),
                "{name}: connection refused: the address is not among --allow"
            );
            return true;
        }
        let until = Instant::now() + GRACE;
        while !self.turn.take() {
            if Instant::now() >= until {
                tracing::warn!(
                    peer = %peer.ip(),
                    "{name}: second connection refused: another sender is connected"
                );
                say_goodbye(stream, self.refusal);
                return true;
            }
            pause(ASK);
        }
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive).ok();
        stream.set_nodelay(true).ok();
        match connections.try_send(stream) {
            Ok(()) => true,
            // A third sender replaced an idle one before the second was looked at.
            Err(TrySendError::Full(stream)) => {
                say_goodbye(stream, self.refusal);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

fn say_goodbye(mut stream: TcpStream, words: &[u8]) {
    stream.set_write_timeout(Some(FAREWELL)).ok();
    stream.write_all(words).ok();
    stream.shutdown(std::net::Shutdown::Both).ok();
}

#[allow(clippy::disallowed_methods, reason = "the socket sends no event when the place is free")]
fn pause(time: Duration) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_need_an_allow_list() {
        let open = ListenOptions { listen: [0, 0, 0, 0].into(), ..ListenOptions::default() };
        let error = bind(&open, 0).unwrap_err().to_string();
        assert!(error.contains("--allow"), "{error}");
        let named = ListenOptions { allow: vec![[10, 0, 0, 7].into()], ..open };
        bind(&named, 0).unwrap();
        assert!(is_allowed([10, 0, 0, 7].into(), &named.allow));
        assert!(is_allowed("::ffff:10.0.0.7".parse().unwrap(), &named.allow));
        assert!(is_allowed([127, 3, 2, 1].into(), &named.allow));
        assert!(!is_allowed([10, 0, 0, 8].into(), &named.allow));
    }

    #[test]
    fn a_silent_sender_gives_way_and_a_speaking_one_does_not() {
        let turn = Turn(Arc::new(Mutex::new(Place::Free)));
        assert!(turn.take() && !turn.take());
        turn.idle();
        assert!(turn.wake() && !turn.take());
        turn.idle();
        assert!(turn.take());
        assert!(!turn.wake(), "the old sender was replaced");
        turn.free();
        assert!(turn.take());
    }
}
