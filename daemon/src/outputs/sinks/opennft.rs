//! OpenNFT's packets: one float32, big-endian, by UDP for each volume.
//!
//! A packet has neither time nor number, so a volume without a value gets the neutral one: a
//! display that keeps the last packet must not keep what was decoded. UDP does not tell whether
//! anybody listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::{
    event::Event,
    sink::{Delivered, Sink},
};

/// The sink.
pub(super) struct OpenNft {
    socket: UdpSocket,
    to: SocketAddr,
}

impl OpenNft {
    pub(super) fn new(to: SocketAddr) -> anyhow::Result<Self> {
        let from: IpAddr = match to {
            SocketAddr::V4(_) if to.ip().is_loopback() => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) if to.ip().is_loopback() => Ipv6Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((from, 0))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to })
    }
}

impl Sink for OpenNft {
    fn name(&self) -> &'static str {
        "opennft"
    }

    fn deliver(&mut self, event: &Event) -> anyhow::Result<Delivered> {
        let Event::Value(value) = event else { return Ok(Delivered::Nothing) };
        self.socket.send_to(&(value.or_neutral() as f32).to_be_bytes(), self.to)?;
        Ok(Delivered::Value)
    }
}
