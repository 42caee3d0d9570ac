//! A daemon whose model is slower than the scanner is behind, and answers all the same: heartbeats,
//! operators, signals. Daemon and adapter agree that nobody is silent, and nothing is lost.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{fs, time::Instant};

use corticast_tests::{
    Daemon, Kept, Metrics, Process, Site, Talk, adapter, http_get, own_address, wait_for,
};
use corticast_wire::{
    heartbeat::{HEARTBEAT, SILENCE},
    message::{FromAdapter, ToAdapter},
};

/// More than the ring of the signal thread takes.
const VOLUMES: u32 = 150;

const NONE: [&str; 0] = [];

fn scanner(site: &Site, daemon: &Daemon) -> Process {
    let speed = ["--speed", "200"].map(str::to_owned);
    let flags: Vec<String> = site.scan_flags().into_iter().chain(speed).collect();
    adapter(site, daemon.endpoint("adapter"), &flags)
}

fn wait_until_messages_wait(daemon: &Daemon) {
    let is_behind = |metrics: &Metrics| metrics.value("corticast_messages_waiting") > 0.0;
    drop(daemon.metrics_when("messages that wait for the signal thread", is_behind));
}

/// A daemon whose signal thread hangs while messages of a run wait for it, the adapter, and the run.
fn hanging(site: &Site, session: &Kept<'_>) -> (Daemon, Talk, String) {
    let daemon = session.start_failing("hold:signal:5", &NONE);
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    for volume in volumes {
        talk.say(&FromAdapter::Volume(volume.into_message(&run)));
    }
    wait_until_messages_wait(&daemon);
    (daemon, talk, run)
}

#[test]
fn everyone_is_answered_while_the_model_hangs() {
    let site = Site::new(VOLUMES);
    let session = Kept::new(&site, "hangs");
    let (daemon, talk, run) = hanging(&site, &session);
    talk.say(&FromAdapter::Ping);
    // Volumes are acknowledged once they are recorded, whether or not they are decoded.
    let mut acknowledged = 0;
    loop {
        match talk.answer_within(corticast_tests::PATIENCE) {
            Some(ToAdapter::Ping(_)) => break,
            Some(ToAdapter::Ack(_)) => acknowledged += 1,
            other => panic!("expected a heartbeat, got {other:?}"),
        }
    }
    for command in ["status", "blank", "pause", "resume", "unblank", "status"] {
        let answer = daemon.command(command);
        assert!(answer["ok"] == true && answer["run"] == *run, "{command}: {answer}");
    }
    assert_eq!(daemon.query("version")["protocol"], 1);
    assert_eq!(http_get(daemon.endpoint("http"), "/readyz").0, 200);
    // The commands took their turn behind the volumes before them, in the recording as in the
    // ring, so a replay gives the same results.
    fs::write(site.path("release"), "").unwrap();
    while acknowledged < VOLUMES {
        match talk.answer() {
            ToAdapter::Ack(_) => acknowledged += 1,
            other => panic!("expected an acknowledgement, got {other:?}"),
        }
    }
    talk.end_run(&run, VOLUMES);
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(session.replayed().0, session.results());
}

/// More than the places that the ring keeps for commands.
const COMMANDS: usize = 40;

#[test]
fn a_command_that_finds_no_room_is_refused_and_everyone_else_is_answered() {
    let site = Site::new(VOLUMES);
    let session = Kept::new(&site, "commands");
    let (daemon, talk, run) = hanging(&site, &session);
    // A console asks again and again: that takes no room.
    for _ in 0..COMMANDS {
        assert_eq!(daemon.command("status")["ok"], true);
    }
    let answers: Vec<_> =
        ["pause", "resume"].into_iter().cycle().take(COMMANDS).map(|c| daemon.command(c)).collect();
    let (obeyed, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer["ok"] == true);
    assert!(obeyed.len() >= 30, "{}", obeyed.len());
    assert!(!refused.is_empty());
    for answer in refused {
        assert!(answer["message"].as_str().unwrap().contains("so far behind"), "{answer}");
    }
    // The receive task goes on: heartbeats, status, and the command that ends the daemon.
    talk.say(&FromAdapter::Ping);
    while !matches!(talk.answer_within(corticast_tests::PATIENCE).unwrap(), ToAdapter::Ping(_)) {}
    assert_eq!(daemon.command("status")["run"], *run);
    assert_eq!(daemon.command("abort")["ok"], true);
    fs::write(site.path("release"), "").unwrap();
    drop(daemon.process.finish());
    // What the signal thread could not be told is in the recording.
    fs::remove_file(site.path("release")).unwrap();
    let daemon = session.start(&NONE);
    drop(daemon.stop().expect(0, &[]));
    assert_eq!(session.replayed().0, session.results());
}

#[test]
fn neither_side_takes_the_other_for_silent() {
    let site = Site::new(VOLUMES);
    let expected = Kept::undisturbed(&site);
    let session = Kept::new(&site, "behind");
    let daemon = session.start_failing("hold:signal:5", &NONE);
    let scanner = scanner(&site, &daemon);
    wait_until_messages_wait(&daemon);
    let since = Instant::now();
    wait_for("long enough to be taken for silent", || {
        let silence = daemon.metrics().value("corticast_adapter_silence_seconds");
        assert!(silence < SILENCE.as_secs_f64(), "{silence} s");
        (since.elapsed() > SILENCE * 2 + HEARTBEAT).then_some(())
    });
    wait_for("the adapter's word", || scanner.log().contains("the daemon is behind").then_some(()));
    fs::write(site.path("release"), "").unwrap();
    let sent = scanner.finish().expect(0, &["done"]);
    let ended = daemon.stop().expect(0, &["stopped"]);
    for (who, log) in [("adapter", &sent.log), ("daemon", &ended.log)] {
        for word in ["silent", "no daemon answers"] {
            assert!(!log.contains(word), "the {who} says {word:?}: {log}");
        }
    }
    session.check_complete(&expected, VOLUMES, 1);
}

#[test]
fn a_signal_is_served_and_nothing_that_waited_is_lost() {
    let site = Site::new(VOLUMES);
    let expected = Kept::undisturbed(&site);
    let session = Kept::new(&site, "signal");
    let daemon = session.start_failing("sleep:signal:200", &own_address());
    let endpoints = daemon.same_endpoints();
    let scanner = scanner(&site, &daemon);
    wait_until_messages_wait(&daemon);
    drop(daemon.stop().expect(0, &["a restart with the same recording decodes them"]));
    assert!(session.results().len() < expected.len() / 2);
    let daemon = session.start(&endpoints);
    drop(scanner.finish().expect(0, &["done"]));
    drop(daemon.stop().expect(0, &[]));
    session.check_complete(&expected, VOLUMES, 1);
}
