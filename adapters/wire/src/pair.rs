//! PAIR: one peer at a time, as the scanner side of pyneal connects.

use bytes::Bytes;

use crate::{
    error::SocketError,
    limits::Limits,
    raw::{Kind, Socket},
    trust::ServerSecurity,
};

/// The binding side of a pair.
#[derive(Debug)]
pub struct Pair {
    socket: Socket,
}

impl Pair {
    /// Listens at `endpoint`. Port `*` or 0 picks a free one. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails when the endpoint is invalid or in use, or when other machines can reach it and no
    /// keys are configured.
    pub async fn bind(
        endpoint: &str,
        security: &ServerSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        Ok(Self { socket: Socket::bind(Kind::Pair, endpoint, security, limits).await? })
    }

    /// The endpoint it listens at, with the actual port.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.socket.endpoint
    }

    /// Waits for a message. Cancel-safe: a dropped call loses no message.
    ///
    /// # Errors
    ///
    /// Fails when the socket is closed.
    pub async fn recv(&self) -> Result<Vec<Bytes>, SocketError> {
        self.socket.recv().await
    }

    /// Sends a message to the peer.
    ///
    /// # Errors
    ///
    /// Fails when the peer does not take it in time.
    pub async fn send(&self, frames: Vec<Bytes>) -> Result<(), SocketError> {
        self.socket.send(frames).await.map_err(|failure| self.socket.error(failure))
    }
}
