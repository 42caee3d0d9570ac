//! No acknowledged volume is lost: daemon and adapter may be killed at any moment, files may be
//! cut anywhere, and the results still equal those of an undisturbed run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{collections::BTreeSet, fs, path::Path};

use corticast_tests::{
    Daemon, Site, adapter, corticast, counts, entries, own_address, published, recorded_volumes,
    results, wait_for,
};
use corticast_wire::message::{FromAdapter, ToAdapter};
use serde_json::Value;

/// Volumes of a run that takes 3 s at [`SPEED`].
const VOLUMES: u32 = 150;
/// Speed relative to real time, slow enough that the run can be interrupted.
const SPEED: [&str; 2] = ["--speed", "50"];

fn daemon(site: &Site, name: &str, more: &[String]) -> Daemon {
    let (mcap, jsonl) = (site.path(&format!("{name}.mcap")), site.path(&format!("{name}.jsonl")));
    let mut arguments = vec!["--record", mcap.to_str().unwrap()];
    arguments.extend(["--results", jsonl.to_str().unwrap()]);
    arguments.extend(more.iter().map(String::as_str));
    Daemon::start(site, &arguments)
}

fn of(site: &Site, name: &str) -> Vec<Value> {
    results(&site.path(&format!("{name}.jsonl")))
}

