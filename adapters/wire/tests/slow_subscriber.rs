//! A subscriber that stops reading costs the publisher neither time nor memory. The subscriber
//! loses its own oldest messages and can count them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use corticast_wire::{
    keys::KeyPair,
    socket::{ClientSecurity, Limits, Publisher, ServerSecurity, Subscriber},
};
use support::{ANY_PORT, PATIENCE, frames, resident_mib, soon};
use tokio::sync::Mutex;

/// Memory is measured for the entire process, so these tests run one after the other.
static ALONE: Mutex<()> = Mutex::const_new(());

const MESSAGES: u32 = 1500;

/// A publisher that waits for a stuck subscriber waits until the kernel drops the connection,
/// after 5 s. A shorter send was slowed down only by a busy machine.
const WAITED: Duration = Duration::from_secs(4);

fn number(received: &[bytes::Bytes]) -> u32 {
    u32::from_le_bytes(received[1].as_ref().try_into().unwrap())
}

async fn listens(publisher: &Publisher, subscriber: &Subscriber) {
    soon("a subscription", async {
        loop {
            publisher.send(frames(&[b"volume", &u32::MAX.to_le_bytes()])).await.unwrap();
            let received = tokio::time::timeout(Duration::from_millis(50), subscriber.recv());
            if received.await.is_ok() {
                return;
            }
        }
    })
    .await;
}

async fn slow_beside_fast(server: &ServerSecurity, client: &ClientSecurity) {
    // A send must not fail because the machine is busy for a second.
    let limits = Limits { send_timeout: PATIENCE, ..Limits::default() };
    let publisher = Publisher::bind(ANY_PORT, server, &limits).await.unwrap();
    let subscribe = async |limits: Limits| {
        Subscriber::connect(publisher.endpoint(), &["volume"], client, &limits).await.unwrap()
    };
    // What the slow one keeps for itself is not the publisher's memory, and it keeps it once more
    // for each connection that it was given after the kernel dropped one.
    let slow = subscribe(Limits { recv_hwm: 4, ..limits }).await;
    let fast = subscribe(limits).await;
    listens(&publisher, &slow).await;
    listens(&publisher, &fast).await;
    let before = resident_mib();

    // 1.5 GB in total; the slow subscriber reads none of it.
    let payload = bytes::Bytes::from(vec![7_u8; 1 << 20]);
    let heard = AtomicU32::new(0);
    let publish = async {
        let mut longest = Duration::ZERO;
        for index in 0..MESSAGES {
            let mut message = frames(&[b"volume", &index.to_le_bytes()]);
            message.push(bytes::Bytes::copy_from_slice(&payload));
            let start = Instant::now();
            publisher.send(message).await.unwrap();
            longest = longest.max(start.elapsed());
            // Publish no faster than the fast subscriber reads, on any machine.
            while index.saturating_sub(heard.load(Ordering::Relaxed)) > 8 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        longest
    };
    let listen = async {
        let (mut got, mut last) = (0, 0);
        while last != MESSAGES - 1 {
            let received = fast.recv().await.unwrap();
            if number(&received) != u32::MAX {
                assert_eq!(number(&received), got, "the fast one misses nothing");
                got += 1;
                last = number(&received);
                heard.store(last, Ordering::Relaxed);
            }
        }
        got
    };
    let (longest, got) = soon("the last message", async { tokio::join!(publish, listen) }).await;
    let grown = resident_mib() - before;
    println!("longest send {longest:?}, fast one got {got} of {MESSAGES}, memory +{grown:.0} MiB");
    assert!(longest < WAITED, "a send took {longest:?}");
    assert!(grown < 250.0, "memory grew by {grown:.0} MiB");
    assert_eq!(got, MESSAGES, "the fast one misses nothing");

    // The slow subscriber wakes up. It has lost messages, in one stretch or more, and receives the
    // newest. If it was silent so long that it was disconnected, it reconnects first, and then
    // receives messages of both connections in turn.
    let mut heard = Vec::new();
    soon("news for the slow one", async {
        for index in MESSAGES.. {
            publisher.send(frames(&[b"volume", &index.to_le_bytes()])).await.unwrap();
            let received = tokio::time::timeout(Duration::from_millis(50), async {
                loop {
                    let received = slow.recv().await.unwrap();
                    heard.push(number(&received));
                    if number(&received) == index {
                        return;
                    }
                }
            });
            if received.await.is_ok() {
                return;
            }
        }
    })
    .await;
    heard.retain(|&number| number != u32::MAX);
    let n_heard = heard.len();
    heard.sort_unstable();
    heard.dedup();
    assert_eq!(heard.len(), n_heard, "it heard a message twice");
    let n_kept = heard.iter().filter(|&&number| number < MESSAGES).count();
    println!("the slow one got {n_kept} of {MESSAGES}, and the later messages");
    assert!(n_kept < MESSAGES as usize / 2, "it lost most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_stalls_nobody() {
    let _alone = ALONE.lock().await;
    slow_beside_fast(&ServerSecurity::LoopbackOnly, &ClientSecurity::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_stalls_nobody_behind_curve_either() {
    let _alone = ALONE.lock().await;
    let (server, client) = (KeyPair::generate(), KeyPair::generate());
    let public = server.public();
    slow_beside_fast(
        &ServerSecurity::Curve { keys: server, allowed: vec![client.public()] },
        &ClientSecurity::Curve { keys: client, server: public },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_small_messages_is_not_cut() {
    const BURST: u32 = 2000;
    let _alone = ALONE.lock().await;
    // More than wait for the task that copies messages, and of far fewer bytes than wait for a
    // subscriber: only a publisher that does not wait for that task loses any.
    let limits = Limits { send_timeout: PATIENCE, ..Limits::default() };
    assert!(limits.subscriber_backlog < BURST);
    let publisher =
        Publisher::bind(ANY_PORT, &ServerSecurity::LoopbackOnly, &limits).await.unwrap();
    let subscriber =
        Subscriber::connect(publisher.endpoint(), &[""], &ClientSecurity::None, &limits)
            .await
            .unwrap();
    listens(&publisher, &subscriber).await;
    let publish = async {
        for index in 0..BURST {
            publisher.send(frames(&[b"status", &index.to_le_bytes()])).await.unwrap();
        }
    };
    let listen = async {
        let mut got = 0;
        loop {
            let index = number(&subscriber.recv().await.unwrap());
            got += u32::from(index != u32::MAX);
            if index == BURST - 1 {
                return got;
            }
        }
    };
    let (got, ()) = soon("the last message", async { tokio::join!(listen, publish) }).await;
    println!("{got} of {BURST}");
    assert_eq!(got, BURST);
}
