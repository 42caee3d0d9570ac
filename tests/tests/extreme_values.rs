//! Counts, indices and times of a peer are bounded: the daemon refuses or replaces extreme values,
//! and such a session restarts, replays and exports.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast::recording::{
    file::RecordingFile,
    format::{WIRE, pack},
};
use corticast_bold::time::TrIndex;
use corticast_images::acquired::AcquiredVolume;
use corticast_tests::{Daemon, Site, Talk, corticast, results};
use corticast_wire::message::{Encoding, End, FromAdapter, Mark};
use rustix::process::Signal;

/// Says something extreme, and waits until the daemon has answered a question after it.
fn say(talk: &Talk, message: &FromAdapter) {
    talk.say(message);
    talk.say_frames(&[b"heard?"]);
    loop {
        if let corticast_wire::message::ToAdapter::Refused(refused) = talk.answer()
            && refused.reason.contains("heard?")
        {
            return;
        }
    }
}

fn extremes(talk: &Talk, run: &str, volume: &AcquiredVolume) {
    let numbers =
        [f64::MAX, f64::MIN, 1e300, -1e300, 1e12, 1e8, -1e8, f64::MIN_POSITIVE, -0.0, f64::NAN];
    for (at, number) in numbers.into_iter().enumerate() {
        let volume = AcquiredVolume { index: TrIndex(12 + 2 * at as u32), ..volume.clone() };
        let mut message = volume.into_message(run);
        message.header.acquisition_time_s = Some(number);
        message.header.crc32 = None;
        say(talk, &FromAdapter::Volume(message.clone()));
        message.header.slope = Some(number);
        message.header.intercept = Some(number);
        message.header.acquisition_time_s = None;
        message.header.index = TrIndex(13 + 2 * at as u32);
        say(talk, &FromAdapter::Volume(message));
        let name = "ttl".to_owned();
        let mark = Mark { run: run.to_owned(), time_s: number, name, value: Some(number) };
        say(talk, &FromAdapter::Mark(mark));
    }
    for index in [u32::MAX, u32::MAX - 1, 1 << 31, 1_000_000] {
        let volume = AcquiredVolume { index: TrIndex(index), ..volume.clone() };
        say(talk, &FromAdapter::Volume(volume.into_message(run)));
    }
    for n_sent in [u32::MAX, 1_000_001] {
        say(
            talk,
            &FromAdapter::End(End { run: run.to_owned(), n_sent: Some(n_sent), triggers: None }),
        );
    }
}

#[test]
fn extreme_values_neither_stop_the_daemon_nor_a_restart_nor_a_replay() {
    let site = Site::new(60);
    let mcap = site.path("session.mcap").display().to_string();
    let flags = ["--record", &mcap, "--set", "signal.content_duplicates=keep"];
    let daemon = Daemon::start(&site, &flags);
    let (mut header, volumes) = site.acquire();
    let talk = daemon.talk();
    header.n_volumes = Some(u32::MAX);
    talk.say(&FromAdapter::Run { header: header.clone(), resume: false });
    assert!(talk.refusal().contains("`n_volumes`"));
    header.n_volumes = Some(1_000_000);
    let run = talk.start_run(&header).run;
    talk.send_volumes(&run, &volumes[..12]);
    let watch = daemon.watch();
    extremes(&talk, &run, &volumes[12]);
    let is_off = |topic: &str, header: &serde_json::Value| {
        topic == "volume" && header["time_off_s"].is_number()
    };
    for _ in [1e8, -1e8] {
        let volume = watch.until("a volume whose time does not fit", is_off);
        let (time_s, index) = (&volume["acquisition_time_s"], &volume["index"]);
        assert_eq!(time_s.as_f64(), index.as_f64(), "the fallback is index x TR of 1 s");
    }
    assert_eq!(daemon.query("state")["run"], run);
    daemon.process.signal(Signal::KILL);
    drop(daemon.process.finish());

    let daemon = Daemon::start(&site, &flags);
    let talk = daemon.talk();
    let again = talk.start_run(&header).run;
    let last = AcquiredVolume { index: TrIndex(999_999), ..volumes[59].clone() };
    talk.send_volumes(&again, &[last]);
    talk.end_run(&again, 1_000_000);
    daemon.wait_for_end_of_run();
    assert_eq!(daemon.stop().code, Some(3), "volumes are missing");

    let config = site.config().display().to_string();
    let replayed = site.path("again.jsonl");
    for speed in ["0", "1000000"] {
        let replay = ["replay", "--config", &config, "--run", &mcap, "--speed", speed];
        let to = ["--overwrite", "--results", replayed.to_str().unwrap()];
        let keep = ["--set", "signal.content_duplicates=keep"];
        let ended = corticast(&site, [&replay[..], &to, &keep].concat());
        assert_eq!(ended.code, Some(3), "{}", ended.log);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
    }
    assert!(!results(&replayed).is_empty());
    for to in [["--jsonl", "lines.jsonl"], ["--bids", "dataset"]] {
        let ended = corticast(&site, [&["export", &mcap][..], &to].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.log);
    }
}

/// What a daemon of an earlier version accepted and recorded.
#[test]
fn a_recording_that_holds_extreme_values_restarts_and_replays() {
    let site = Site::new(60);
    let mcap = site.path("session.mcap");
    let flags = ["--record", mcap.to_str().unwrap()];
    let daemon = Daemon::start(&site, &flags);
    let (header, volumes) = site.acquire();
    let run = daemon.talk().start_run(&header).run;
    daemon.talk().send_volumes(&run, &volumes[..12]);
    daemon.process.signal(Signal::KILL);
    drop(daemon.process.finish());
    let mut file = RecordingFile::open(&mcap).unwrap();
    let mut far = volumes[12].clone().into_message(&run);
    far.header.acquisition_time_s = Some(1e300);
    let mut large = header.clone();
    (large.n_volumes, large.series_id) = (Some(u32::MAX), "another".to_owned());
    for message in [
        FromAdapter::Volume(far),
        FromAdapter::End(End { run: run.clone(), n_sent: Some(u32::MAX), triggers: None }),
        FromAdapter::Run { header: large, resume: false },
        FromAdapter::End(End { run: run.clone(), n_sent: Some(u32::MAX), triggers: None }),
    ] {
        file.write(WIRE, 0, &pack(&message.to_frames(Encoding::MessagePack))).unwrap();
    }
    file.finish().unwrap();

    let daemon = Daemon::start(&site, &flags);
    let log = daemon.process.log();
    assert!(log.contains("a recorded message is not used"), "{log}");
    let talk = daemon.talk();
    drop(talk.start_run(&header));
    talk.send_volumes(&run, &volumes[12..]);
    talk.end_run(&run, 60);
    daemon.wait_for_end_of_run();
    assert_eq!(daemon.stop().code, Some(0));
    let config = site.config().display().to_string();
    for speed in ["0", "1000000"] {
        let recording = mcap.to_str().unwrap();
        let replay = ["replay", "--config", &config, "--run", recording, "--speed", speed];
        let ended =
            corticast(&site, [&replay[..], &["--results", &format!("{speed}.jsonl")]].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.log);
    }
}