/// The results of the site's scan when no process is killed.
fn undisturbed(site: &Site) -> Vec<Value> {
    let daemon = daemon(site, "undisturbed", &[]);
    assert_eq!(daemon.scan(site, &[]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(0));
    of(site, "undisturbed")
}

fn wait_for_results(path: &Path, n: usize) {
    wait_for("results", || {
        let text = fs::read_to_string(path).ok()?;
        (text.lines().count() >= n).then_some(())
    });
}

fn scan_flags(site: &Site) -> Vec<String> {
    site.scan_flags().into_iter().chain(SPEED.map(str::to_owned)).collect()
}

#[test]
fn a_killed_daemon_resumes_the_run() {
    let site = Site::new(VOLUMES);
    let expected = undisturbed(&site);
    let mut daemon = daemon(&site, "killed", &own_address());
    let endpoints = daemon.same_endpoints();
    let scanner = adapter(&site, daemon.endpoint("adapter"), &scan_flags(&site));
    // Twice, because a resumed session must be resumable again.
    for n in [40, 90] {
        wait_for_results(&site.path("killed.jsonl"), n);
        daemon.process.kill();
        daemon = self::daemon(&site, "killed", &endpoints);
    }
    let scanner = scanner.finish();
    assert_eq!(scanner.code, Some(0), "{}", scanner.log);
    let ended = daemon.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(of(&site, "killed"), expected);
    let recording = site.path("killed.mcap");
    assert_eq!(recorded_volumes(&recording), (0..VOLUMES).collect::<BTreeSet<_>>());
    let report = published(&recording, "run").pop().unwrap();
    assert_eq!(counts(&report)[..4], [u64::from(VOLUMES), 0, 0, 0]);
}

/// A volume in transit to the killed daemon is lost; volumes queued behind it are not.
#[test]
fn a_restarted_daemon_refuses_volumes_that_overtook_a_lost_one() {
    let site = Site::new(60);
    let expected = undisturbed(&site);
    let daemon = daemon(&site, "overtaken", &[]);
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    talk.send_volumes(&run, &volumes[..30]);
    daemon.process.kill();
    let daemon = self::daemon(&site, "overtaken", &[]);
    let talk = daemon.talk();
    for volume in &volumes[31..35] {
        talk.say(&FromAdapter::Volume(volume.clone().into_message(&run)));
        let reason = talk.refusal();
        assert!(reason.contains("send `run` first"), "{reason}");
    }
    // An adapter that sends one volume at a time does not need to notice the restart.
    talk.send_volumes(&run, &volumes[29..31]);
    talk.say(&FromAdapter::Run { header, resume: true });
    assert!(matches!(talk.answer(), ToAdapter::Ready(ready) if ready.next_index == 31));
    talk.send_volumes(&run, &volumes[31..]);
    talk.end_run(&run, 60);
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(of(&site, "overtaken"), expected);
}

#[test]
fn every_acknowledged_volume_is_in_the_recording_of_a_killed_daemon() {
    let site = Site::new(VOLUMES);
    for durability in ["flush", "fsync"] {
        let set = ["--set".to_owned(), format!("recording.durability={durability}")];
        let daemon = daemon(&site, durability, &set);
        let (header, volumes) = site.acquire();
        let talk = daemon.talk();
        let run = talk.start_run(&header).run;
        for volume in &volumes {
            talk.say(&FromAdapter::Volume(volume.clone().into_message(&run)));
        }
        let mut acknowledged = BTreeSet::new();
        while acknowledged.len() < 70 {
            match talk.answer() {
                ToAdapter::Ack(ack) => acknowledged.extend(ack.index),
                other => panic!("expected an acknowledgement, got {other:?}"),
            }
        }
        daemon.process.kill();
        let recorded = recorded_volumes(&site.path(&format!("{durability}.mcap")));
        assert!(recorded.is_superset(&acknowledged), "{acknowledged:?} but {recorded:?}");
    }
}

#[test]
fn a_killed_adapter_resumes_the_run() {
    let site = Site::new(VOLUMES);
    let expected = undisturbed(&site);
    let daemon = daemon(&site, "adapter", &[]);
    // In the middle of its run for certain: the rest would take half a minute more.
    let slow = ["--speed", "5"].map(str::to_owned);
    let flags: Vec<String> = site.scan_flags().into_iter().chain(slow).collect();
    let scanner = adapter(&site, daemon.endpoint("adapter"), &flags);
    wait_for_results(&site.path("adapter.jsonl"), 3);
    scanner.kill();
    let second = daemon.scan(&site, &[]);
    assert_eq!(second.code, Some(0), "{}", second.log);
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(of(&site, "adapter"), expected);
}

#[test]
fn a_recording_that_was_cut_anywhere_replays_to_a_prefix() {
    let site = Site::new(VOLUMES);
    let expected = undisturbed(&site);
    let whole = fs::read(site.path("undisturbed.mcap")).unwrap();
    let (cut, out) = (site.path("cut.mcap"), site.path("cut.jsonl"));
    let config = site.config();
    let mut longest = 0;
    for at in (1..=24).map(|part| whole.len() * part / 24 - part % 5) {
        fs::write(&cut, &whole[..at]).unwrap();
        let arguments = ["replay", "--config", config.to_str().unwrap(), "--run"];
        let arguments =
            arguments.into_iter().chain([cut.to_str().unwrap(), "--overwrite", "--results"]);
        let replay = corticast(&site, arguments.chain([out.to_str().unwrap()]));
        assert_eq!(replay.code, Some(0), "cut at {at}: {}", replay.log);
        let given = results(&out);
        assert!(given.len() >= longest, "cut at {at}: {} results", given.len());
        assert_eq!(given, expected[..given.len()], "cut at {at}");
        longest = given.len();
    }
    assert_eq!(longest, expected.len());
}

#[test]
fn a_cut_recording_is_recovered_and_replays_as_before() {
    let site = Site::new(VOLUMES);
    undisturbed(&site);
    let whole = fs::read(site.path("undisturbed.mcap")).unwrap();
    let (cut, out) = (site.path("cut.mcap"), site.path("cut.jsonl"));
    let config = site.config();
    let replayed = || {
        let arguments = ["replay", "--config", config.to_str().unwrap(), "--run"];
        let arguments =
            arguments.into_iter().chain([cut.to_str().unwrap(), "--overwrite", "--results"]);
        let replay = corticast(&site, arguments.chain([out.to_str().unwrap()]));
        assert_eq!(replay.code, Some(0), "{}", replay.log);
        results(&out)
    };
    for part in 1..6 {
        fs::write(&cut, &whole[..whole.len() * part / 6]).unwrap();
        let before = replayed();
        let recovered = corticast(&site, ["recover", cut.to_str().unwrap()]);
        assert_eq!(recovered.code, Some(0), "{}", recovered.log);
        assert!(!entries(&cut).1, "the recording has an end again");
        assert_eq!(replayed(), before, "{part}");
        fs::remove_file(site.path("cut.mcap.cut")).unwrap();
    }
}

#[test]
fn a_daemon_resumes_a_cut_recording() {
    let site = Site::new(VOLUMES);
    let expected = undisturbed(&site);
    let whole = fs::read(site.path("undisturbed.mcap")).unwrap();
    for part in [1, 2, 3] {
        let name = format!("part{part}");
        let cut = site.path(&format!("{name}.mcap"));
        fs::write(&cut, &whole[..whole.len() * part / 4]).unwrap();
        let daemon = daemon(&site, &name, &[]);
        let scan = daemon.scan(&site, &[]);
        assert_eq!(scan.code, Some(0), "{}", scan.log);
        assert_eq!(daemon.stop().code, Some(0));
        assert_eq!(of(&site, &name), expected, "{name}");
        assert_eq!(recorded_volumes(&cut), (0..VOLUMES).collect::<BTreeSet<_>>());
        assert!(!entries(&cut).1, "the recording has an end again");
    }
}

#[test]
fn a_recording_of_something_else_is_not_continued() {
    let site = Site::new(20);
    let foreign = site.path("foreign.mcap");
    fs::write(&foreign, "these are my notes").unwrap();
    let config = site.config();
    let arguments = ["run", "--config", config.to_str().unwrap(), "--record"];
    let ended = corticast(&site, arguments.into_iter().chain([foreign.to_str().unwrap()]));
    drop(ended.expect(1, &["foreign.mcap", "another file with --record"]));
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "these are my notes");

    // A session recorded with another signal path is not continued either.
    let daemon = daemon(&site, "before", &[]);
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(0));
    let recording = site.path("before.mcap");
    let before = fs::read(&recording).unwrap();
    site.configure("missing = \"hold\"");
    let arguments = ["run", "--config", config.to_str().unwrap(), "--record"];
    let ended = corticast(&site, arguments.into_iter().chain([recording.to_str().unwrap()]));
    drop(ended.expect(1, &["before.mcap", "another [signal]"]));
    assert!(fs::read(&recording).unwrap() == before, "the recording is unchanged");
}
