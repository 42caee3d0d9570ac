//! The sockets. The only file that names the ZeroMQ crate, and the only place where a socket is
//! made, so that none is made without its limits.
//!
//! A peer can be slow, gone, hostile or replaced. None of these may stop anybody else: every
//! wait ends, every queue is bounded, a frame over the limit ends its own connection, and a
//! peer that is gone is a value, not a hang. What was sent is not what has arrived: whoever
//! needs to know asks for an acknowledgement ([`crate::message`]).

use std::time::Duration;

use bytes::Bytes;
pub(crate) use omq_tokio::{CurveKeypair, CurvePublicKey, CurveSecretKey};
use omq_tokio::{
    CurveServerOptions, DisconnectReason, Error, Message, MonitorEvent, MonitorRecvError,
    MonitorStream, OnMute, Options, Socket, SocketType, TrySendError,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

pub use crate::{
    error::{PeerId, SocketError},
    limits::Limits,
    trust::{ClientSecurity, ServerSecurity},
};

/// A peer that does not finish its greeting in this time is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an idle connection is asked whether it lives.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A connection that is silent for so long is closed.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(3);
/// A peer that reads nothing for so long is dropped by the kernel: its heartbeats go on.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a closing socket goes on sending.
const LINGER: Duration = Duration::from_millis(500);
/// Refused connections are logged this often at most: a flood of them shall not fill the disk.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The binding side of a conversation: DEALER and REQ peers connect. Sends and receives at the
/// same time through a shared reference.
#[derive(Debug)]
pub struct Router {
    inner: Inner,
}

impl Router {
    /// Listens at `endpoint`. Port `*` or 0 takes a free one. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails when the endpoint cannot be, is taken, or leaves the machine without keys.
    pub async fn bind(
        endpoint: &str,
        security: &ServerSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        // Else a message to a peer that is gone vanishes silently.
        let options = options(limits).router_mandatory(true);
        Inner::bind(SocketType::Router, options, endpoint, security, limits)
            .await
            .map(|inner| Self { inner })
    }

    /// Where it listens, with the port it got.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.inner.endpoint
    }

    /// Waits for a message. Cancel-safe: a dropped call has taken nothing.
    ///
    /// # Errors
    ///
    /// Fails when the socket is closed.
    pub async fn recv(&self) -> Result<(PeerId, Vec<Bytes>), SocketError> {
        let mut parts = parts(&self.inner.recv().await?).into_iter().peekable();
        let route = parts.next().unwrap_or_default();
        let delimited = parts.next_if(Bytes::is_empty).is_some();
        Ok((PeerId { route, delimited }, parts.collect()))
    }

    /// Answers a peer.
    ///
    /// # Errors
    ///
    /// [`SocketError::PeerGone`] when it is not connected, [`SocketError::SendTimeout`] when it
    /// does not read. Other peers are served all the same.
    pub async fn send(&self, peer: &PeerId, frames: Vec<Bytes>) -> Result<(), SocketError> {
        let envelope = [Some(peer.route.clone()), peer.delimited.then(Bytes::new)];
        let message = Message::multipart(envelope.into_iter().flatten().chain(frames));
        match self.inner.send(message).await {
            Err(Failure::Unroutable) => Err(SocketError::PeerGone {
                endpoint: self.inner.endpoint.clone(),
                peer: peer.clone(),
            }),
            other => other.map_err(|failure| self.inner.error(failure)),
        }
    }
}

/// The connecting side of a conversation. Reconnects by itself; what was under way is lost, so
/// what matters is acknowledged and sent again.
#[derive(Debug)]
pub struct Dealer {
    inner: Inner,
}

impl Dealer {
    /// Connects to `endpoint`, now or as soon as somebody listens there. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails when the endpoint cannot be.
    pub async fn connect(
        endpoint: &str,
        security: &ClientSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        let inner = Inner::new(SocketType::Dealer, options(limits), endpoint, security, limits)?;
        inner.connect().await?;
        Ok(Self { inner })
    }

    /// Where it connects to.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.inner.endpoint
    }

    /// Waits until the other side has answered.
    ///
    /// # Errors
    ///
    /// [`SocketError::NoAnswer`] after `limit`; the socket goes on trying.
    pub async fn wait_connected(&self, limit: Duration) -> Result<(), SocketError> {
        self.inner.wait_connected(limit).await
    }

    /// Sends a message; while nobody is connected, `send_hwm` of them are kept.
    ///
    /// # Errors
    ///
    /// [`SocketError::SendTimeout`] when there is no room, [`SocketError::KeyRefused`] when the
    /// other side does not want us.
    pub async fn send(&self, frames: Vec<Bytes>) -> Result<(), SocketError> {
        self.inner.check_refusal()?;
        let sent = self.inner.send(Message::multipart(frames)).await;
        sent.map_err(|failure| self.inner.error(failure))
    }

    /// Waits for a message. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`SocketError::KeyRefused`] when the other side does not want us.
    pub async fn recv(&self) -> Result<Vec<Bytes>, SocketError> {
        self.inner.recv_unless_refused().await
    }
}

