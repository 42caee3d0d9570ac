//! ROUTER and DEALER: one side is bound and talks to many, each of the others to it alone.
//!
//! A message that was sent may not arrive: a peer can go while it is on the way. Where arrival
//! matters, the protocol acknowledges it ([`crate::message`]).

use std::time::Duration;

use bytes::Bytes;

use crate::{
    error::{PeerId, SocketError},
    limits::Limits,
    raw::{Failure, Kind, Socket},
    trust::{ClientSecurity, ServerSecurity},
};

/// The binding side of a conversation: DEALER and REQ peers connect. Sends and receives at the
/// same time through a shared reference.
#[derive(Debug)]
pub struct Router {
    socket: Socket,
}

impl Router {
    /// Listens at `endpoint`. Port `*` or 0 takes a free one. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails when the endpoint is invalid, is taken, or leaves the machine without keys.
    pub async fn bind(
        endpoint: &str,
        security: &ServerSecurity,
        limits: &Limits,
    ) -> Result<Self, SocketError> {
        let socket = Socket::bind(Kind::Router, endpoint, security, limits).await?;
        Ok(Self { socket })
    }

    /// Where it listens, with the port it got.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.socket.endpoint
    }

    /// Waits for a message. Cancel-safe: a dropped call has taken nothing.
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
    /// [`SocketError::PeerGone`] when it is not connected, [`SocketError::SendTimeout`] when it
    /// does not read. Other peers are still served.
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

/// The connecting side of a conversation. Reconnects by itself. Messages on the way are lost, so
/// those that matter are acknowledged and sent again.
#[derive(Debug)]
pub struct Dealer {
    socket: Socket,
}

impl Dealer {
    /// Connects to `endpoint`, now or as soon as somebody listens there. Needs a tokio runtime.
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

    /// Where it connects to.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.socket.endpoint
    }

    /// Waits until the other side has answered.
    ///
    /// # Errors
    ///
    /// [`SocketError::NoAnswer`] after `limit`; the socket goes on trying.
    pub async fn wait_connected(&self, limit: Duration) -> Result<(), SocketError> {
        self.socket.wait_connected(limit).await
    }

    /// Sends a message. While nobody is connected, some are kept, as many as `send_hwm`, but a
    /// connection that comes to nothing can take them with it: what has to arrive is sent again
    /// until it is answered.
    ///
    /// # Errors
    ///
    /// [`SocketError::SendTimeout`] when there is no room, [`SocketError::KeyRefused`] when the
    /// other side does not want us.
    pub async fn send(&self, frames: Vec<Bytes>) -> Result<(), SocketError> {
        self.socket.check_refusal()?;
        self.socket.send(frames).await.map_err(|failure| self.socket.error(failure))
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
