//! A ZeroMQ socket with its limits: the common part of all kinds of sockets.
//!
//! A peer can be slow, gone, hostile or replaced, and must not affect the other peers: every wait
//! has a timeout, every queue is bounded, a frame over the limit ends its own connection, and
//! sending to a peer that is gone returns an error instead of hanging.

mod endpoint;
mod options;
mod refusal;

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

pub(crate) use self::options::Kind;
use self::{
    endpoint::{bind_error, ipc_is_free, resolved},
    options::options,
    refusal::follow_connections,
};
use crate::{
    error::SocketError,
    limits::Limits,
    trust::{ClientSecurity, ServerSecurity},
    zmq::{self, CurveServerOptions, Error, Message, Options, SocketType, TrySendError},
};

/// The common part of all sockets.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: zmq::Socket,
    pub(crate) endpoint: String,
    limits: Limits,
    /// Why the server refuses our key, once it has refused.
    refusal: watch::Receiver<Option<String>>,
}

/// Why a send failed. The caller turns it into the right [`SocketError`].
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
                // Without this closure CURVE admits every client that knows our public key.
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
            let reason = "it starts with neither tcp:// nor ipc://".to_owned();
            return Err(SocketError::Endpoint { endpoint: endpoint.to_owned(), reason });
        }
        let inner = zmq::Socket::try_new(kind, options).map_err(|error| SocketError::Failed {
            endpoint: endpoint.to_owned(),
            reason: error.to_string(),
        })?;
        let (refused, refusal) = watch::channel(None);
        tokio::spawn(follow_connections(inner.monitor(), endpoint.to_owned(), refused));
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

    /// Sends a message, waiting up to the send timeout for room in the queue.
    pub(crate) async fn send(&self, frames: Vec<Bytes>) -> Result<(), Failure> {
        let sent = self.inner.send(Message::multipart(frames));
        timeout(self.limits.send_timeout, sent)
            .await
            .map_err(|_| Failure::Timeout)?
            .map_err(Into::into)
    }

    /// Sends a message to all subscribers. A task of this process copies it to them and waits for
    /// no subscriber. We wait only for that task; otherwise a burst would lose messages.
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
