//! A restart never destroys: it continues a recording in a further file and leaves the earlier ones
//! as they are. Damage costs the damaged chunk and nothing behind it, in every tool.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path};

use corticast::recording::segments;
use corticast_tests::{
    Daemon, Kept, Site, adapter, corticast, entries, own_address, recorded_volumes,
};
use corticast_wire::message::{FromAdapter, ToAdapter};
use serde_json::Value;

/// Volumes of a run, and how many are acknowledged before the kill.
const VOLUMES: u32 = 120;
const ACKNOWLEDGED: u32 = 100;

/// A chunk holds one volume, and a few results that were recorded with it.
const MOST_OF_A_CHUNK: usize = 16;

const NONE: [&str; 0] = [];

/// The results of windows before the volume `lost`, and of those that ended after the kill.
fn outside(results: &[Value], lost: u32) -> Vec<&Value> {
    let is_outside = |result: &&Value| {
        let index = result["index"].as_u64().unwrap();
        index < u64::from(lost) || index >= u64::from(ACKNOWLEDGED)
    };
    results.iter().filter(is_outside).collect()
}

fn files(recording: &Path) -> Vec<(String, Vec<u8>)> {
    let found = segments::of(recording).unwrap().into_iter();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    found.map(|(_, path)| (name(&path), fs::read(&path).unwrap())).collect()
}

/// A session of [`ACKNOWLEDGED`] volumes whose daemon was killed. Returns its bytes.
fn killed(site: &Site) -> Vec<u8> {
    let session = Kept::new(site, "killed");
    let daemon = session.start(&NONE);
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    // Each is acknowledged before the next is sent, so each has a chunk of its own.
    talk.send_volumes(&run, &volumes[..ACKNOWLEDGED as usize]);
    daemon.process.kill();
    fs::read(session.recording()).unwrap()
}

/// Sends the rest of the run to a daemon that was started again, and stops it.
fn finish(site: &Site, daemon: Daemon) {
    let (header, volumes) = site.acquire();
    let run = header.run_id();
    let talk = daemon.talk();
    talk.say(&FromAdapter::Run { header, resume: true });
    assert!(matches!(talk.answer(), ToAdapter::Ready(ready) if ready.run == run));
    talk.send_volumes(&run, &volumes[ACKNOWLEDGED as usize..]);
    talk.end_run(&run, VOLUMES);
    // A volume that was lost with its chunk is missing, which the exit code says.
    let ended = daemon.stop();
    assert!(matches!(ended.code, Some(0 | 3)), "{}", ended.log);
}

#[test]
fn a_flipped_bit_costs_its_chunk_and_no_tool_loses_more() {
    let site = Site::new(VOLUMES);
    let whole = killed(&site);
    let all: BTreeSet<u32> = (0..VOLUMES).collect();
    let mut n_lost = 0;
    for part in 1..6 {
        let session = Kept::new(&site, &format!("flipped{part}"));
        let (first, mut damaged) = (session.recording(), whole.clone());
        damaged[whole.len() * part / 6] ^= 1 << part;
        fs::write(&first, &damaged).unwrap();

        let daemon = session.start(&NONE);
        let log = daemon.process.log();
        let is_alarm = |line: &str| line.contains("ERROR") && line.contains("is damaged between");
        let is_known = log.lines().any(is_alarm);
        finish(&site, daemon);
        let found = files(&first);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let stem = format!("flipped{part}");
        assert_eq!(names, [format!("{stem}.mcap"), format!("{stem}.001.mcap")]);
        assert!(found[0].1 == damaged, "the first file is as it was");
        let kept = recorded_volumes(&first);
        assert!(kept.is_subset(&all) && kept.len() + 1 >= all.len(), "{:?} lost", &all - &kept);
        // A bit of the index beside a chunk costs nothing.
        assert!(is_known || kept == all, "{log}");
        n_lost += all.len() - kept.len();

        // Replay, export and recover read both files as one session.
        let (replayed, log) = session.replayed();
        assert_eq!(log.log.contains("is damaged between"), is_known, "{}", log.log);
        let live = session.results();
        // From the lost volume to the kill, the live session still had its value.
        let lost = all.difference(&kept).next().map_or(ACKNOWLEDGED, |lost| *lost);
        // A result that was in the damaged chunk is not made again; a replay makes it.
        let (made_again, live_outside) = (outside(&replayed, lost), outside(&live, lost));
        assert!(live_outside.iter().all(|result| made_again.contains(result)));
        assert!(live_outside.len() + MOST_OF_A_CHUNK >= made_again.len());
        let exported = session.exported("concepts");
        assert!(exported.iter().all(|result| live.contains(result)));
        assert!(exported.len() + MOST_OF_A_CHUNK >= live.len());
        let out = site.path(&format!("{stem}-whole.mcap"));
        let paths = [first.display().to_string(), out.display().to_string()];
        let recover = ["recover", &paths[0], "--out", &paths[1]];
        drop(corticast(&site, recover).expect(0, &[]));
        assert_eq!((recorded_volumes(&out), entries(&out).1), (kept.clone(), false));
        assert!(files(&first) == found, "--out changes no file of the recording");
        drop(corticast(&site, ["recover", &paths[0]]).expect(0, &[]));
        assert_eq!((recorded_volumes(&first), entries(&first).1), (kept, false));
        for (name, bytes) in found {
            assert!(fs::read(site.path(&format!("{name}.cut"))).unwrap() == bytes, "{name}");
        }
        assert_eq!(session.replayed().0, replayed);
    }
    assert!(n_lost > 0, "no bit of a volume was flipped");
}

