//! What is answered is recorded first: the start and end of a run, marks, commands. A full queue of
//! the recorder has room for them, and a recording whose order differs from what was decoded says
//! so.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{collections::BTreeSet, fs};

use bytes::Bytes;
use corticast::recording::format::{self, Entry};
use corticast_bold::time::TrIndex;
use corticast_images::acquired::AcquiredVolume;
use corticast_tests::{Daemon, Kept, Metrics, PATIENCE, Site, Talk, entries, recorded_volumes};
use corticast_wire::{
    message::{FromAdapter, Mark, ToAdapter},
    socket::ClientSecurity,
};
use serde_json::Value;

const NONE: [&str; 0] = [];

/// The control messages of a recording, in order. The start of a run is recorded more than once,
/// and counts once.
fn control(session: &Kept) -> Vec<String> {
    let name = |entry: Entry| {
        if entry.topic == "command" {
            let command: Value = serde_json::from_slice(&entry.data).unwrap();
            return Some(command["command"].as_str().unwrap().to_owned());
        }
        match FromAdapter::parse(&entry.frames()?).unwrap().0 {
            FromAdapter::Run { .. } => Some("run".to_owned()),
            FromAdapter::Mark(mark) => Some(format!("mark {}", mark.name)),
            FromAdapter::End(_) => Some("end".to_owned()),
            _ => None,
        }
    };
    let mut starts = BTreeSet::new();
    let found = entries(&session.recording()).0.into_iter();
    let is_new = move |entry: &Entry| {
        let is_start = format::kind_of(&entry.data) == Some(b"run");
        !is_start || starts.insert(entry.data.clone())
    };
    found.filter(is_new).filter_map(name).collect()
}

