//! A subscriber that does not read delays no result.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use corticast_tests::{Daemon, Site, results};

/// A subscriber to all topics that completes the handshake (ZMTP 3.0, RFC 23) and then reads
/// nothing.
fn subscriber_that_never_reads(endpoint: &str) -> TcpStream {
    let mut stream = TcpStream::connect(endpoint.trim_start_matches("tcp://")).unwrap();
    let mut greeting = [0_u8; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    stream.write_all(&greeting).unwrap();
    let ready = b"\x05READY\x0bSocket-Type\0\0\0\x03SUB";
    stream.write_all(&[4, u8::try_from(ready.len()).unwrap()]).unwrap();
    stream.write_all(ready).unwrap();
    // A subscription to every topic.
    stream.write_all(&[0, 1, 1]).unwrap();
    let mut theirs = [0_u8; 64];
    stream.read_exact(&mut theirs).unwrap();
    stream
}

#[test]
fn a_subscriber_that_never_reads_delays_no_result() {
    // About 4 MB of reports, several times the size of the socket buffers.
    let volumes = 4000;
    let site = Site::new(volumes);
    let jsonl = site.path("results.jsonl");
    let daemon = Daemon::start(&site, &["--results", jsonl.to_str().unwrap()]);
    let deaf: Vec<_> =
        (0..3).map(|_| subscriber_that_never_reads(daemon.endpoint("publish"))).collect();
    let scan = daemon.scan(&site, &[]);
    assert_eq!(scan.code, Some(0), "{}", scan.log);
    assert_eq!(daemon.stop().code, Some(0));
    drop(deaf);
    let indices = results(&jsonl).iter().map(|r| r["index"].as_u64().unwrap()).collect::<Vec<_>>();
    let first = indices[0];
    assert!(first < 10, "the first result is of volume {first}");
    assert_eq!(indices, (first..u64::from(volumes)).collect::<Vec<_>>());
}
