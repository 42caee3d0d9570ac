//! Helpers of the socket tests.
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::{future::Future, time::Duration};

use bytes::Bytes;
use corticast_wire::socket::{ClientSecurity, Dealer, Limits, Router, ServerSecurity};

/// A port chosen by the system.
pub const ANY_PORT: &str = "tcp://127.0.0.1:*";

/// Time limit of one step of a test. Long enough even for a busy machine, so only a step that
/// would never finish fails.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A port chosen by the system, at a loopback address that only this process uses, so no other
/// process takes the port once it is free again. On 127.0.0.1 another process may get it at once.
pub fn own_port() -> String {
    // Linux answers to all of 127.0.0.0/8. Process numbers have 22 bits.
    let [_, a, b, c] = (std::process::id() << 2 | 1).to_be_bytes();
    format!("tcp://127.{a}.{b}.{c}:*")
}

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} took longer than {PATIENCE:?}"))
}

pub fn frames(parts: &[&[u8]]) -> Vec<Bytes> {
    parts.iter().map(|part| Bytes::copy_from_slice(part)).collect()
}

pub async fn local_router(limits: &Limits) -> Router {
    Router::bind(ANY_PORT, &ServerSecurity::LoopbackOnly, limits).await.unwrap()
}

pub async fn local_dealer(endpoint: &str) -> Dealer {
    Dealer::connect(endpoint, &ClientSecurity::None, &Limits::default()).await.unwrap()
}

/// One question and one answer.
pub async fn converses(router: &Router, dealer: &Dealer, word: &[u8]) {
    dealer.send(frames(&[b"ask", word])).await.unwrap();
    let (peer, received) = soon("a question", router.recv()).await.unwrap();
    assert_eq!(received, frames(&[b"ask", word]));
    router.send(&peer, frames(&[b"answer", word])).await.unwrap();
    assert_eq!(soon("an answer", dealer.recv()).await.unwrap(), frames(&[b"answer", word]));
}

/// Resident memory of this process, in MiB.
pub fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