/// Places in the data of the first `n` chunks of a recording.
fn in_chunks(recording: &[u8], n: usize) -> Vec<usize> {
    // The name of a chunk's compression, which its length and its data follow.
    let word = b"\x04\0\0\0zstd";
    let starts = (0..recording.len()).filter(|&at| recording[at..].starts_with(word));
    starts.map(|at| at + word.len() + 8 + 6).take(n).collect()
}

#[test]
fn damage_to_the_start_of_a_run_costs_no_more_than_elsewhere() {
    let site = Site::new(VOLUMES);
    let whole = killed(&site);
    let all: BTreeSet<u32> = (0..VOLUMES).collect();
    for (number, at) in in_chunks(&whole, 5).into_iter().enumerate() {
        let session = Kept::new(&site, &format!("start{number}"));
        let mut damaged = whole.clone();
        damaged[at] ^= 8;
        fs::write(session.recording(), &damaged).unwrap();
        let daemon = session.start(&NONE);
        finish(&site, daemon);
        let kept = recorded_volumes(&session.recording());
        assert!(kept.len() + 1 >= all.len(), "chunk {number}: {:?} lost", &all - &kept);
        let (replayed, log) = session.replayed();
        // The first results need a warm-up and the delay, so one volume can cost one of them.
        assert!(replayed.len() + 20 >= session.results().len(), "chunk {number}: {}", log.log);
        assert!(!log.log.contains("start of their run is missing"), "chunk {number}: {}", log.log);
    }
}

#[test]
fn four_kills_give_five_files_that_are_one_session() {
    let site = Site::new(VOLUMES);
    let expected = Kept::undisturbed(&site);
    let session = Kept::new(&site, "chain");
    let mut daemon = session.start(&own_address());
    let endpoints = daemon.same_endpoints();
    let speed = ["--speed", "40"].map(str::to_owned);
    let flags: Vec<String> = site.scan_flags().into_iter().chain(speed).collect();
    let scanner = adapter(&site, daemon.endpoint("adapter"), &flags);
    for n in [20, 40, 60, 80] {
        session.wait_for_results(n);
        daemon.process.kill();
        daemon = session.start(&endpoints);
    }
    drop(scanner.finish().expect(0, &[]));
    assert_eq!(daemon.stop().code, Some(0));
    let recording = session.recording();
    let names: Vec<String> = files(&recording).into_iter().map(|(name, _)| name).collect();
    let further = (1..5).map(|number| format!("chain.{number:03}.mcap"));
    assert_eq!(names, [vec!["chain.mcap".to_owned()], further.collect()].concat());
    session.check_complete(&expected, VOLUMES, 1);
    assert_eq!(session.replayed().0, expected);

    // A further file alone is not a session.
    let part = site.path("chain.002.mcap").display().to_string();
    let (config, whole) = (site.config().display().to_string(), recording.display().to_string());
    for command in [
        vec!["replay", "--config", &config, "--run", &part],
        vec!["export", &part, "--jsonl", "part.jsonl"],
        vec!["recover", &part],
        vec!["run", "--config", &config, "--record", &part],
    ] {
        drop(corticast(&site, &command).expect(1, &["is a further segment of", &whole]));
    }
    let after: Vec<String> = files(&recording).into_iter().map(|(name, _)| name).collect();
    assert_eq!(after, names);

    // Nobody concludes from a file that is gone that nothing was in it.
    fs::rename(&part, site.path("elsewhere.mcap")).unwrap();
    let missing = format!("{part} is missing, but later files of the recording exist");
    let replay = ["replay", "--config", &config, "--run", &whole];
    drop(corticast(&site, replay).expect(3, &[&missing]));
    let daemon = session.start(&own_address());
    let is_alarm = |line: &str| line.contains("ERROR") && line.contains(&missing);
    assert!(daemon.process.log().lines().any(is_alarm), "{}", daemon.process.log());
}