/// Tells everybody who listens. A subscriber that does not keep up loses its own oldest
/// messages; nobody else notices.
#[derive(Debug)]
pub struct Publisher {
    inner: Inner,
}

impl Publisher {
    /// Listens for subscribers at `endpoint`. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// As [`Router::bind`].
    pub async fn bind(
        endpoint: &str,
        security: &ServerSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        let options = options(limits).on_mute(OnMute::DropOldest);
        Inner::bind(SocketType::Pub, options, endpoint, security, limits)
            .await
            .map(|inner| Self { inner })
    }

    /// Where it listens, with the port it got.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.inner.endpoint
    }

    /// Hands a message to every subscriber of its first frame. Waits for no subscriber, only
    /// for the task that copies messages to them, so that a burst is not cut.
    ///
    /// # Errors
    ///
    /// Fails when the socket is closed or this process is starved.
    pub async fn send(&self, frames: Vec<Bytes>) -> Result<(), SocketError> {
        let deadline = Instant::now() + self.inner.limits.send_timeout;
        let mut message = Message::multipart(frames);
        loop {
            message = match self.inner.socket.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(message)) => message,
                Err(TrySendError::Closed) => return Err(self.inner.error(Error::Closed.into())),
                Err(TrySendError::Error(error)) => return Err(self.inner.error(error.into())),
            };
            timeout_at(deadline, self.inner.socket.wait_send_ready())
                .await
                .map_err(|_| self.inner.error(Failure::Timeout))?;
        }
    }
}

/// Listens to a [`Publisher`]. Reconnects and subscribes again by itself.
#[derive(Debug)]
pub struct Subscriber {
    inner: Inner,
}

impl Subscriber {
    /// Subscribes to topics at `endpoint`, now or as soon as somebody listens there. A topic is
    /// a prefix; the empty one is everything. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails when the endpoint cannot be.
    pub async fn connect(
        endpoint: &str,
        topics: &[&str],
        security: &ClientSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        let inner = Inner::new(SocketType::Sub, options(limits), endpoint, security, limits)?;
        for topic in topics {
            let subscribed = inner.socket.subscribe(Bytes::copy_from_slice(topic.as_bytes()));
            subscribed.await.map_err(|error| inner.error(error.into()))?;
        }
        inner.connect().await?;
        Ok(Self { inner })
    }

    /// Waits until the other side has answered.
    ///
    /// # Errors
    ///
    /// [`SocketError::NoAnswer`] after `limit`; the socket goes on trying.
    pub async fn wait_connected(&self, limit: Duration) -> Result<(), SocketError> {
        self.inner.wait_connected(limit).await
    }

    /// Waits for a message. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`SocketError::KeyRefused`] when the other side does not want us.
    pub async fn recv(&self) -> Result<Vec<Bytes>, SocketError> {
        self.inner.recv_unless_refused().await
    }
}

/// What every socket has.
#[derive(Debug)]
struct Inner {
    socket: Socket,
    endpoint: String,
    limits: Limits,
    /// Why the other side does not want us, once it has said so.
    refusal: watch::Receiver<Option<String>>,
}

/// Why a send failed, before it is known what that means.
enum Failure {
    Timeout,
    Unroutable,
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unroutable => Self::Unroutable,
            Error::Timeout => Self::Timeout,
            other => Self::Other(other),
        }
    }
}

/// Every limit, for every socket.
fn options(limits: &Limits) -> Options {
    Options::default()
        .max_message_size(limits.max_message_bytes)
        .send_hwm(limits.send_hwm)
        .recv_hwm(limits.recv_hwm)
        .transmit_slot_cap(limits.subscriber_backlog_bytes)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .heartbeat_interval(HEARTBEAT)
        .heartbeat_ttl(HEARTBEAT_TIMEOUT)
        .heartbeat_timeout(HEARTBEAT_TIMEOUT)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .linger(LINGER)
}

impl Inner {
    async fn bind(
        kind: SocketType,
        options: Options,
        endpoint: &str,
        security: &ServerSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        security.permits(endpoint)?;
        let options = match security {
            ServerSecurity::LoopbackOnly => options,
            ServerSecurity::Curve { keys, allowed } => {
                let allowed = allowed.clone();
                // Without this closure CURVE admits everybody who knows our public key.
                let admit = CurveServerOptions::new().authenticator(move |client| {
                    allowed.iter().any(|key| key.0.as_bytes() == &client.public_key)
                });
                options.curve_server_with_options(keys.0.clone(), admit)
            }
        };
        let mut inner = Self::spawn(kind, options, endpoint, limits)?;
        inner.endpoint = match inner.socket.bind(resolved(endpoint).as_str()).await {
            Ok(bound) => bound.to_string(),
            Err(error) => return Err(bind_error(endpoint, error)),
        };
        Ok(inner)
    }

