//! ROUTER and DEALER: the bound side talks to many peers, and each peer talks only to it.
//!
//! A message can get lost: a peer may disconnect while the message is on its way. Where delivery
//! matters, the protocol acknowledges it ([`crate::message`]).

use std::time::Duration;

use bytes::Bytes;

use crate::{
    error::{PeerId, SocketError},
    limits::Limits,
    raw::{Failure, Kind, Socket},
    trust::{ClientSecurity, ServerSecurity},
};

/// The binding side of a conversation: DEALER and REQ peers connect. Two tasks can send and
/// receive at the same time through a shared reference.
#[derive(Debug)]
pub struct Router {
    socket: Socket,
}

impl Router {
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
        let socket = Socket::bind(Kind::Router, endpoint, security, limits).await?;
        Ok(Self { socket })
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
    pub async fn recv(&self) -> Result<(PeerId, Vec<Bytes>), SocketError> {
        let mut parts = self.socket.recv().await?.into_iter().peekable();
        let route = parts.next().unwrap_or_default();
        let delimited = parts.next_if(Bytes::is_empty).is_some();
        Ok((PeerId { route, delimited }, parts.collect()))
    }

    /// Answers a peer.
    ///
    /// # Errors
    ///
    /// [`SocketError::PeerGone`] when the peer is not connected, [`SocketError::SendTimeout`] when
    /// it does not read. Other peers are still served.
    pub async fn send(&self, peer: &PeerId, frames: Vec<Bytes>) -> Result<(), SocketError> {
        let envelope = [Some(peer.route.clone()), peer.delimited.then(Bytes::new)];
        let frames = envelope.into_iter().flatten().chain(frames).collect();
        match self.socket.send(frames).await {
            Err(Failure::Unroutable) => Err(SocketError::PeerGone {
                endpoint: self.socket.endpoint.clone(),
                peer: peer.clone(),
            }),
            other => other.map_err(|failure| self.socket.error(failure)),
        }
    }
}

/// The connecting side of a conversation. Reconnects automatically. Messages on their way are lost
/// with a connection, so the protocol acknowledges and resends the ones that matter.
#[derive(Debug)]
pub struct Dealer {
    socket: Socket,
}

impl Dealer {
    /// Connects to `endpoint`, now or as soon as a server listens there. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails when the endpoint is invalid.
    pub async fn connect(
        endpoint: &str,
        security: &ClientSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        let socket = Socket::connect(Kind::Dealer, &[], endpoint, security, limits).await?;
        Ok(Self { socket })
    }

    /// The endpoint it connects to.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.socket.endpoint
    }

    /// Waits until the server has answered.
    ///
    /// # Errors
    ///
    /// [`SocketError::NoAnswer`] after `limit`; the socket keeps trying to connect.
    pub async fn wait_connected(&self, limit: Duration) -> Result<(), SocketError> {
        self.socket.wait_connected(limit).await
    }

    /// Sends a message. While the server is not connected, up to `send_hwm` messages are kept, but
    /// a connection attempt that fails can lose them: resend important messages until the server
    /// answers.
    ///
    /// # Errors
    ///
    /// [`SocketError::SendTimeout`] when the queue stays full, [`SocketError::KeyRefused`] when the
    /// server refuses our key.
    pub async fn send(&self, frames: Vec<Bytes>) -> Result<(), SocketError> {
        self.socket.check_refusal()?;
        self.socket.send(frames).await.map_err(|failure| self.socket.error(failure))
    }

    /// Waits for a message. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`SocketError::KeyRefused`] when the server refuses our key.
    pub async fn recv(&self) -> Result<Vec<Bytes>, SocketError> {
        self.socket.recv_unless_refused().await
    }
}