/// A file that cannot be read says nothing about what it holds, so nothing may be concluded from it
/// and nothing written after it.
#[test]
fn a_failed_read_is_not_taken_for_the_end_of_the_recording() {
    let site = Site::new(VOLUMES);
    drop(killed(&site));
    let session = Kept::new(&site, "killed");
    let daemon = session.start(&NONE);
    finish(&site, daemon);
    let recording = session.recording();
    let (further, aside) = (site.path("killed.001.mcap"), site.path("aside"));
    let before = files(&recording);
    let paths = [site.config(), recording.clone()].map(|path| path.display().to_string());
    let [config, whole] = &paths;
    fs::rename(&further, &aside).unwrap();
    for as_folder in [true, false] {
        // Both exist, and no byte of either can be read, by no user.
        if as_folder {
            fs::create_dir(&further).unwrap();
        } else {
            symlink(site.path("not-mounted/killed.001.mcap"), &further).unwrap();
        }
        for command in [
            vec!["run", "--config", config, "--record", whole],
            vec!["replay", "--config", config, "--run", whole, "--results", "out.jsonl"],
            vec!["export", whole, "--jsonl", "exported.jsonl"],
            vec!["recover", whole],
            vec!["recover", whole, "--out", "recovered.mcap"],
        ] {
            drop(corticast(&site, &command).expect(1, &["killed.001.mcap", "check the disk"]));
        }
        let names: Vec<_> = segments::of(&recording).unwrap();
        assert_eq!(names.len(), 2, "nothing was written behind it: {names:?}");
        assert!(!site.path("recovered.mcap").exists() && !site.path("exported.jsonl").exists());
        if as_folder {
            fs::remove_dir(&further).unwrap();
        } else {
            fs::remove_file(&further).unwrap();
        }
    }
    fs::rename(&aside, &further).unwrap();
    assert!(files(&recording) == before, "every file is as it was");
    assert_eq!(session.replayed().0, session.results());
}

/// What a power cut leaves of a segment, and what somebody copied beside it, cost nothing else.
#[test]
fn a_segment_of_zeros_or_of_another_session_is_named_and_stops_no_command() {
    let site = Site::new(VOLUMES);
    drop(killed(&site));
    let session = Kept::new(&site, "killed");
    let recording = session.recording();
    let zeros = site.path("killed.001.mcap");
    fs::write(&zeros, vec![0; 50_000]).unwrap();
    let other = Kept::new(&site, "other");
    assert_eq!(other.start(&NONE).scan(&site, &[]).code, Some(0));
    let copied = site.path("killed.002.mcap");
    fs::copy(other.recording(), &copied).unwrap();
    let before = files(&recording);
    let named = [
        format!("{} is damaged between byte 0 and byte 50000", zeros.display()),
        format!("{} belongs to another session and is not used", copied.display()),
    ];

    let daemon = session.start(&NONE);
    let log = daemon.process.log();
    for named in &named {
        let is_alarm = |line: &str| line.contains("ERROR") && line.contains(named);
        assert!(log.lines().any(is_alarm), "{named}: {log}");
    }
    finish(&site, daemon);
    assert!(files(&recording).starts_with(&before), "every file is as it was");
    assert_eq!(recorded_volumes(&recording), (0..VOLUMES).collect());
    let (replayed, ended) = session.replayed();
    assert_eq!(replayed, session.results());
    assert!(named.iter().all(|named| ended.log.contains(named)), "{}", ended.log);
    assert!(!ended.log.contains("killed.003.mcap belongs"), "{}", ended.log);
    assert_eq!(session.exported("concepts").len(), session.results().len());
}