    fn new(
        kind: SocketType,
        options: Options,
        endpoint: &str,
        security: &ClientSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        let options = match security {
            ClientSecurity::None => options,
            ClientSecurity::Curve { keys, server } => {
                options.curve_client(keys.0.clone(), server.0)
            }
        };
        Self::spawn(kind, options, endpoint, limits)
    }

    fn spawn(
        kind: SocketType,
        options: Options,
        endpoint: &str,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        if !["tcp://", "ipc://"].iter().any(|scheme| endpoint.starts_with(scheme)) {
            let reason = "it is neither tcp nor ipc".to_owned();
            return Err(SocketError::Endpoint { endpoint: endpoint.to_owned(), reason });
        }
        let socket = Socket::try_new(kind, options).map_err(|error| SocketError::Failed {
            endpoint: endpoint.to_owned(),
            reason: error.to_string(),
        })?;
        let (refused, refusal) = watch::channel(None);
        tokio::spawn(watch_connections(socket.monitor(), endpoint.to_owned(), refused));
        Ok(Self { socket, endpoint: endpoint.to_owned(), limits: *limits, refusal })
    }

    async fn connect(&self) -> Result<(), SocketError> {
        self.socket.connect(resolved(&self.endpoint).as_str()).await.map_err(|error| {
            SocketError::Endpoint { endpoint: self.endpoint.clone(), reason: error.to_string() }
        })
    }

    async fn wait_connected(&self, limit: Duration) -> Result<(), SocketError> {
        let mut refusal = self.refusal.clone();
        tokio::select! {
            connected = self.socket.wait_connected(1, limit) => match connected {
                Ok(_) => Ok(()),
                Err(Error::Timeout) => Err(SocketError::NoAnswer {
                    endpoint: self.endpoint.clone(),
                    after: limit,
                }),
                Err(error) => Err(self.error(error.into())),
            },
            Ok(_) = refusal.wait_for(Option::is_some) => self.check_refusal(),
        }
    }

    async fn send(&self, message: Message) -> Result<(), Failure> {
        match timeout(self.limits.send_timeout, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(Failure::from),
            Err(_) => Err(Failure::Timeout),
        }
    }

    async fn recv(&self) -> Result<Message, SocketError> {
        self.socket.recv().await.map_err(|error| self.error(error.into()))
    }

    async fn recv_unless_refused(&self) -> Result<Vec<Bytes>, SocketError> {
        let mut refusal = self.refusal.clone();
        tokio::select! {
            biased;
            message = self.recv() => Ok(parts(&message?)),
            Ok(_) = refusal.wait_for(Option::is_some) => {
                self.check_refusal().map(|()| Vec::new())
            }
        }
    }

    fn check_refusal(&self) -> Result<(), SocketError> {
        match self.refusal.borrow().clone() {
            None => Ok(()),
            Some(reason) => {
                Err(SocketError::KeyRefused { endpoint: self.endpoint.clone(), reason })
            }
        }
    }

    fn error(&self, failure: Failure) -> SocketError {
        let endpoint = self.endpoint.clone();
        match failure {
            Failure::Timeout => {
                SocketError::SendTimeout { endpoint, after: self.limits.send_timeout }
            }
            Failure::Unroutable => {
                SocketError::Failed { endpoint, reason: Error::Unroutable.to_string() }
            }
            Failure::Other(error) => SocketError::Failed { endpoint, reason: error.to_string() },
        }
    }
}

/// Follows a socket's connections until it is closed: keeps why we were refused, and tells the
/// log whom we refuse.
async fn watch_connections(
    mut events: MonitorStream,
    endpoint: String,
    refused: watch::Sender<Option<String>>,
) {
    let mut logged: Option<Instant> = None;
    let mut unlogged = 0_u64;
    loop {
        match events.recv().await {
            Ok(MonitorEvent::ConnectStopped {
                reason: DisconnectReason::HandshakeRefused(why),
                ..
            }) => {
                refused.send_replace(Some(why.to_string()));
            }
            Ok(MonitorEvent::HandshakeFailed { peer_ident, reason, .. }) => {
                if logged.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
                    unlogged += 1;
                    continue;
                }
                tracing::warn!(%endpoint, peer = %peer_ident, %reason, unlogged,
                    "connection refused");
                (logged, unlogged) = (Some(Instant::now()), 0);
            }
            Err(MonitorRecvError::Closed) | Ok(MonitorEvent::Closed) => return,
            _ => {}
        }
    }
}

/// `localhost` can be two addresses, of which only one would be bound.
fn resolved(endpoint: &str) -> String {
    endpoint.replacen("tcp://localhost:", "tcp://127.0.0.1:", 1)
}

fn bind_error(endpoint: &str, error: Error) -> SocketError {
    let endpoint = endpoint.to_owned();
    match error {
        Error::Io(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            SocketError::InUse { endpoint }
        }
        Error::InvalidEndpoint(reason) => SocketError::Endpoint { endpoint, reason },
        other => SocketError::Bind { endpoint, reason: other.to_string() },
    }
}

fn parts(message: &Message) -> Vec<Bytes> {
    (0..message.len()).filter_map(|index| message.part_bytes(index)).collect()
}