fn sorted(names: &[String]) -> Vec<&str> {
    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn mark(run: &str, name: &str) -> FromAdapter {
    let (run, name) = (run.to_owned(), name.to_owned());
    FromAdapter::Mark(Mark { run, time_s: 1.0, name, value: None })
}

/// Kills the daemon right after the answer, and starts it again.
fn killed(session: &Kept, daemon: Daemon, more: &[&str], expected: &[&str]) -> Daemon {
    daemon.process.kill();
    assert_eq!(control(session), expected);
    session.start(more)
}

#[test]
fn what_was_answered_is_in_the_recording_of_a_daemon_that_was_killed() {
    let site = Site::new(20);
    let (header, volumes) = site.acquire();
    for durability in ["flush", "fsync"] {
        let session = Kept::new(&site, durability);
        let set = format!("recording.durability={durability}");
        let set = ["--set", set.as_str()];
        let mut daemon = session.start(&set);
        let run = daemon.talk().start_run(&header).run;
        let mut expected = vec!["run"];
        daemon = killed(&session, daemon, &set, &expected);

        // A mark has no answer of its own; it is safe with the volume after it.
        let talk = daemon.talk();
        drop(talk.start_run(&header));
        talk.say(&mark(&run, "shown"));
        talk.send_volumes(&run, &volumes[..1]);
        expected.push("mark shown");
        daemon = killed(&session, daemon, &set, &expected);

        for command in ["pause", "resume", "blank", "unblank", "pause", "blank"] {
            let answer = daemon.command(command);
            assert_eq!(answer["ok"], true, "{answer}");
            expected.push(command);
            daemon = killed(&session, daemon, &set, &expected);
        }
        let status = daemon.command("status");
        assert!(status["state"] == "paused" && status["blanked"] == true, "{status}");

        let talk = daemon.talk();
        drop(talk.start_run(&header));
        talk.send_volumes(&run, &volumes[1..]);
        talk.end_run(&run, 20);
        expected.push("end");
        daemon = killed(&session, daemon, &set, &expected);

        let mut again = header.clone();
        "another series".clone_into(&mut again.series_id);
        drop(daemon.talk().start_run(&again));
        expected.push("run");
        assert_eq!(daemon.command("end_run")["ok"], true);
        expected.push("end_run");
        daemon = killed(&session, daemon, &set, &expected);
        let talk = daemon.talk();
        talk.say(&FromAdapter::Run { header: again, resume: true });
        assert!(talk.refusal().contains("the operator ended this run"));
        assert_eq!(recorded_volumes(&session.recording()), (0..20).collect::<BTreeSet<_>>());
    }
}

/// The daemon answers nothing before it is recorded, however long that takes.
#[test]
fn nothing_is_answered_while_it_is_not_recorded() {
    let site = Site::new(20);
    let (header, _) = site.acquire();
    for is_killed in [true, false] {
        let session = Kept::new(&site, &format!("killed-{is_killed}"));
        // The first entry describes the session.
        let daemon = session.start_failing("hold:recorder:2", &NONE);
        let talk = daemon.talk();
        talk.say(&FromAdapter::Run { header: header.clone(), resume: false });
        let operator = Talk::connect(daemon.endpoint("control"), &ClientSecurity::None);
        operator.say_command("pause");
        // Heartbeats are answered in turn with what came before them.
        for _ in 0..3 {
            talk.say(&FromAdapter::Ping);
            let answer = talk.answer_within(PATIENCE);
            assert!(matches!(answer, Some(ToAdapter::Ping(_))), "{answer:?}");
        }
        if is_killed {
            daemon.process.kill();
            assert_eq!(control(&session), NONE);
            continue;
        }
        fs::write(site.path("release"), "").unwrap();
        assert!(matches!(talk.answer(), ToAdapter::Ready(_)));
        assert_eq!(operator.confirmation()["command"], "pause");
        assert_eq!(operator.command("resume")["ok"], true);
        daemon.process.kill();
        // The run and the first command come through two sockets, in no certain order.
        let found = control(&session);
        assert_eq!(sorted(&found[..2]), ["pause", "run"]);
        assert_eq!(found[2..], ["resume"]);
    }
}

/// Volumes of 2 MB fill the queue of the recorder, which holds 256 MB.
#[test]
fn control_messages_have_room_when_volumes_have_none_and_the_order_is_noted() {
    const VOLUMES: u32 = 150;
    let site = Site::with_matrix(2, "nearest", [128, 128, 64]);
    let (mut header, scanned) = site.acquire();
    header.n_volumes = Some(VOLUMES);
    let volume = |index: u32| {
        let mut voxels = scanned[0].voxels.to_vec();
        voxels[..4].copy_from_slice(&index.to_le_bytes());
        let (index, voxels) = (TrIndex(index), Bytes::from(voxels));
        AcquiredVolume { index, voxels, acquisition_time_s: None, ..scanned[0].clone() }
    };
    let session = Kept::new(&site, "full");
    let daemon = session.start_failing("hold:recorder:2", &NONE);
    let talk = daemon.talk();
    let run = header.run_id();
    talk.say(&FromAdapter::Run { header, resume: false });
    for index in 0..VOLUMES {
        talk.say(&FromAdapter::Volume(volume(index).into_message(&run)));
    }
    let is_full = |metrics: &Metrics| metrics.count("corticast_volumes_unrecorded_total") > 0;
    drop(daemon.metrics_when("a full queue", is_full));
    let all =
        |metrics: &Metrics| metrics.count("corticast_volumes_received_total") == u64::from(VOLUMES);
    drop(daemon.metrics_when("the last volume", all));
    talk.say(&mark(&run, "under load"));
    let operator = Talk::connect(daemon.endpoint("control"), &ClientSecurity::None);
    operator.say_command("pause");
    fs::write(site.path("release"), "").unwrap();
    assert_eq!(operator.confirmation()["command"], "pause");

    // The adapter sends again what was not acknowledged.
    let mut acknowledged = BTreeSet::new();
    while acknowledged.len() < VOLUMES as usize {
        match talk.answer_within(std::time::Duration::from_secs(1)) {
            Some(ToAdapter::Ack(ack)) => acknowledged.extend(ack.index),
            Some(ToAdapter::Ping(_) | ToAdapter::Ready(_)) => {}
            None => {
                let left = (0..VOLUMES).filter(|index| !acknowledged.contains(index));
                for index in left.take(16) {
                    talk.say(&FromAdapter::Volume(volume(index).into_message(&run)));
                }
            }
            other => panic!("expected an acknowledgement, got {other:?}"),
        }
    }
    talk.end_run(&run, VOLUMES);
    daemon.process.kill();
    // The mark and the command come through two sockets, in no certain order.
    let found = control(&session);
    assert_eq!(found[0], "run");
    assert_eq!(sorted(&found[1..3]), ["mark under load", "pause"]);
    assert_eq!(found[3..], ["end"]);
    assert_eq!(recorded_volumes(&session.recording()), (0..VOLUMES).collect::<BTreeSet<_>>());
    let notes = entries(&session.recording()).0.into_iter().filter(|entry| entry.topic == "order");
    let n_note = notes.count();
    assert!(n_note > 0);
    assert_eq!(session.exported("order").len(), n_note);
    let (_, replay) = session.replayed();
    assert!(
        replay.log.contains("some volumes were used before they were recorded"),
        "{}",
        replay.log
    );
}
