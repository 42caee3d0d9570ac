//! UDP of an outlet: searches, and readings of the clock.
//!
//! A search gives the port of its sender to answer to; the answer goes to the address that the
//! search came from and nowhere else.

use std::{
    io::Result,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::info::Info;
use crate::clock::monotonic_ns;

/// Port of searches.
const PORT: u16 = 16571;
/// Groups of searches, as in liblsl's `api_config.cpp`: this network, this site.
const GROUPS: [Ipv4Addr; 2] = [Ipv4Addr::new(224, 0, 0, 183), Ipv4Addr::new(239, 255, 172, 215)];
/// Bytes of a datagram that are read.
const MAX_REQUEST: usize = 4096;

/// The socket for searches, on a port that all outlets of a machine share.
pub(super) fn search_socket(listen: Ipv4Addr) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    let is_local = listen.is_loopback();
    let address = if is_local { listen } else { Ipv4Addr::UNSPECIFIED };
    socket.bind(&SocketAddrV4::new(address, PORT).into())?;
    if !is_local {
        for group in GROUPS {
            socket.join_multicast_v4(&group, &listen)?;
        }
    }
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

/// Answers until the task is aborted.
pub(super) async fn answer(socket: UdpSocket, info: Arc<Info>) {
    let mut bytes = [0; MAX_REQUEST];
    loop {
        // An error is about an earlier answer that nobody took.
        let Ok((n, from)) = socket.recv_from(&mut bytes).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let received_s = now_s();
        if let Some((to, text)) = reply(&bytes[..n], from, received_s, &info) {
            // An inlet that gets no reply repeats its query.
            socket.send_to(text.as_bytes(), to).await.ok();
        }
    }
}

fn now_s() -> f64 {
    monotonic_ns() as f64 / 1e9
}

fn reply(
    request: &[u8],
    from: SocketAddr,
    received_s: f64,
    info: &Info,
) -> Option<(SocketAddr, String)> {
    let text = std::str::from_utf8(request).ok()?;
    let (method, rest) = text.split_once('\n')?;
    match method.trim() {
        "LSL:shortinfo" => {
            let (query, rest) = rest.split_once('\n')?;
            let mut words = rest.split_whitespace();
            let port: u16 = words.next()?.parse().ok()?;
            let id = words.next()?;
            let is_number = id.len() <= 20 && id.bytes().all(|byte| byte.is_ascii_digit());
            (is_number && info.matches(query))
                .then(|| (SocketAddr::new(from.ip(), port), format!("{id}\r\n{}", info.short())))
        }
        "LSL:timedata" => {
            let mut words = rest.split_whitespace();
            let wave: u32 = words.next()?.parse().ok()?;
            let sent_s: f64 = words.next()?.parse().ok()?;
            let now_s = now_s();
            Some((from, format!(" {wave} {sent_s:.9} {received_s:.9} {now_s:.9}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_answered_where_it_came_from_and_garbage_is_not() {
        let info = Info::new("Corticast", (1, 2));
        let from = SocketAddr::from(([127, 0, 0, 1], 9));
        let ask = |text: &[u8]| reply(text, from, 1.0, &info);
        let (to, text) = ask(b"LSL:shortinfo\r\nsession_id='default'\r\n5000 1234\r\n").unwrap();
        assert_eq!(to, SocketAddr::from(([127, 0, 0, 1], 5000)));
        assert!(text.starts_with("1234\r\n<?xml") && text.contains("<v4data_port>1<"), "{text}");
        let (to, text) = ask(b"LSL:timedata\r\n7 2.5\r\n").unwrap();
        assert!(to == from && text.starts_with(" 7 2.500000000 1.000000000 "), "{text}");
        for garbage in [
            &b"LSL:shortinfo\r\nname='x'\r\n5000 1\r\n"[..],
            b"LSL:shortinfo\r\n\r\n5000 <x>\r\n",
            b"LSL:shortinfo\r\n",
            b"LSL:timedata\r\n-1 x\r\n",
            b"\xff\xfe\n",
            b"",
        ] {
            assert_eq!(ask(garbage), None);
        }
    }
}
