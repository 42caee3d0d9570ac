//! The sockets. The only file that names the ZeroMQ crate, and the only place where a socket is
//! made, so that none is made without its limits.
//!
//! A peer can be slow, gone, hostile or replaced. None of these may stop anybody else: every
//! wait ends, every queue is bounded, a frame over the limit ends its own connection, and a
//! peer that is gone is a value, not a hang.

use std::{os::unix::fs::FileTypeExt as _, time::Duration};

use bytes::Bytes;
pub(crate) use omq_tokio::{CurveKeypair, CurvePublicKey, CurveSecretKey};
use omq_tokio::{
    CurveServerOptions, DisconnectReason, Error, Message, MonitorEvent, MonitorRecvError,
    MonitorStream, OnMute, Options, SocketType, TrySendError,
};
use tokio::{
    net::UnixStream,
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

pub use crate::{
    broadcast::{Publisher, Subscriber},
    conversation::{Dealer, Router},
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

/// What every socket has.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: omq_tokio::Socket,
    pub(crate) endpoint: String,
    limits: Limits,
    /// Why the other side does not want us, once it has said so.
    refusal: watch::Receiver<Option<String>>,
}

/// Why a send failed, before it is known what that means.
pub(crate) enum Failure {
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

/// What a socket is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Router,
    Dealer,
    Publisher,
    Subscriber,
}

/// Every limit, for every socket.
fn options(kind: Kind, limits: &Limits) -> (SocketType, Options) {
    let options = Options::default()
        .max_message_size(limits.max_message_bytes)
        .send_hwm(limits.send_hwm)
        .recv_hwm(limits.recv_hwm)
        .transmit_slot_cap(limits.subscriber_backlog_bytes)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .heartbeat_interval(HEARTBEAT)
        .heartbeat_ttl(HEARTBEAT_TIMEOUT)
        .heartbeat_timeout(HEARTBEAT_TIMEOUT)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .linger(LINGER);
    match kind {
        // Else a message to a peer that is gone vanishes silently.
        Kind::Router => (SocketType::Router, options.router_mandatory(true)),
        Kind::Dealer => (SocketType::Dealer, options),
        Kind::Publisher => (SocketType::Pub, options.on_mute(OnMute::DropOldest)),
        Kind::Subscriber => (SocketType::Sub, options),
    }
}

impl Socket {
    pub(crate) async fn bind(
        kind: Kind,
        endpoint: &str,
        security: &ServerSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        security.permits(endpoint)?;
        let publishes = matches!(kind, Kind::Publisher);
        let (kind, options) = options(kind, limits);
        let options = match security {
            ServerSecurity::LoopbackOnly if publishes => {
                options.send_hwm(limits.subscriber_backlog)
            }
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
        ipc_is_free(endpoint).await?;
        let mut socket = Self::spawn(kind, options, endpoint, limits)?;
        socket.endpoint = match socket.inner.bind(resolved(endpoint).as_str()).await {
            Ok(bound) => bound.to_string(),
            Err(error) => return Err(bind_error(endpoint, error)),
        };
        Ok(socket)
    }

    pub(crate) async fn connect(
        kind: Kind,
        topics: &[&str],
        endpoint: &str,
        security: &ClientSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        let (kind, mut options) = options(kind, limits);
        if let ClientSecurity::Curve { keys, server } = security {
            options = options.curve_client(keys.0.clone(), server.0);
        }
        let socket = Self::spawn(kind, options, endpoint, limits)?;
        for topic in topics {
            let subscribed = socket.inner.subscribe(Bytes::copy_from_slice(topic.as_bytes()));
            subscribed.await.map_err(|error| socket.error(error.into()))?;
        }
        socket.inner.connect(resolved(endpoint).as_str()).await.map_err(|error| {
            SocketError::Endpoint { endpoint: endpoint.to_owned(), reason: error.to_string() }
        })?;
        Ok(socket)
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
        let inner = omq_tokio::Socket::try_new(kind, options).map_err(|error| {
            SocketError::Failed { endpoint: endpoint.to_owned(), reason: error.to_string() }
        })?;
        let (refused, refusal) = watch::channel(None);
        tokio::spawn(watch_connections(inner.monitor(), endpoint.to_owned(), refused));
        Ok(Self { inner, endpoint: endpoint.to_owned(), limits: *limits, refusal })
    }

    pub(crate) async fn wait_connected(&self, limit: Duration) -> Result<(), SocketError> {
        let mut refusal = self.refusal.clone();
        tokio::select! {
            connected = self.inner.wait_connected(1, limit) => match connected {
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

    /// Waits for room for a message, as long as the limits allow.
    pub(crate) async fn send(&self, frames: Vec<Bytes>) -> Result<(), Failure> {
        let sent = self.inner.send(Message::multipart(frames));
        timeout(self.limits.send_timeout, sent)
            .await
            .map_err(|_| Failure::Timeout)?
            .map_err(Into::into)
    }

    /// Hands a message to all subscribers. It is copied to them by a task of this process, which
    /// waits for none of them; only that task is waited for, else a burst would be cut.
    pub(crate) async fn publish(&self, frames: Vec<Bytes>) -> Result<(), Failure> {
        let deadline = Instant::now() + self.limits.send_timeout;
        let mut message = Message::multipart(frames);
        loop {
            message = match self.inner.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(message)) => message,
                Err(TrySendError::Closed) => return Err(Error::Closed.into()),
                Err(TrySendError::Error(error)) => return Err(error.into()),
            };
            let ready = timeout_at(deadline, self.inner.wait_send_ready());
            ready.await.map_err(|_| Failure::Timeout)?;
        }
    }

    pub(crate) async fn recv(&self) -> Result<Vec<Bytes>, SocketError> {
        let message = self.inner.recv().await.map_err(|error| self.error(error.into()))?;
        Ok((0..message.len()).filter_map(|index| message.part_bytes(index)).collect())
    }

    pub(crate) async fn recv_unless_refused(&self) -> Result<Vec<Bytes>, SocketError> {
        let mut refusal = self.refusal.clone();
        tokio::select! {
            biased;
            message = self.recv() => message,
            Ok(_) = refusal.wait_for(Option::is_some) => {
                self.check_refusal().map(|()| Vec::new())
            }
        }
    }

    pub(crate) fn check_refusal(&self) -> Result<(), SocketError> {
        match self.refusal.borrow().clone() {
            None => Ok(()),
            Some(reason) => {
                Err(SocketError::KeyRefused { endpoint: self.endpoint.clone(), reason })
            }
        }
    }

    pub(crate) fn error(&self, failure: Failure) -> SocketError {
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

/// The ZeroMQ crate takes an ipc path over, whatever is there: a live daemon's socket, or
/// somebody's file. Only what a dead daemon left behind may be taken over.
async fn ipc_is_free(endpoint: &str) -> Result<(), SocketError> {
    let Some(path) = endpoint.strip_prefix("ipc://").filter(|path| !path.starts_with('@')) else {
        return Ok(());
    };
    match std::fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if !found.file_type().is_socket() => Err(SocketError::Bind {
            endpoint: endpoint.to_owned(),
            reason: "a file that is no socket lies there".to_owned(),
        }),
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            Err(SocketError::InUse { endpoint: endpoint.to_owned() })
        }
        Ok(_) => Ok(()),
    }
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
