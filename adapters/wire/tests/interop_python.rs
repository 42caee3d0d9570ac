//! Interoperation with libzmq, through pyzmq. Clients in Python, MATLAB, Julia and C++ use libzmq.
//!
//! Needs an interpreter with pyzmq, msgpack and numpy: the one named by `CORTICAST_PYTHON`, else
//! `python3` if it has them. Without one these tests print `NOT RUN`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use bytes::Bytes;
use corticast_bold::{
    decode::{Order, StoredVolume},
    run::RunHeader,
};
use corticast_wire::{
    keys::KeyPair,
    message::{
        Ack, DaemonPing, Durability, Encoding, FromAdapter, MessageError, PROTOCOL, Ready,
        RefusalCode, Refused, ToAdapter, encode,
    },
    socket::{ClientSecurity, Dealer, Limits, Publisher, Router, ServerSecurity, Subscriber},
};
use support::{ANY_PORT, frames, local_router, soon};
use tokio::{io::AsyncBufReadExt as _, process::Command};

/// The interpreter. Fails when `CORTICAST_PYTHON` names one that lacks a package.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("CORTICAST_PYTHON").map(PathBuf::from);
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let usable = std::process::Command::new(&python)
        .args(["-c", "import zmq, msgpack, numpy"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if usable {
        return Some(python);
    }
    assert!(named.is_none(), "{} lacks pyzmq, msgpack or numpy", python.display());
    eprintln!("NOT RUN: no Python with pyzmq, msgpack and numpy; set CORTICAST_PYTHON");
    None
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples").join(name)
}

fn command(python: &Path, script: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.arg(script).args(arguments).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the script failed: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Signal of the voxel `[1, 0, 0]`.
fn at_100(volume: &StoredVolume<'_>) -> f32 {
    let [_, ny, nz] = volume.matrix;
    let offset = match volume.order {
        Order::C => ny * nz,
        Order::F => 1,
    };
    volume.signal().unwrap()[offset]
}

/// Answers an adapter as a daemon does. Returns when the adapter reports the end of the run.
async fn answer_as_a_daemon(router: &Router) -> (Vec<f32>, Option<u32>) {
    let mut run: Option<RunHeader> = None;
    let mut first_voxels = Vec::new();
    loop {
        let (peer, received) = router.recv().await.unwrap();
        let (message, encoding) = FromAdapter::parse(&received).unwrap();
        let mut ended = None;
        let answer = match message {
            FromAdapter::Run { header, .. } => {
                let name = header.run_id();
                run = Some(header);
                ToAdapter::Ready(Ready {
                    protocol: PROTOCOL,
                    run: name,
                    durability: Durability::Flush,
                    next_index: 0,
                    instance: "test".into(),
                })
            }
            FromAdapter::Volume(volume) => {
                let header = run.as_ref().expect("a run before its volumes");
                let (run, index) = (volume.header.run.clone(), volume.header.index.0);
                match volume.check(&header.space) {
                    Ok(()) => {
                        assert_eq!(run, header.run_id());
                        first_voxels.push(at_100(&volume.stored(header)));
                        ToAdapter::Ack(Ack { run, index: Some(index) })
                    }
                    Err(error) => {
                        assert!(matches!(error, MessageError::Checksum { .. }), "{error}");
                        ToAdapter::Refused(Refused {
                            run: Some(run),
                            index: Some(index),
                            code: RefusalCode::Damaged,
                            reason: error.to_string(),
                        })
                    }
                }
            }
            FromAdapter::End(end) => {
                ended = Some(end.n_sent);
                ToAdapter::Ack(Ack { run: end.run, index: None })
            }
            FromAdapter::Ping => ToAdapter::Ping(DaemonPing { instance: "test".into() }),
            FromAdapter::Mark(_) => continue,
        };
        router.send(&peer, answer.to_frames(encoding)).await.unwrap();
        if let Some(n_sent) = ended {
            return (first_voxels, n_sent);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_adapter_in_the_docs_sends_a_run() {
    let Some(python) = python() else { return };
    let router = local_router(&Limits::default()).await;
    let mut command = command(&python, &example("adapter.py"), &[router.endpoint(), "6", "0.01"]);
    let (output, (voxels, n_sent)) =
        soon("a run", async { tokio::join!(command.output(), answer_as_a_daemon(&router)) }).await;
    text(&output.unwrap());
    assert_eq!((voxels.len(), n_sent), (6, Some(6)));
    assert!(voxels.iter().all(|value| (0.0..4000.0).contains(value)), "{voxels:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_in_the_docs_prints_concepts() {
    let Some(python) = python() else { return };
    let security = ServerSecurity::LoopbackOnly;
    let publisher = Publisher::bind(ANY_PORT, &security, &Limits::default()).await.unwrap();
    let mut child =
        command(&python, &example("client.py"), &[publisher.endpoint()]).spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let publish = async {
        for sequence in 0_u64.. {
            let header = serde_json::json!({
                "run": "sub-01", "index": 7, "stimulus_time_s": 12.5, "sequence": 3 * sequence,
                "published_ns": 1, "concepts": {"house": 0.1, "face": 0.75, "cat": 0.05, "x": 0.0},
            });
            let header = encode(&header, Encoding::MessagePack);
            publisher.send(vec![Bytes::from_static(b"concepts"), header]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let listen = async { [lines.next_line().await, lines.next_line().await] };
    let [first, second] = tokio::select! {
        () = publish => unreachable!("it never ends"),
        lines = soon("two lines", listen) => lines.map(|line| line.unwrap().unwrap()),
    };
    assert_eq!(first, "sub-01    12.50 s  face 0.75  house 0.10  cat 0.05");
    assert_eq!(second, "lost 2 results: this program is too slow");
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn python_speaks_messagepack_and_json_over_tcp_and_ipc() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let ipc = format!("ipc://{}", folder.path().join("socket").display());
    for endpoint in [ANY_PORT, &ipc] {
        let security = ServerSecurity::LoopbackOnly;
        let router = Router::bind(endpoint, &security, &Limits::default()).await.unwrap();
        let mut command = command(&python, &script("messagepack_dealer.py"), &[router.endpoint()]);
        let (output, (voxels, n_sent)) =
            soon("a run", async { tokio::join!(command.output(), answer_as_a_daemon(&router)) })
                .await;
        assert_eq!(text(&output.unwrap()), "done");
        // F order: voxel [1, 0, 0] is the second, bytes 2 and 3, scaled by 2 and shifted by -1.
        let expected = f32::from(u16::from_le_bytes([2, 3])) * 2.0 - 1.0;
        assert_eq!(voxels, [expected; 5]);
        assert_eq!(n_sent, Some(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn we_talk_to_python_when_python_is_bound() {
    let Some(python) = python() else { return };
    let mut child = command(&python, &script("bound.py"), &[]).spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let ports = soon("ports", lines.next_line()).await.unwrap().unwrap();
    let (router, publisher) = ports.split_once(' ').unwrap();
    let local = |port: &str| format!("tcp://127.0.0.1:{port}");
    let limits = Limits::default();

    let dealer = Dealer::connect(&local(router), &ClientSecurity::None, &limits).await.unwrap();
    // Returns the name that libzmq gave to our connection, after checking the echo.
    let echo = async |part: &[u8]| {
        dealer.send(frames(&[b"vol", part])).await.unwrap();
        let mut echo = soon("an echo", dealer.recv()).await.unwrap();
        let connection = echo.remove(0);
        assert_eq!(echo, frames(&[b"vol", part]));
        connection
    };
    let large = vec![7_u8; 1_500_000];
    let connection = echo(b"small").await;
    for part in [&b""[..], &large] {
        assert_eq!(echo(part).await, connection);
    }
    let security = ClientSecurity::None;
    let subscriber =
        Subscriber::connect(&local(publisher), &["concepts"], &security, &limits).await.unwrap();
    let hear = async || {
        let message = soon("a message", subscriber.recv()).await.unwrap();
        assert_eq!(message[0].as_ref(), b"concepts");
        String::from_utf8_lossy(&message[1]).parse::<u64>().unwrap()
    };
    // This takes longer than our heartbeat timeout, so libzmq has to understand our heartbeats.
    // Both connections survive: no message is missing, and the name is the same.
    let stop = tokio::time::Instant::now() + Duration::from_secs(4);
    let mut last = hear().await;
    while tokio::time::Instant::now() < stop {
        let next = hear().await;
        assert_eq!(next, last + 1);
        last = next;
    }
    assert_eq!(echo(b"after").await, connection);
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn python_gets_in_with_a_key_on_the_list_and_not_without() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let make = |name: &str| KeyPair::generate().write_files(&path(name)).unwrap();
    let ((server, server_public), (friend, friend_public), (stranger, _)) =
        (make("server"), make("friend"), make("stranger"));
    let security = ServerSecurity::from_files(&server, &[friend_public]).unwrap();
    let router = Router::bind(ANY_PORT, &security, &Limits::default()).await.unwrap();
    let client = |own: &Path, server: &Path| {
        // An allowed client gets its answer soon, or later on a busy machine; the others never do.
        let wait_ms = if own == friend && server == server_public { "100000" } else { "3000" };
        let [own, server] = [own, server].map(|path| path.to_str().unwrap());
        let arguments = [router.endpoint(), own, server, wait_ms];
        command(&python, &script("curve_dealer.py"), &arguments)
    };
    let serve = async {
        loop {
            let (peer, received) = router.recv().await.unwrap();
            assert_eq!(received, frames(&[b"hello"]));
            router.send(&peer, frames(&[b"welcome"])).await.unwrap();
        }
    };
    let ask = async {
        let (mut allowed, mut unknown) =
            (client(&friend, &server_public), client(&stranger, &server_public));
        let (mut misled, mut keyless) =
            (client(&friend, &friend), client(Path::new("none"), &server));
        tokio::join!(allowed.output(), unknown.output(), misled.output(), keyless.output())
    };
    let (allowed, unknown, misled, keyless) = tokio::select! {
        () = serve => unreachable!("it never ends"),
        outputs = soon("four clients", ask) => outputs,
    };
    assert_eq!(text(&allowed.unwrap()), "welcome");
    for refused in [unknown, misled, keyless] {
        assert_eq!(text(&refused.unwrap()), "silence");
    }
}

/// One endpoint of each kind. The caller must keep the folder of the ipc socket.
fn endpoints(folder: &tempfile::TempDir) -> [String; 2] {
    [ANY_PORT.to_owned(), format!("ipc://{}", folder.path().join("socket").display())]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_dealer_sends_frames_of_any_size_and_gets_its_acks() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    for endpoint in endpoints(&folder) {
        let security = ServerSecurity::LoopbackOnly;
        let router = Router::bind(&endpoint, &security, &Limits::default()).await.unwrap();
        let mut dealer = command(&python, &script("foreign.py"), &["dealer", router.endpoint()]);
        let answer = async {
            for index in 0_u8..20 {
                let voxels = vec![index; [0, 10, 1_500_000][usize::from(index % 3)]];
                let (peer, received) = soon("a volume", router.recv()).await.unwrap();
                assert_eq!(received, frames(&[b"vol", &[index], &voxels]));
                router.send(&peer, frames(&[b"ack", &[index]])).await.unwrap();
            }
        };
        let (output, ()) =
            soon("20 volumes", async { tokio::join!(dealer.output(), answer) }).await;
        assert_eq!(text(&output.unwrap()), "done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_req_is_answered_like_a_dealer() {
    let Some(python) = python() else { return };
    let security = ServerSecurity::LoopbackOnly;
    let router = Router::bind(ANY_PORT, &security, &Limits::for_commands()).await.unwrap();
    let mut req = command(&python, &script("foreign.py"), &["req", router.endpoint()]);
    let answer = async {
        let (peer, received) = soon("a question", router.recv()).await.unwrap();
        assert_eq!(received, frames(&[b"state"]));
        router.send(&peer, frames(&[b"state", b"{}"])).await.unwrap();
    };
    let (output, ()) = soon("an answer", async { tokio::join!(req.output(), answer) }).await;
    assert_eq!(text(&output.unwrap()), "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_subscriber_hears_its_topics_only() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    for endpoint in endpoints(&folder) {
        let security = ServerSecurity::LoopbackOnly;
        let publisher = Publisher::bind(&endpoint, &security, &Limits::default()).await.unwrap();
        let mut sub = command(&python, &script("foreign.py"), &["sub", publisher.endpoint()]);
        let publish = async {
            loop {
                publisher.send(frames(&[b"volume", b"no"])).await.unwrap();
                publisher.send(frames(&[b"concepts", b"{}"])).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let output = tokio::select! {
            () = publish => unreachable!("it never ends"),
            output = soon("20 messages", sub.output()) => output,
        };
        assert_eq!(text(&output.unwrap()), "done");
    }
}
