//! ROUTER and DEALER during a session: ports in use, peers that disconnect, daemons that restart.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::{sync::Arc, time::Duration};

use corticast_wire::socket::{
    ClientSecurity, Dealer, Limits, Publisher, Router, ServerSecurity, SocketError,
};
use support::{converses, frames, local_dealer, local_router, own_port, soon};

#[tokio::test]
async fn a_port_in_use_is_named() {
    let limits = Limits::default();
    let router = local_router(&limits).await;
    let endpoint = router.endpoint().to_owned();
    let again = Router::bind(&endpoint, &ServerSecurity::LoopbackOnly, &limits).await;
    let error = again.unwrap_err();
    assert!(matches!(error, SocketError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&endpoint), "{error}");
    let other = Publisher::bind(&endpoint, &ServerSecurity::LoopbackOnly, &limits).await;
    assert!(matches!(other, Err(SocketError::InUse { .. })), "{other:?}");
}

#[tokio::test]
async fn an_ipc_socket_in_use_is_named_and_a_stale_one_is_taken_over() {
    let limits = Limits::default();
    let folder = tempfile::tempdir().unwrap();
    let endpoint = format!("ipc://{}", folder.path().join("volumes").display());
    // A killed daemon leaves its socket file behind.
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("volumes")).unwrap());
    let router = Router::bind(&endpoint, &ServerSecurity::LoopbackOnly, &limits).await.unwrap();
    let again = Router::bind(&endpoint, &ServerSecurity::LoopbackOnly, &limits).await;
    let error = again.unwrap_err();
    assert!(matches!(error, SocketError::InUse { .. }), "{error}");
    let dealer = local_dealer(&endpoint).await;
    converses(&router, &dealer, b"ipc").await;
}

