//! PUB and SUB: one side sends, any number of subscribers receive, and none is waited for.
//!
//! A subscriber that does not keep up loses its own oldest messages. Messages carry a sequence
//! number per topic, so it can count what it lost.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    error::SocketError,
    limits::Limits,
    raw::{Kind, Socket},
    trust::{ClientSecurity, ServerSecurity},
};

/// Sends to every subscriber. A subscriber that does not keep up loses its own oldest
/// messages; nobody else notices.
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

    /// Where it listens, with the port it got.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.socket.endpoint
    }

    /// Hands a message to every subscriber of its first frame. Waits for no subscriber, only
    /// for the task that copies messages to them, so that a burst is not cut.
    ///
    /// # Errors
    ///
    /// Fails when the socket is closed or this process is starved.
    pub async fn send(&self, frames: Vec<Bytes>) -> Result<(), SocketError> {
        self.socket.publish(frames).await.map_err(|failure| self.socket.error(failure))
    }
}

/// Listens to a [`Publisher`]. Reconnects and subscribes again by itself.
#[derive(Debug)]
pub struct Subscriber {
    socket: Socket,
}

impl Subscriber {
    /// Subscribes to topics at `endpoint`, now or as soon as somebody listens there. A topic is
    /// a prefix; the empty one is everything. Needs a tokio runtime.
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

    /// Waits until the other side has answered.
    ///
    /// # Errors
    ///
    /// [`SocketError::NoAnswer`] after `limit`; the socket goes on trying.
    pub async fn wait_connected(&self, limit: Duration) -> Result<(), SocketError> {
        self.socket.wait_connected(limit).await
    }

    /// Waits for a message. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`SocketError::KeyRefused`] when the other side does not want us.
    pub async fn recv(&self) -> Result<Vec<Bytes>, SocketError> {
        self.socket.recv_unless_refused().await
    }
}
