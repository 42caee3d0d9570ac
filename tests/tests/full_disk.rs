//! A disk that is full or cannot be written stops only the recording, with an alarm.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{collections::BTreeSet, fs};

use corticast_tests::{
    Daemon, Finished, Kept, Metrics, PATIENCE, Site, corticast, recorded_volumes, results, wait_for,
};
use corticast_wire::message::{FromAdapter, ToAdapter};
use serde_json::Value;

const VOLUMES: u32 = 120;

fn started(site: &Site, script: &str, recording: &str, name: &str) -> Daemon {
    let jsonl = site.path(&format!("{name}.jsonl"));
    let arguments = ["--record", recording, "--results", jsonl.to_str().unwrap()];
    let warn = ["--set", "recording.disk_check=warn"];
    Daemon::started(site, script, &[arguments.as_slice(), &warn].concat())
}

fn of(site: &Site, name: &str) -> Vec<Value> {
    results(&site.path(&format!("{name}.jsonl")))
}

fn wait_for_result(daemon: &Daemon, index: u32) {
    wait_for("the last result", || (daemon.query("last/concepts")["index"] == index).then_some(()));
}

/// Sends the scan to a daemon that will stop recording, and waits until all volumes are decoded.
/// Returns the acknowledged volumes, and how the daemon ended.
fn send_to_a_full_disk(site: &Site, daemon: Daemon) -> (BTreeSet<u32>, Finished) {
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    for volume in &volumes {
        talk.say(&FromAdapter::Volume(volume.clone().into_message(&run)));
    }
    wait_for_result(&daemon, VOLUMES - 1);
    let has_failed = |metrics: &Metrics| metrics.count("corticast_recording_errors_total") == 1;
    drop(daemon.metrics_when("the end of the recording", has_failed));
    // The answer to this last message arrives after all acknowledgements.
    talk.say(&FromAdapter::Run { header, resume: true });
    let mut acknowledged = BTreeSet::new();
    loop {
        match talk.answer() {
            ToAdapter::Ack(ack) => acknowledged.extend(ack.index),
            ToAdapter::Ready(_) => break,
            other => panic!("expected acknowledgements, got {other:?}"),
        }
    }
    let answer = daemon.command("resume");
    let message = answer["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("in force, but not recorded"), "{answer}");
    (acknowledged, daemon.stop())
}

#[test]
fn a_full_disk_stops_the_recording_and_not_the_run() {
    // Volumes are larger than their results, so the recording fills the disk, not the results.
    let site = Site::with_matrix(VOLUMES, "nearest", [16, 16, 8]);
    let recording = site.path("undisturbed.mcap");
    let daemon = started(&site, "exec \"$0\" \"$@\"", recording.to_str().unwrap(), "undisturbed");
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(0));
    let expected = of(&site, "undisturbed");

    // No file of the process may grow beyond half the size of the recording. `ulimit` counts in
    // blocks of 512 bytes.
    let room = fs::metadata(&recording).unwrap().len() / 2;
    assert!(fs::metadata(site.path("undisturbed.jsonl")).unwrap().len() < room);
    let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", room / 512);
    let full = site.path("full.mcap");
    let daemon = started(&site, &limited, full.to_str().unwrap(), "full");
    let (acknowledged, ended) = send_to_a_full_disk(&site, daemon);
    assert_eq!(of(&site, "full"), expected, "decoding continues");
    let n_acked = acknowledged.len();
    assert!((1..VOLUMES as usize).contains(&n_acked), "{n_acked} acknowledged");
    assert!(recorded_volumes(&full).is_superset(&acknowledged));
    drop(ended.expect(1, &["ERROR recording stopped", "full.mcap", "File too large", "make room"]));

    // Once the operator has made room, the session continues where its recording ended.
    let daemon = started(&site, "exec \"$0\" \"$@\"", full.to_str().unwrap(), "full");
    let scan = daemon.scan(&site, &[]);
    assert_eq!(scan.code, Some(0), "{}", scan.log);
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(of(&site, "full"), expected);
    assert_eq!(recorded_volumes(&full), (0..VOLUMES).collect::<BTreeSet<_>>());
}

