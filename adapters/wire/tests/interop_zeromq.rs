//! The `zeromq` crate as a peer that shares no code with ours.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use bytes::Bytes;
use corticast_wire::socket::{Limits, Publisher, Router, ServerSecurity};
use support::{ANY_PORT, frames, soon};
use zeromq::{DealerSocket, ReqSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

fn message(parts: &[&[u8]]) -> ZmqMessage {
    ZmqMessage::try_from(frames(parts)).unwrap()
}

/// One endpoint of each kind; the folder of the second has to be kept.
fn endpoints(folder: &tempfile::TempDir) -> [String; 2] {
    [ANY_PORT.to_owned(), format!("ipc://{}", folder.path().join("socket").display())]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_dealer_sends_volumes_and_gets_its_acks() {
    let folder = tempfile::tempdir().unwrap();
    for endpoint in endpoints(&folder) {
        let security = ServerSecurity::LoopbackOnly;
        let router = Router::bind(&endpoint, &security, &Limits::default()).await.unwrap();
        let mut dealer = DealerSocket::new();
        soon("a connection", dealer.connect(router.endpoint())).await.unwrap();
        for index in 0_u8..20 {
            // Small, empty and large frames take different ways through the codec.
            let voxels = vec![index; [0, 10, 1_500_000][usize::from(index % 3)]];
            dealer.send(message(&[b"vol", &[index], &voxels])).await.unwrap();
            let (peer, received) = soon("a volume", router.recv()).await.unwrap();
            assert_eq!(received, frames(&[b"vol", &[index], &voxels]));
            router.send(&peer, frames(&[b"ack", &[index]])).await.unwrap();
            let answer: Vec<Bytes> = soon("an ack", dealer.recv()).await.unwrap().into_vec();
            assert_eq!(answer, frames(&[b"ack", &[index]]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_req_is_answered_like_a_dealer() {
    let security = ServerSecurity::LoopbackOnly;
    let router = Router::bind(ANY_PORT, &security, &Limits::for_commands()).await.unwrap();
    let mut req = ReqSocket::new();
    soon("a connection", req.connect(router.endpoint())).await.unwrap();
    req.send(message(&[b"state"])).await.unwrap();
    let (peer, received) = soon("a question", router.recv()).await.unwrap();
    assert_eq!(received, frames(&[b"state"]));
    router.send(&peer, frames(&[b"state", b"{}"])).await.unwrap();
    let answer: Vec<Bytes> = soon("an answer", req.recv()).await.unwrap().into_vec();
    assert_eq!(answer, frames(&[b"state", b"{}"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_subscriber_hears_its_topics_only() {
    let folder = tempfile::tempdir().unwrap();
    for endpoint in endpoints(&folder) {
        let security = ServerSecurity::LoopbackOnly;
        let publisher = Publisher::bind(&endpoint, &security, &Limits::default()).await.unwrap();
        let mut subscriber = SubSocket::new();
        soon("a connection", subscriber.connect(publisher.endpoint())).await.unwrap();
        subscriber.subscribe("concepts").await.unwrap();
        let publish = async {
            loop {
                publisher.send(frames(&[b"volume", b"no"])).await.unwrap();
                publisher.send(frames(&[b"concepts", b"{}"])).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let listen = async {
            for _ in 0..20 {
                let heard: Vec<Bytes> = subscriber.recv().await.unwrap().into_vec();
                assert_eq!(heard, frames(&[b"concepts", b"{}"]));
            }
        };
        tokio::select! {
            () = publish => {}
            () = soon("20 messages", listen) => {}
        }
    }
}