#[tokio::test]
async fn a_file_where_an_ipc_socket_should_be_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.jsonl");
    std::fs::write(&path, "precious").unwrap();
    let endpoint = format!("ipc://{}", path.display());
    let bound = Router::bind(&endpoint, &ServerSecurity::LoopbackOnly, &Limits::default()).await;
    let error = bound.unwrap_err().to_string();
    assert!(error.contains("not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn endpoints_that_cannot_be_say_what_to_write() {
    let limits = Limits::default();
    for endpoint in ["127.0.0.1:5560", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "http://x:1", ""]
    {
        let bound = Router::bind(endpoint, &ServerSecurity::LoopbackOnly, &limits).await;
        let error = bound.unwrap_err();
        println!("{error}");
        let connected = Dealer::connect(endpoint, &ClientSecurity::None, &limits).await;
        let error = connected.unwrap_err();
        assert!(matches!(error, SocketError::Endpoint { .. }), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_said_and_not_waited_for_forever() {
    let limits =
        Limits { send_hwm: 4, send_timeout: Duration::from_millis(100), ..Limits::default() };
    let dealer =
        Dealer::connect("tcp://127.0.0.1:1", &ClientSecurity::None, &limits).await.unwrap();
    let error = dealer.wait_connected(Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, SocketError::NoAnswer { .. }), "{error}");
    let mut kept = 0;
    let error = loop {
        match soon("a send", dealer.send(frames(&[b"vol"]))).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SocketError::SendTimeout { .. }), "{error}");
    assert!((1..=16).contains(&kept), "{kept} messages kept at a limit of 4");
}

#[tokio::test]
async fn a_peer_that_is_gone_is_a_value() {
    let router = local_router(&Limits::default()).await;
    let dealer = local_dealer(router.endpoint()).await;
    dealer.send(frames(&[b"hello"])).await.unwrap();
    let (peer, _) = soon("hello", router.recv()).await.unwrap();
    drop(dealer);
    let error = soon("the end of a connection", async {
        loop {
            if let Err(error) = router.send(&peer, frames(&[b"ack"])).await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(matches!(error, SocketError::PeerGone { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_read_costs_a_bounded_wait() {
    let limits = Limits { send_timeout: Duration::from_millis(100), ..Limits::default() };
    let router = local_router(&limits).await;
    // A good peer, and one that never reads: its kernel only fills the receive buffer.
    let good = local_dealer(router.endpoint()).await;
    let dealer_that_never_reads = local_dealer(router.endpoint()).await;
    dealer_that_never_reads.send(frames(&[b"hello"])).await.unwrap();
    let (stuck, _) = soon("hello", router.recv()).await.unwrap();
    let large = vec![0_u8; 1 << 20];
    let error = soon("a full queue", async {
        loop {
            if let Err(error) = router.send(&stuck, frames(&[&large])).await {
                return error;
            }
        }
    })
    .await;
    assert!(
        matches!(error, SocketError::SendTimeout { .. } | SocketError::PeerGone { .. }),
        "{error}"
    );
    converses(&router, &good, b"meanwhile").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_go_on_while_another_task_waits() {
    let router = Arc::new(local_router(&Limits::default()).await);
    let dealer = local_dealer(router.endpoint()).await;
    dealer.send(frames(&[b"hello"])).await.unwrap();
    let (peer, _) = soon("hello", router.recv()).await.unwrap();
    let waiting = tokio::spawn({
        let router = Arc::clone(&router);
        async move { router.recv().await.unwrap().1 }
    });
    router.send(&peer, frames(&[b"ack"])).await.unwrap();
    assert_eq!(soon("an ack", dealer.recv()).await.unwrap(), frames(&[b"ack"]));
    dealer.send(frames(&[b"bye"])).await.unwrap();
    assert_eq!(soon("bye", waiting).await.unwrap(), frames(&[b"bye"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_given_up_takes_no_message() {
    let router = local_router(&Limits::default()).await;
    let dealer = local_dealer(router.endpoint()).await;
    let sender = async {
        for index in 0_u32..500 {
            dealer.send(frames(&[&index.to_le_bytes()])).await.unwrap();
            if index % 7 == 0 {
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
        }
    };
    let receiver = async {
        let mut next = 0_u32;
        while next < 500 {
            tokio::select! {
                received = router.recv() => {
                    assert_eq!(received.unwrap().1, frames(&[&next.to_le_bytes()]));
                    next += 1;
                }
                () = tokio::time::sleep(Duration::from_micros(100)) => {}
            }
        }
    };
    soon("500 messages", async { tokio::join!(sender, receiver) }).await;
}

/// As an adapter does, the dealer resends unacknowledged messages when the daemon restarts.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_is_sent_again_to_the_next_daemon() {
    let security = ServerSecurity::LoopbackOnly;
    let router = Router::bind(&own_port(), &security, &Limits::default()).await.unwrap();
    let endpoint = router.endpoint().to_owned();
    let dealer = local_dealer(&endpoint).await;
    dealer.send(frames(&[b"vol", b"0"])).await.unwrap();
    let (peer, _) = soon("volume 0", router.recv()).await.unwrap();
    router.send(&peer, frames(&[b"ack", b"0"])).await.unwrap();
    assert_eq!(soon("its ack", dealer.recv()).await.unwrap(), frames(&[b"ack", b"0"]));
    // Received but never acknowledged.
    dealer.send(frames(&[b"vol", b"1"])).await.unwrap();
    soon("volume 1", router.recv()).await.unwrap();
    drop(router);

    let next = soon("the port", async {
        loop {
            if let Ok(next) = Router::bind(&endpoint, &security, &Limits::default()).await {
                return next;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let acknowledged = soon("an ack after the restart", async {
        loop {
            dealer.send(frames(&[b"vol", b"1"])).await.ok();
            tokio::select! {
                received = next.recv() => {
                    let (peer, _) = received.unwrap();
                    next.send(&peer, frames(&[b"ack", b"1"])).await.unwrap();
                }
                () = tokio::time::sleep(Duration::from_millis(100)) => continue,
            }
            if let Ok(answer) =
                tokio::time::timeout(Duration::from_millis(500), dealer.recv()).await
            {
                return answer.unwrap();
            }
        }
    })
    .await;
    assert_eq!(acknowledged, frames(&[b"ack", b"1"]));
}