/// An adapter normally waits for acknowledgements. It must keep sending to a daemon that has
/// stopped recording.
#[test]
fn an_adapter_whose_volumes_are_not_acknowledged_keeps_sending() {
    let volumes = 240;
    let site = Site::with_matrix(volumes, "nearest", [16, 16, 8]);
    let full = site.path("full.mcap");
    let limited = "trap '' XFSZ; ulimit -f 300; exec \"$0\" \"$@\"";
    let daemon = started(&site, limited, full.to_str().unwrap(), "full");
    // The TR sets the pace. With `--speed 0` the adapter would wait for acknowledgements.
    let scan = daemon.scan(&site, &["--speed", "100", "--patience-s", "1"]);
    drop(scan.expect(3, &["never acknowledged"]));
    // The daemon acknowledges no volumes, so the adapter may end before they are decoded.
    wait_for_result(&daemon, volumes - 1);
    drop(daemon.stop().expect(1, &["ERROR recording stopped", "File too large"]));
    let results = of(&site, "full");
    let indices: Vec<u64> = results.iter().map(|r| r["index"].as_u64().unwrap()).collect();
    let first = indices[0];
    assert_eq!(indices, (first..u64::from(volumes)).collect::<Vec<_>>());
    assert!(recorded_volumes(&full).len() < 150, "the disk was full early");
}

#[test]
fn results_that_cannot_be_written_do_not_stop_the_recording() {
    let site = Site::new(VOLUMES);
    let recording = site.path("session.mcap");
    let arguments = ["--record", recording.to_str().unwrap(), "--results", "/dev/full"];
    let daemon = Daemon::start(&site, &arguments);
    let scan = daemon.scan(&site, &[]);
    assert_eq!(scan.code, Some(0), "{}", scan.log);
    let ended = daemon.stop();
    assert!(ended.log.contains("/dev/full") && ended.log.contains("ERROR"), "{}", ended.log);
    assert_eq!(recorded_volumes(&recording), (0..VOLUMES).collect::<BTreeSet<_>>());
}

#[test]
fn a_folder_that_cannot_be_written_is_named_before_the_run() {
    let site = Site::new(20);
    let config = site.config();
    for flag in ["--record", "--results"] {
        let arguments =
            ["run", "--config", config.to_str().unwrap(), flag, "/proc/nowhere/session"];
        drop(corticast(&site, arguments).expect(78, &["/proc/nowhere/session", "No such file"]));
    }
}

#[test]
fn a_session_that_will_not_fit_is_refused_before_its_first_run() {
    let site = Site::new(20);
    let recording = site.path("session.mcap");
    let arguments = ["--record", recording.to_str().unwrap()];
    let planned = ["--set", "session.expected_runs=4000000000"];
    let daemon = Daemon::start(&site, &[arguments.as_slice(), &planned].concat());
    let (header, _) = site.acquire();
    let talk = daemon.talk();
    talk.say(&FromAdapter::Run { header, resume: false });
    let reason = talk.refusal();
    assert!(reason.contains("GB"), "{reason}");
}

/// A share that is gone blocks its writer: there is no error to report.
#[test]
fn a_disk_that_hangs_is_an_alarm_until_it_answers() {
    let site = Site::new(20);
    let (header, volumes) = site.acquire();
    let daemon = Kept::new(&site, "hangs").start_failing("hold:recorder:2", &[""; 0]);
    let watch = daemon.watch();
    let talk = daemon.talk();
    talk.say(&FromAdapter::Run { header, resume: false });
    let status = |words: &str| {
        while let Some((topic, header)) = watch.next(PATIENCE) {
            if topic == "status" && header["message"].as_str().unwrap().contains(words) {
                return header["level"].clone();
            }
        }
        panic!("no status says `{words}`");
    };
    assert_eq!(status("has not taken an entry for 5 s"), "alarm");
    fs::write(site.path("release"), "").unwrap();
    assert_eq!(status("the disk of the recording answers again"), "info");
    let ToAdapter::Ready(ready) = talk.answer() else { panic!("the run is answered now") };
    talk.send_volumes(&ready.run, &volumes);
    talk.end_run(&ready.run, 20);
    assert_eq!(daemon.stop().code, Some(0));
}
