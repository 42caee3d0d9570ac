//! Once `blank` is confirmed, nothing decoded reaches subscribers or clients that query: neither
//! what was decoded earlier nor a clip under way. The recording keeps everything.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Daemon, HeldWorker, PATIENCE, Site, WORKERS, entries};
use serde_json::Value;

/// The next message of a topic about the volume of an index, with its payload.
fn message(
    watch: &corticast_tests::Watch,
    topic: &str,
    index: u64,
) -> (Value, Option<bytes::Bytes>) {
    loop {
        let (found, header, payload) = watch.next_with_payload(PATIENCE).unwrap();
        if found == topic && header["index"] == index {
            return (header, payload);
        }
    }
}

#[test]
fn a_clip_that_was_under_way_when_the_operator_blanked_shows_nothing() {
    let site = Site::new(40);
    site.use_model("neurons-tiny");
    let mcap = site.path("session.mcap");
    let recorded = ["--record", mcap.to_str().unwrap(), "--set", "recording.clips=true"];
    let daemon = Daemon::start(&site, &[&WORKERS[..], &recorded].concat());
    let worker = HeldWorker::connect(&site, &daemon, "held");
    let watch = daemon.watch();
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    talk.send_volumes(&run, &volumes[..11]);
    let job = worker.job();
    let index = u64::from(job.index);
    assert!(message(&watch, "concepts", index).0["caption"] != "");

    // The worker has the job, and its conditions were decoded before the operator blanked.
    assert_eq!(daemon.command("blank")["ok"], true);
    let last = daemon.query("last");
    let shown = &last["concepts"];
    assert!(shown["blanked"] == true && shown["caption"] == "", "{last}");
    let values: Vec<&Value> = shown["concepts"].as_object().unwrap().values().collect();
    assert!(values.iter().all(|value| *value == values[0]), "{last}");
    worker.finish(&job, "a secret");
    let (clip, payload) = message(&watch, "clip", index);
    assert!(payload.is_none() && clip["caption"] == "" && clip["blanked"] == true, "{clip}");
    let last = daemon.query("last/clip");
    assert!(last["caption"] == "" && last["blanked"] == true, "{last}");

    // A clip whose conditions were decoded while blanked stays hidden after `unblank`.
    talk.send_volumes(&run, &volumes[11..12]);
    let mut job = worker.job();
    while job.index < 11 {
        worker.finish(&job, "older");
        job = worker.job();
    }
    assert_eq!(daemon.command("unblank")["ok"], true);
    worker.finish(&job, "another secret");
    let (clip, payload) = message(&watch, "clip", u64::from(job.index));
    assert!(payload.is_none() && clip["caption"] == "" && clip["blanked"] == true, "{clip}");

    talk.send_volumes(&run, &volumes[12..13]);
    let job = worker.job();
    worker.finish(&job, "shown again");
    let (clip, payload) = message(&watch, "clip", u64::from(job.index));
    assert!(payload.is_some() && clip["caption"] == "shown again", "{clip}");
    assert_eq!(daemon.stop().code, Some(0));

    let clips = entries(&mcap).0.into_iter().filter(|entry| entry.topic == "clip");
    let texts: Vec<String> =
        clips.map(|entry| String::from_utf8_lossy(&entry.data).into_owned()).collect();
    assert!(texts.iter().any(|text| text.contains("a secret")), "the recording keeps the clip");
}
