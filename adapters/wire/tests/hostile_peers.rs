//! A hostile peer loses its own connection and does no other harm: a good peer beside it is still
//! served, and memory stays flat.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use corticast_wire::socket::{Limits, Router, SocketError};
use support::{PATIENCE, converses, frames, local_dealer, local_router, resident_mib, soon};
use tokio::sync::Mutex;

/// Memory is measured for the entire process, so these tests run one after the other.
static ALONE: Mutex<()> = Mutex::const_new(());

fn greeting() -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    bytes.extend(b"NULL");
    bytes.resize(64, 0);
    bytes
}

fn ready() -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER".to_vec();
    body.splice(0..0, [4, body.len() as u8]);
    body
}

/// A data frame of the long form that announces `length` bytes.
fn announce(length: u64) -> Vec<u8> {
    [&[2][..], &length.to_be_bytes()].concat()
}

fn connect(router: &Router) -> TcpStream {
    let stream = TcpStream::connect(router.endpoint().strip_prefix("tcp://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether the router ends the connection, possibly after sending something.
fn is_cut_off(mut stream: TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Runs an attack `times` times beside a good peer.
async fn survives(times: usize, limits: Limits, attack: impl Fn(TcpStream) -> bool + Sync) {
    let _alone = ALONE.lock().await;
    let router = local_router(&limits).await;
    let dealer = local_dealer(router.endpoint()).await;
    converses(&router, &dealer, b"before").await;
    let before = resident_mib();
    for _ in 0..times {
        let stream = connect(&router);
        assert!(tokio::task::block_in_place(|| attack(stream)), "the attacker is cut off");
        converses(&router, &dealer, b"meanwhile").await;
    }
    let grown = resident_mib() - before;
    println!("{times} attacks grew memory by {grown:.1} MiB");
    assert!(grown < 24.0, "memory grew by {grown:.1} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_announces_64_tib_is_refused() {
    survives(20, Limits::default(), |mut stream| {
        let bytes = [greeting(), ready(), announce(1 << 46)].concat();
        stream.write_all(&bytes).is_ok() && is_cut_off(stream)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_announces_64_tib_is_refused() {
    survives(20, Limits::default(), |mut stream| {
        let mut command = announce(1 << 46);
        command[0] = 6;
        stream.write_all(&[greeting(), command].concat()).is_ok() && is_cut_off(stream)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_at_the_limit_that_never_come_hold_no_memory() {
    let _alone = ALONE.lock().await;
    let router = local_router(&Limits::default()).await;
    let dealer = local_dealer(router.endpoint()).await;
    converses(&router, &dealer, b"before").await;
    let before = resident_mib();
    let largest = Limits::default().max_message_bytes as u64 - 64;
    let streams: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(&router);
            let bytes = [greeting(), ready(), announce(largest)].concat();
            stream.write_all(&bytes).unwrap();
            // Its greeting and `READY` show that it has read ours, and with them our frame.
            let mut theirs = vec![0; greeting().len() + ready().len()];
            stream.read_exact(&mut theirs).unwrap();
            stream
        })
        .collect();
    converses(&router, &dealer, b"meanwhile").await;
    let grown = resident_mib() - before;
    println!("20 frames of 128 MiB announced grew memory by {grown:.1} MiB");
    assert!(grown < 64.0, "memory grew by {grown:.1} MiB");
    drop(streams);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_instead_of_a_greeting_is_refused() {
    survives(20, Limits::default(), |mut stream| {
        let noise: Vec<u8> =
            (0_u32..4096).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        // The router may end the connection before it has read everything.
        stream.write_all(&noise).is_err() || is_cut_off(stream)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_browser_is_refused() {
    survives(5, Limits::default(), |mut stream| {
        let request =
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\nUser-Agent: x\r\n\r\n";
        stream.write_all(request).is_err() || is_cut_off(stream)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_nothing_is_dropped() {
    survives(1, Limits::default(), is_cut_off).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_say_nothing_do_not_keep_others_out_for_long() {
    let _alone = ALONE.lock().await;
    let router = local_router(&Limits::default()).await;
    // More connections than may be in a handshake at the same time.
    let silent: Vec<_> = (0..300).map(|_| connect(&router)).collect();
    let dealer = local_dealer(router.endpoint()).await;
    // A question sent while handshakes are blocked may be lost, so it is sent until it arrives.
    soon("a question among the silent", async {
        loop {
            // Queued, while there is room, until the handshake is done.
            let sent = dealer.send(frames(&[b"ask"])).await;
            assert!(matches!(sent, Ok(()) | Err(SocketError::SendTimeout { .. })), "{sent:?}");
            let heard = tokio::time::timeout(Duration::from_millis(200), router.recv());
            if heard.await.is_ok() {
                return;
            }
        }
    })
    .await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_multipart_is_refused() {
    let limits = Limits { max_message_bytes: 1 << 20, ..Limits::default() };
    survives(5, limits, |mut stream| {
        if stream.write_all(&[greeting(), ready()].concat()).is_err() {
            return false;
        }
        // Frames of one byte, each announcing another.
        let many = [1, 1, 0].repeat(100_000);
        let refused = (0..10).any(|_| stream.write_all(&many).is_err());
        refused || is_cut_off(stream)
    })
    .await;
}
