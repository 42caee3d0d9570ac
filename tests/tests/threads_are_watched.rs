//! A thread or task that dies is an alarm and ends the daemon: nothing goes on acknowledging, and
//! the daemon that the supervisor starts next continues the session.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{collections::BTreeSet, time::Duration};

use corticast_tests::{Daemon, Kept, Site, Talk, http_get, recorded_volumes};
use corticast_wire::{
    message::{FromAdapter, ToAdapter},
    socket::ClientSecurity,
};

const VOLUMES: u32 = 60;

const NONE: [&str; 0] = [];

/// How long to wait for an answer before the next volume is sent.
const PAUSE: Duration = Duration::from_millis(2);

/// Sends the scan until the daemon has ended. Returns the acknowledged volumes.
fn send_until_it_ends(site: &Site, daemon: &mut Daemon, ask: bool) -> BTreeSet<u32> {
    let (header, volumes) = site.acquire();
    let run = header.run_id();
    let talk = daemon.talk();
    talk.say(&FromAdapter::Run { header, resume: false });
    let mut acknowledged = BTreeSet::new();
    let mut keep = |answer| {
        if let ToAdapter::Ack(ack) = answer {
            acknowledged.extend(ack.index);
        }
    };
    let others = ["query", "control"].map(|name| daemon.endpoint(name).to_owned());
    let [query, control] = others.map(|at| Talk::connect(&at, &ClientSecurity::None));
    let started = std::time::Instant::now();
    // Volumes that were acknowledged are sent again and again: the daemon has to be working.
    for volume in volumes.iter().cycle() {
        if daemon.process.has_ended() {
            break;
        }
        assert!(started.elapsed() < corticast_tests::PATIENCE, "the daemon goes on");
        talk.say(&FromAdapter::Volume(volume.clone().into_message(&run)));
        if ask {
            query.say_frames(&[b"state", b"json"]);
            control.say_frames(&[br#"{"command": "status"}"#]);
        }
        while let Some(answer) = talk.answer_within(PAUSE) {
            keep(answer);
        }
    }
    // What the daemon sent before it ended.
    while let Some(answer) = talk.answer_within(Duration::from_millis(200)) {
        keep(answer);
    }
    acknowledged
}

fn dies(site: &Site, name: &str, item: u32, flags: &[&str]) {
    let expected = {
        let undisturbed = Kept::new(site, "undisturbed");
        if undisturbed.results_file().exists() {
            undisturbed.results()
        } else {
            Kept::undisturbed(site)
        }
    };
    let session = Kept::new(site, name);
    let mut daemon = session.start_failing(&format!("panic:{name}:{item}"), flags);
    let acknowledged = send_until_it_ends(site, &mut daemon, true);
    let ended = daemon.process.finish();
    assert!(ended.code.is_some_and(|code| code != 0), "{name}: {:?}", ended.code);
    // The receive task is the one that would give the alarm; a panic says it in its place.
    if name != "receive" {
        let alarm = format!("the {name} thread of the daemon has died");
        let is_alarm = |line: &str| line.contains("ERROR") && line.contains(&alarm);
        assert!(ended.log.lines().any(is_alarm), "{name}: {}", ended.log);
    }
    let recorded = recorded_volumes(&session.recording());
    assert!(recorded.is_superset(&acknowledged), "{name}: {:?}", &acknowledged - &recorded);

    let daemon = session.start(&NONE);
    drop(daemon.scan(site, &[]).expect(0, &[]));
    drop(daemon.stop().expect(0, &[]));
    session.check_complete(&expected, VOLUMES, 1);
}

#[test]
fn a_thread_of_the_session_that_dies_ends_the_daemon() {
    let site = Site::new(VOLUMES);
    for name in ["signal", "recorder", "results"] {
        dies(&site, name, 12, &NONE);
    }
}

#[test]
fn a_task_of_a_socket_that_dies_ends_the_daemon() {
    let site = Site::new(VOLUMES);
    for (name, item) in
        [("publish", 12), ("query", 3), ("control", 3), ("answers", 12), ("receive", 12)]
    {
        dies(&site, name, item, &NONE);
    }
}

#[test]
fn a_request_that_panics_costs_this_request_only() {
    let site = Site::new(VOLUMES);
    let session = Kept::new(&site, "http");
    let daemon = session.start_failing("panic:http:2", &NONE);
    let ask = |path: &str| http_get(daemon.endpoint("http"), path).0;
    assert_eq!(["/metrics", "/metrics", "/metrics", "/readyz"].map(ask), [200, 500, 200, 200]);
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
    drop(daemon.stop().expect(0, &["asks the http thread to panic", "stopped"]));
    assert_eq!(recorded_volumes(&session.recording()).len(), VOLUMES as usize);
}

#[test]
fn a_thread_of_clips_that_dies_ends_the_daemon() {
    let site = Site::new(VOLUMES);
    site.use_model("neurons-tiny");
    let still = ["--set", "generator.mode=still"];
    dies(&site, "generator", 2, &still);
    for (name, file) in [("film", "film.mp4"), ("webp", "webp"), ("png", "png")] {
        let output = format!("outputs.{name}={file}");
        dies(&site, name, 2, &[&still[..], &["--set", &output]].concat());
    }
}
