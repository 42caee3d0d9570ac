//! The clients of `docs/clients` show what a real daemon sends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use corticast_tests::{Daemon, PATIENCE, Process, Site, not_run, repository, wait_for};

fn client(name: &str) -> PathBuf {
    repository("docs/clients").canonicalize().unwrap().join(name)
}

fn works(program: &PathBuf, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let quiet = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[test]
fn the_python_display_shows_a_bar_for_each_result() {
    let named = std::env::var_os("CORTICAST_PYTHON").map(PathBuf::from);
    let python = named.clone().unwrap_or_else(|| "python3".into());
    if !works(&python, &["-c", "import zmq, msgpack"]) {
        assert!(named.is_none(), "{} lacks pyzmq or msgpack", python.display());
        not_run(
            "the_python_display_shows_a_bar_for_each_result",
            "no Python with pyzmq and msgpack; set CORTICAST_PYTHON",
        );
        return;
    }
    let site = Site::new(20);
    let daemon = Daemon::start(&site, &[]);
    let mut command = Command::new(python);
    command.arg(client("feedback_display.py"));
    command.args([daemon.endpoint("publish"), "--text", "--once", "3"]);
    let display = Process::start(&site, command);
    // There is no sign that a subscription has arrived, so send runs until the client sees one.
    let started = Instant::now();
    while display.output().lines().count() < 3 {
        assert!(started.elapsed() < PATIENCE, "the display saw nothing: {}", display.log());
        drop(daemon.scan(&site, &[]));
    }
    let ended = display.finish();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let line = ended.output.lines().next().unwrap();
    assert!(line.starts_with('[') && line.contains("volume"), "{line}");
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn the_octave_display_shows_a_bar_for_each_value() {
    let octave = PathBuf::from("octave-cli");
    if !works(&octave, &["--eval", "pkg load sockets"]) {
        not_run(
            "the_octave_display_shows_a_bar_for_each_value",
            "no octave-cli with the package sockets; `make deps` installs it",
        );
        return;
    }
    let site = Site::new(20);
    // A port that is free now; Octave cannot let the system choose one.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(octave);
    command.arg(client("feedback_octave.m")).args([&port.to_string(), "3"]);
    let display = Process::start(&site, command);
    wait_for("Octave listens", || display.output().contains("listening").then_some(()));
    let connect = format!("sinks.rtpspy.connect=127.0.0.1:{port}");
    let arguments = ["--set", &connect, "--set", "sinks.rtpspy.value=concept:cat"];
    let daemon = Daemon::start(&site, &arguments);
    drop(daemon.scan(&site, &[]));
    let ended = display.finish();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(ended.output.lines().filter(|line| line.starts_with('[')).count(), 3);
    assert_eq!(daemon.stop().code, Some(0));
}
