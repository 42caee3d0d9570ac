//! Other machines reach a socket only with CURVE and an allow-list: a client that is not on the
//! list, expects another server key, or has no key gets nothing, and allowed clients are not
//! affected.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::time::Duration;

use corticast_wire::{
    keys::KeyPair,
    socket::{
        ClientSecurity, Dealer, Limits, Publisher, Router, ServerSecurity, SocketError, Subscriber,
    },
};
use support::{ANY_PORT, converses, frames, local_dealer, soon};

/// Long enough for an allowed client to connect.
const A_WHILE: Duration = Duration::from_millis(1500);

struct Parties {
    server: ServerSecurity,
    friend: ClientSecurity,
    stranger: ClientSecurity,
    misled: ClientSecurity,
}

fn parties() -> Parties {
    let (server, friend) = (KeyPair::generate(), KeyPair::generate());
    let client = |keys: KeyPair, server| ClientSecurity::Curve { keys, server };
    Parties {
        friend: client(friend.clone(), server.public()),
        stranger: client(KeyPair::generate(), server.public()),
        misled: client(friend.clone(), KeyPair::generate().public()),
        server: ServerSecurity::Curve { keys: server, allowed: vec![friend.public()] },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_key_on_the_list_gets_through() {
    let limits = Limits::default();
    let Parties { server, friend, stranger, misled } = parties();
    let router = Router::bind(ANY_PORT, &server, &limits).await.unwrap();
    let dealer = Dealer::connect(router.endpoint(), &friend, &limits).await.unwrap();
    converses(&router, &dealer, b"before").await;

    let others = [
        Dealer::connect(router.endpoint(), &stranger, &limits).await.unwrap(),
        Dealer::connect(router.endpoint(), &misled, &limits).await.unwrap(),
        local_dealer(router.endpoint()).await,
    ];
    for other in &others {
        // The message may be queued or refused, but must not arrive.
        other.send(frames(&[b"intruder"])).await.ok();
    }
    for other in &others {
        let error = other.wait_connected(A_WHILE).await.unwrap_err();
        println!("{error}");
    }
    // The first message received is the friend's, so no message of the others arrived.
    converses(&router, &dealer, b"after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_not_on_the_list_is_told_so() {
    let limits = Limits::default();
    let Parties { server, stranger, .. } = parties();
    let router = Router::bind(ANY_PORT, &server, &limits).await.unwrap();
    let dealer = Dealer::connect(router.endpoint(), &stranger, &limits).await.unwrap();
    let error = soon("a refusal", dealer.recv()).await.unwrap_err();
    assert!(matches!(error, SocketError::KeyRefused { .. }), "{error}");
    assert!(error.to_string().contains("allow-list"), "{error}");
    let error = dealer.send(frames(&[b"x"])).await.unwrap_err();
    assert!(matches!(error, SocketError::KeyRefused { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_shows_nothing_to_those_not_on_the_list() {
    let limits = Limits::default();
    let Parties { server, friend, stranger, misled } = parties();
    let publisher = Publisher::bind(ANY_PORT, &server, &limits).await.unwrap();
    let subscribe = async |security: &ClientSecurity| {
        Subscriber::connect(publisher.endpoint(), &[""], security, &limits).await.unwrap()
    };
    let allowed = subscribe(&friend).await;
    let others = [
        subscribe(&stranger).await,
        subscribe(&misled).await,
        subscribe(&ClientSecurity::None).await,
    ];
    soon("a subscription", async {
        loop {
            publisher.send(frames(&[b"concepts", b"face"])).await.unwrap();
            let received = tokio::time::timeout(Duration::from_millis(50), allowed.recv()).await;
            if received.is_ok_and(|received| received.is_ok()) {
                return;
            }
        }
    })
    .await;
    for other in others {
        let heard = tokio::time::timeout(A_WHILE, other.recv()).await;
        assert!(!matches!(heard, Ok(Ok(_))), "an intruder heard {heard:?}");
    }
}

#[tokio::test]
async fn nobody_listens_beyond_the_machine_without_keys() {
    let limits = Limits::default();
    for endpoint in ["tcp://*:0", "tcp://0.0.0.0:0", "tcp://[::]:0"] {
        let bound = Router::bind(endpoint, &ServerSecurity::LoopbackOnly, &limits).await;
        let error = bound.unwrap_err();
        assert!(matches!(error, SocketError::NotLocal { .. }), "{error}");
    }
    let Parties { server, .. } = parties();
    let router = Router::bind("tcp://0.0.0.0:0", &server, &limits).await.unwrap();
    assert!(!router.endpoint().ends_with(":0"), "{}", router.endpoint());
}
