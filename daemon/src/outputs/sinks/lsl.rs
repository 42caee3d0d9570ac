//! Lab Streaming Layer: an outlet of two float32 channels, `value` and `volume`, in plain Rust.
//!
//! The outlet speaks protocol 1.10 of liblsl, which inlets ask for: it answers searches by UDP on
//! port 16571 and on a port of its own (`lsl/discovery.rs`), gives its description and the stream
//! by TCP, and clock readings by UDP. LSL's clock is the monotonic one, as ours, so a time stamp is
//! the time at which the value was published. NaN stands for no value, as is usual in LSL. Samples
//! are sent to the inlets that are connected; none is kept for later ones.
//!
//! An inlet that does not read is dropped as soon as its socket is full. On the loopback, searches
//! are heard that liblsl sends there; with `insecure` also those by multicast.
//! Source: `tcp_server.cpp`, `udp_server.cpp`, `sample.cpp` and `stream_info_impl.cpp` of liblsl.

mod discovery;
mod info;

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};

use self::info::Info;
use super::{
    event::{Event, Value},
    sink::{Delivered, Sink},
};
use crate::{config::sinks::LslSink, supervise::Supervisor};

/// Inlets that get samples.
const MAX_INLETS: usize = 16;
/// Peers in a handshake at the same time.
const MAX_TALKS: usize = 64;
/// How long a handshake may take.
const TALK: Duration = Duration::from_secs(2);
/// Bytes of a handshake.
const MAX_REQUEST: usize = 8192;
/// Pause when the system has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);
/// Tag of a sample that has a time stamp.
const STAMPED: u8 = 2;
/// Time stamp and offsets of the two samples by which an inlet checks the format.
const TEST_STAMP: f64 = 123_456.789;
const TEST_OFFSETS: [f32; 2] = [4.0, 2.0];

type Inlets = Arc<Mutex<Vec<std::net::TcpStream>>>;

/// The sink.
pub(super) struct Lsl {
    inlets: Inlets,
}

/// The sockets of an outlet.
pub(super) struct Outlet {
    data: TcpListener,
    service: UdpSocket,
    /// The port that all outlets share; `None` if it cannot be bound.
    search: Option<UdpSocket>,
    info: Arc<Info>,
    inlets: Inlets,
}

impl Lsl {
    pub(super) async fn bind(config: &LslSink) -> anyhow::Result<(Self, Outlet)> {
        let place = || format!("[sinks.lsl] cannot listen on {}", config.listen);
        let data = TcpListener::bind((config.listen, 0)).await.with_context(place)?;
        let service = UdpSocket::bind((config.listen, 0)).await.with_context(place)?;
        let IpAddr::V4(listen) = config.listen else { anyhow::bail!("LSL needs IPv4") };
        let search = discovery::search_socket(listen).map_err(|error| {
            tracing::warn!("lsl: inlets cannot find the stream by a search: {error}");
        });
        let ports = (data.local_addr()?.port(), service.local_addr()?.port());
        let info = Arc::new(Info::new(&config.name, ports));
        let inlets = Inlets::default();
        let outlet =
            Outlet { data, service, search: search.ok(), info, inlets: Arc::clone(&inlets) };
        Ok((Self { inlets }, outlet))
    }
}

/// A sample as it is sent: tag, time stamp, channels, little-endian.
fn sample(stamp_s: f64, channels: [f32; 2]) -> Vec<u8> {
    let mut bytes = vec![STAMPED];
    bytes.extend(stamp_s.to_le_bytes());
    channels.iter().for_each(|channel| bytes.extend(channel.to_le_bytes()));
    bytes
}

fn sample_of(value: &Value) -> Vec<u8> {
    let channel = value.value.map_or(f32::NAN, |value| value as f32);
    sample(value.published_ns as f64 / 1e9, [channel, value.index as f32])
}

