//! Clips reach files and subscribers, and are the same in every replay.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use corticast_tests::{
    Daemon, Finished, Metrics, PATIENCE, Site, corticast, entries, repository, results,
};
use safetensors::SafeTensors;
use serde_json::Value;

/// Clips of two blurry frames of 16 x 16 pixels, which are made in almost no time.
const STILL: [&str; 2] = ["--set", "generator.mode=still"];

fn site() -> Site {
    let site = Site::new(20);
    site.use_model("neurons-tiny");
    site
}

fn replay(site: &Site, bold: &Path, name: &str, more: &[&str]) -> Finished {
    let config = site.config();
    let path = |ending: &str| site.path(&format!("{name}{ending}")).display().to_string();
    let mut arguments = vec!["replay".to_owned(), "--config".to_owned()];
    arguments.extend([config.display().to_string(), "--run".to_owned()]);
    arguments.extend([bold.display().to_string(), "--results".to_owned(), path(".jsonl")]);
    arguments.extend(["--film".to_owned(), path(".mp4"), "--webp".to_owned(), path("-webp")]);
    arguments.extend(["--png".to_owned(), path("-png"), "--record".to_owned(), path(".mcap")]);
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    corticast(site, arguments)
}

/// Metadata and frames of the recorded clips.
fn clips(path: &Path) -> Vec<(Value, Vec<u8>)> {
    let of_topic = entries(path).0.into_iter().filter(|entry| entry.topic == "clip");
    let read = |data: &[u8]| {
        let (_, metadata) = SafeTensors::read_metadata(data).unwrap();
        let about = metadata.metadata().clone().unwrap();
        let about = about.into_iter().filter(|(key, _)| !key.ends_with("_ns"));
        let tensors = SafeTensors::deserialize(data).unwrap();
        let frames = tensors.tensor("frames").unwrap();
        assert_eq!(frames.shape(), [2, 16, 16, 3]);
        (about.map(|(key, value)| (key, Value::from(value))).collect(), frames.data().to_vec())
    };
    of_topic.map(|entry| read(&entry.data)).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_recorded_session_replays_into_the_same_film_each_time() {
    let site = site();
    let mcap = site.path("live.mcap");
    let daemon =
        Daemon::start(&site, &[&["--record", mcap.to_str().unwrap()][..], &STILL].concat());
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
    // The number of clips depends on the load of the machine. At least one clip is made.
    let made = |metrics: &Metrics| metrics.count("corticast_clips_total") > 0;
    drop(daemon.metrics_when("a clip", made));
    assert_eq!(daemon.stop().code, Some(0));
    for name in ["a", "b"] {
        drop(replay(&site, &mcap, name, &STILL).expect(0, &[]));
    }
    let film = |name: &str| fs::read(site.path(&format!("{name}.mp4"))).unwrap();
    assert_eq!(&film("a")[4..8], b"ftyp");
    assert!(film("a") == film("b"), "two replays give the same film");
    let lines = results(&site.path("a.jsonl"));
    assert!(lines.len() > 10);
    let run = site.run_name();
    assert_eq!(files(&site.path("a-webp").join(run)).len(), lines.len());
    let pictures = files(&site.path("a-png").join(run));
    assert_eq!(pictures.len(), lines.len());
    assert_eq!(files(&pictures[0]).len(), 2);

    // Clips of the live session equal the replay's clips of the same volumes.
    let (live, again) = (clips(&mcap), clips(&site.path("a.mcap")));
    assert_eq!(again.len(), lines.len());
    assert!(!live.is_empty());
    for (about, frames) in live {
        let same = again.iter().find(|(other, _)| other["index"] == about["index"]).unwrap();
        assert_eq!(same.1, frames);
        assert_eq!((same.0["seed"].as_str(), same.0["mode"].as_str()), (Some("0"), Some("still")));
    }
}

#[test]
fn a_clip_is_published_with_its_metadata_and_without_pixels_while_blanked() {
    let site = site();
    let daemon = Daemon::start(&site, &STILL);
    let watch = daemon.watch();
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    for (at, volume) in volumes.iter().enumerate() {
        if at == 15 {
            assert_eq!(daemon.command("blank")["ok"], true);
        }
        talk.send_volumes(&run, std::slice::from_ref(volume));
        // The first volumes give no clip: they are the warm-up, or before the first stimulus.
        if at < 10 {
            continue;
        }
        let (clip, payload) = loop {
            let (topic, header, payload) = watch.next_with_payload(PATIENCE).unwrap();
            if topic == "clip" && header["index"] == at {
                break (header, payload);
            }
        };
        assert_eq!(clip["run"], run);
        assert_eq!(
            (&clip["mode"], &clip["steps"], &clip["seed"]),
            (&"still".into(), &0.into(), &0.into())
        );
        assert_eq!((&clip["n_frame"], &clip["edge"]), (&2.into(), &16.into()));
        assert!((clip["frames_per_s"].as_f64().unwrap() - 2.0).abs() < 1e-9, "a TR of 1 s: {clip}");
        let age_ns = clip["published_ns"].as_u64().unwrap() - clip["received_ns"].as_u64().unwrap();
        assert_eq!(clip["age_ns"].as_u64(), Some(age_ns));
        assert!(clip["superseded"].is_number() && clip["stimulus_time_s"].is_number());
        if at < 15 {
            assert_eq!(payload.unwrap().len(), 2 * 16 * 16 * 3);
            assert!(clip["caption"].as_str().unwrap().contains(" and "), "{clip}");
        } else {
            assert!(payload.is_none() && clip["caption"] == "", "{clip}");
        }
    }
    talk.end_run(&run, 20);
    let n_clip = daemon.metrics().count("corticast_clips_total");
    assert!(n_clip >= 10, "{n_clip} clips");
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_clip_with_nan_is_dropped_counted_and_named() {
    let site = site();
    // The network gives NaN for every window, but not for the zeros of the trial at its opening.
    let nan = repository("tests/data/models/neurons-nan/vae_nan.onnx");
    site.replace_network("vae_decoder", &nan);
    let daemon = Daemon::start(&site, &STILL);
    let watch = daemon.watch();
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    let n_failed = |metrics: &Metrics| metrics.count("corticast_clips_failed_total");
    // Every clip fails. The generator takes the newest conditions, so sending the volumes in two
    // parts makes at least two clips fail.
    talk.send_volumes(&run, &volumes[..10]);
    drop(daemon.metrics_when("a clip that fails", |metrics| n_failed(metrics) > 0));
    talk.send_volumes(&run, &volumes[10..]);
    talk.end_run(&run, 20);
    let warning = watch.until("warning", |topic, header| {
        assert_ne!(topic, "clip", "{header}");
        topic == "status" && header["message"].as_str().unwrap().contains("no clip")
    });
    let message = warning["message"].as_str().unwrap();
    assert!(message.contains("`image` holds NaN"), "{message}");
    // Decoding continues.
    let ended = watch.until("end of the run", |topic, header| {
        assert_ne!(topic, "clip", "{header}");
        topic == "run" && header["state"] == "ended"
    });
    let n_result = ended["n_results"].as_u64().unwrap();
    assert!(n_result > 10, "{ended}");
    // All conditions failed or were replaced by newer ones, and the operator got one warning.
    let metrics = daemon.metrics_when("a count of all conditions", |metrics| {
        n_failed(metrics) + metrics.count("corticast_conditions_superseded_total") == n_result
    });
    assert!(n_failed(&metrics) > 1, "{}", metrics.0);
    assert_eq!(metrics.count("corticast_clips_total"), 0);
    let log = daemon.stop().expect(0, &[]).log;
    assert_eq!(log.matches("no clip").count(), 1, "{log}");
}

#[test]
fn a_setup_that_cannot_make_clips_is_refused_before_the_session() {
    let site = site();
    let config = site.config();
    let check = |more: &[&str]| {
        let arguments = ["check", "--config", config.to_str().unwrap()];
        corticast(&site, arguments.iter().chain(more))
    };
    // The shipped networks need six blurry frames; this model gives two.
    let video = repository("models/demo/video");
    let dir = format!("generator.dir={}", video.display());
    let live = ["--set", "generator.mode=live", "--set", &dir];
    drop(check(&live).expect(78, &["16 frames; 2 blurry ones make 4"]));
    let heads = ["--set", "decoder.heads=[\"concepts\"]"];
    drop(check(&[&STILL[..], &heads].concat()).expect(78, &["`reconstruction`", "switched off"]));
    drop(check(&["--set", "outputs.film=film.mp4"]).expect(78, &["[generator]", "none are made"]));
    let empty = format!("generator.dir={}", site.folder().display());
    let live = ["--set", "generator.mode=live", "--set", &empty];
    drop(check(&live).expect(78, &["video.toml"]));
    let shown = check(&STILL).expect(0, &["ok: configuration"]);
    assert!(shown.output.contains("[generator]") && shown.output.contains("mode = \"still\""));
}
