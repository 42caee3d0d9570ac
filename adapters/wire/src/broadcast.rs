//! PUB and SUB: one publisher sends to any number of subscribers and waits for none of them.
//!
//! A subscriber that does not keep up loses its own oldest messages. Messages carry a sequence
//! number per topic, so a subscriber can count the messages it lost.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    error::SocketError,
    limits::Limits,
    raw::{Kind, Socket},
    trust::{ClientSecurity, ServerSecurity},
};

/// Sends to every subscriber. A subscriber that does not keep up loses its own oldest messages;
/// the other subscribers are not affected.
#[derive(Debug)]
pub struct Publisher {
    socket: Socket,
}

impl Publisher {
    /// Listens for subscribers at `endpoint`. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// As [`crate::socket::Router::bind`].
    pub async fn bind(
        endpoint: &str,
        security: &ServerSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        let socket = Socket::bind(Kind::Publisher, endpoint, security, limits).await?;
        Ok(Self { socket })
    }

    /// The endpoint it listens at, with the actual port.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.socket.endpoint
    }

    /// Sends a message to every subscriber of its topic (first frame). Waits for no subscriber,
    /// only for the task that copies messages to them, so that a burst loses no messages.
    ///
    /// # Errors
    ///
    /// Fails when the socket is closed, or when this process gets too little CPU time to copy
    /// messages within the send timeout.
    pub async fn send(&self, frames: Vec<Bytes>) -> Result<(), SocketError> {
        self.socket.publish(frames).await.map_err(|failure| self.socket.error(failure))
    }
}

/// Listens to a [`Publisher`]. Reconnects and resubscribes automatically.
#[derive(Debug)]
pub struct Subscriber {
    socket: Socket,
}

impl Subscriber {
    /// Subscribes to topics at `endpoint`, now or as soon as a publisher listens there. A topic is
    /// a prefix; the empty prefix matches every message. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails when the endpoint is invalid.
    pub async fn connect(
        endpoint: &str,
        topics: &[&str],
        security: &ClientSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        let socket = Socket::connect(Kind::Subscriber, topics, endpoint, security, limits).await?;
        Ok(Self { socket })
    }

    /// Waits until the publisher has answered.
    ///
    /// # Errors
    ///
    /// [`SocketError::NoAnswer`] after `limit`; the socket keeps trying to connect.
    pub async fn wait_connected(&self, limit: Duration) -> Result<(), SocketError> {
        self.socket.wait_connected(limit).await
    }

    /// Waits for a message. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`SocketError::KeyRefused`] when the publisher refuses our key.
    pub async fn recv(&self) -> Result<Vec<Bytes>, SocketError> {
        self.socket.recv_unless_refused().await
    }
}