impl Sink for Lsl {
    fn name(&self) -> &'static str {
        "lsl"
    }

    fn deliver(&mut self, event: &Event) -> anyhow::Result<Delivered> {
        let Event::Value(value) = event else { return Ok(Delivered::Nothing) };
        let bytes = sample_of(value);
        let mut inlets = self.inlets.lock().unwrap_or_else(PoisonError::into_inner);
        inlets.retain_mut(|inlet| inlet.write(&bytes).is_ok_and(|n| n == bytes.len()));
        Ok(Delivered::Value)
    }
}

impl Outlet {
    /// Where inlets connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.data.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Starts to answer, until the tasks are aborted.
    pub(super) fn serve(self, supervisor: &Supervisor) -> Vec<JoinHandle<()>> {
        let sockets = [Some(self.service), self.search].into_iter().flatten();
        let mut tasks: Vec<JoinHandle<()>> = sockets
            .map(|socket| {
                supervisor.spawn("lsl", discovery::answer(socket, Arc::clone(&self.info)))
            })
            .collect();
        tasks.push(supervisor.spawn("lsl", accept(self.data, self.info, self.inlets)));
        tasks
    }
}

async fn accept(data: TcpListener, info: Arc<Info>, inlets: Inlets) {
    let places = Arc::new(Semaphore::new(MAX_TALKS));
    loop {
        let peer = match data.accept().await {
            Ok((peer, _)) => peer,
            Err(error) => {
                tracing::debug!(%error, "lsl: cannot accept an inlet");
                sleep(NO_ROOM).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (info, inlets) = (Arc::clone(&info), Arc::clone(&inlets));
        tokio::spawn(async move {
            if let Ok(Some(inlet)) = timeout(TALK, talk(peer, &info)).await {
                let mut inlets = inlets.lock().unwrap_or_else(PoisonError::into_inner);
                if inlets.len() < MAX_INLETS {
                    inlets.push(inlet);
                }
            }
            drop(place);
        });
    }
}

/// Answers a request. Gives the connection back if its peer is an inlet that wants samples.
async fn talk(mut peer: TcpStream, info: &Info) -> Option<std::net::TcpStream> {
    peer.set_nodelay(true).ok()?;
    let mut request = Vec::new();
    let mut part = [0; 1024];
    loop {
        let n = peer.read(&mut part).await.ok().filter(|&n| n > 0)?;
        request.extend_from_slice(&part[..n]);
        if request.len() > MAX_REQUEST {
            return None;
        }
        let text = String::from_utf8_lossy(&request);
        let (method, rest) = text.split_once("\r\n").unwrap_or((&text, ""));
        let mut words = method.split_whitespace();
        match words.next() {
            Some("LSL:fullinfo") if text.contains("\r\n") => {
                peer.write_all(info.full().as_bytes()).await.ok()?;
                return None;
            }
            Some("LSL:shortinfo") if rest.contains("\r\n") => {
                let query = rest.split("\r\n").next().unwrap_or_default();
                if info.matches(query) {
                    peer.write_all(info.short().as_bytes()).await.ok()?;
                }
                return None;
            }
            Some(feed) if feed.starts_with("LSL:streamfeed/") && text.contains("\r\n\r\n") => {
                let version = feed.split('/').nth(1).and_then(|version| version.parse().ok());
                let answer = info.feed(version, words.next(), rest);
                let is_fine = answer.is_ok();
                peer.write_all(answer.unwrap_or_else(|refusal| refusal).as_bytes()).await.ok()?;
                if !is_fine {
                    return None;
                }
                for offset in TEST_OFFSETS {
                    let test = sample(TEST_STAMP, [offset, -(offset + 1.0)]);
                    peer.write_all(&test).await.ok()?;
                }
                // Stays in non-blocking mode.
                return peer.into_std().ok();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_a_tag_a_stamp_and_two_numbers() {
        let bytes = sample(1.0, [0.5, 7.0]);
        let expected =
            [&[2_u8, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f][..], &[0, 0, 0, 0x3f], &[0, 0, 0xe0, 0x40]];
        assert_eq!(bytes, expected.concat());
    }
}
