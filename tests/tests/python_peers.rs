//! The Python examples (`docs/examples`) talk to the real daemon through an independent ZeroMQ
//! implementation, pyzmq.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use corticast_bold::space::VoxelSpace;
use corticast_tests::{
    Daemon, PATIENCE, Process, Site, counts, not_run, published, recorded_volumes, repository,
    wait_for,
};
use corticast_wire::keys::KeyPair;

/// The Python interpreter. The test fails if `CORTICAST_PYTHON` is set but lacks the packages.
fn python(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("CORTICAST_PYTHON").map(PathBuf::from);
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let status = Command::new(&python)
        .args(["-c", "import zmq, msgpack, numpy"])
        .stderr(Stdio::null())
        .status();
    if status.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    assert!(named.is_none(), "{} lacks pyzmq, msgpack or numpy", python.display());
    not_run(test, "no Python with pyzmq, msgpack and numpy; set CORTICAST_PYTHON");
    None
}

fn example(site: &Site, python: &PathBuf, name: &str, arguments: &[&str]) -> Process {
    let mut command = Command::new(python);
    command.arg(repository("docs/examples").canonicalize().unwrap().join(name)).args(arguments);
    Process::start(site, command)
}

#[test]
fn the_examples_feed_and_watch_the_daemon() {
    let Some(python) = python("the_examples_feed_and_watch_the_daemon") else {
        return;
    };
    // The voxel space that the example simulates.
    let mut affine = [[0.0; 4]; 4];
    for (axis, size) in [3.0, 3.0, 3.0, 1.0].into_iter().enumerate() {
        affine[axis][axis] = size;
    }
    let space = VoxelSpace::new([64, 64, 32], affine).unwrap();
    let site = Site::for_space(&space, [[1, 2, 3], [20, 30, 10], [40, 20, 15], [60, 60, 30]], 0.1);
    let mcap = site.path("session.mcap");
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    let client = example(&site, &python, "client.py", &[daemon.endpoint("publish")]);
    // There is no sign that a subscription has arrived, so send runs until the client sees one.
    let started = Instant::now();
    while client.output().is_empty() {
        assert!(started.elapsed() < PATIENCE, "the client saw nothing: {}", client.log());
        let endpoint = daemon.endpoint("adapter");
        let scanner = example(&site, &python, "adapter.py", &[endpoint, "20", "0.1"]).finish();
        assert_eq!(scanner.code, Some(0), "{}", scanner.log);
    }
    let seen = client.output();
    let line = seen.lines().next().unwrap();
    assert!(line.starts_with("sub-01_task-demo"), "{line}");
    assert!(["bottle", "cat", "chair"].iter().all(|class| line.contains(class)), "{line}");
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(recorded_volumes(&mcap), (0..20).collect());
    let report = published(&mcap, "run").pop().unwrap();
    assert_eq!(counts(&report)[..4], [20, 0, 0, 0]);
}

/// A DEALER with or without keys. Prints `gave up` when libzmq has given up the endpoint.
const MISMATCH: &str = r#"
import sys, zmq
from zmq.utils.monitor import recv_monitor_message
socket = zmq.Context().socket(zmq.DEALER)
if sys.argv[2] == "keys":
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
    socket.curve_serverkey, _ = zmq.curve_keypair()
monitor = socket.get_monitor_socket()
socket.connect(sys.argv[1])
seen = []
while monitor.poll(3000):
    seen.append(recv_monitor_message(monitor)["event"])
assert zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL in seen and zmq.EVENT_CONNECT_RETRIED not in seen, seen
print("gave up")
"#;

#[test]
fn a_client_with_keys_on_one_side_only_gives_up_and_the_daemon_says_so() {
    let Some(python) = python("a_client_with_keys_on_one_side_only_gives_up") else { return };
    let site = Site::new(4);
    let friends = site.path("friends");
    std::fs::create_dir(&friends).unwrap();
    KeyPair::generate().write_files(&site.path("daemon")).unwrap();
    KeyPair::generate().write_files(&friends.join("friend")).unwrap();
    let key = format!("wire.key={}", site.path("daemon.key").display());
    let list = format!("wire.adapter_allow={}", friends.display());
    for (flags, client) in [(vec!["--set", &key, "--set", &list], "none"), (vec![], "keys")] {
        let daemon = Daemon::start(&site, &flags);
        let mut command = Command::new(&python);
        command.args(["-c", MISMATCH, daemon.endpoint("adapter"), client]);
        let ended = Process::start(&site, command).finish();
        assert_eq!(ended.output.trim(), "gave up", "{}", ended.log);
        wait_for("a word in the log", || {
            daemon.process.log().contains("connection refused").then_some(())
        });
        assert_eq!(daemon.stop().code, Some(0));
    }
}
