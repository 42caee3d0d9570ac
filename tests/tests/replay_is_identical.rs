//! The replay of a recording gives the results of the session in every field except `*_ns`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Daemon, Site, corticast, entries, published, results};
use serde_json::Value;

fn replay(site: &Site, recording: &str, code: i32, more: &[&str]) -> Vec<Value> {
    let (config, out) = (site.config(), site.path("replayed.jsonl"));
    let recording = site.path(recording);
    let arguments = ["replay", "--config", config.to_str().unwrap(), "--run"];
    let arguments =
        arguments.into_iter().chain([recording.to_str().unwrap(), "--overwrite", "--results"]);
    let arguments = arguments.chain([out.to_str().unwrap()]).chain(more.iter().copied());
    let replayed = corticast(site, arguments);
    assert_eq!(replayed.code, Some(code), "{}", replayed.log);
    results(&out)
}

fn recording(site: &Site) -> Daemon {
    let (mcap, live) = (site.path("live.mcap"), site.path("live.jsonl"));
    let arguments = ["--record", mcap.to_str().unwrap(), "--results", live.to_str().unwrap()];
    Daemon::start(site, &arguments)
}

#[test]
fn a_recording_gives_the_results_of_its_session_again() {
    let site = Site::new(60);
    let daemon = recording(&site);
    assert_eq!(daemon.scan(&site, &["--late", "20:1", "--duplicate", "9"]).code, Some(0));
    // A second run, which also loses volumes.
    assert_eq!(daemon.scan(&site, &["--run", "2", "--drop", "30,31"]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(3));
    let live = results(&site.path("live.jsonl"));
    assert!(live.len() > 100, "{} results of two runs", live.len());
    assert_eq!(replay(&site, "live.mcap", 3, &[]), live);
    assert!(!entries(&site.path("live.mcap")).1, "the recording has an end");
    // The recording also holds everything that was published, and a recording of the replay is
    // equivalent.
    assert_eq!(published(&site.path("live.mcap"), "concepts"), live);
    let again = site.path("again.mcap");
    replay(&site, "live.mcap", 3, &["--record", again.to_str().unwrap()]);
    assert_eq!(replay(&site, "again.mcap", 3, &[]), live);
    for topic in ["concepts", "volume", "run", "status"] {
        let of = |name: &str| published(&site.path(name), topic);
        assert_eq!(of("again.mcap"), of("live.mcap"), "{topic}");
    }
}

#[test]
fn operator_commands_are_replayed_at_the_same_volume() {
    let site = Site::new(60);
    let daemon = recording(&site);
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    let mut sent = 0;
    let mut send = |up_to: usize| {
        talk.send_volumes(&run, &volumes[sent..up_to]);
        sent = up_to;
    };
    send(15);
    assert_eq!(daemon.command("pause")["ok"], true);
    send(25);
    assert_eq!(daemon.command("resume")["ok"], true);
    send(30);
    assert_eq!(daemon.command("blank")["ok"], true);
    send(38);
    assert_eq!(daemon.command("unblank")["ok"], true);
    send(45);
    assert_eq!(daemon.command("end_run")["ok"], true);
    assert_eq!(daemon.command("dance")["ok"], false);
    assert_eq!(daemon.stop().code, Some(0));

    let live = results(&site.path("live.jsonl"));
    assert_eq!(replay(&site, "live.mcap", 0, &[]), live);
    let indices = |lines: &[Value]| -> Vec<u64> {
        lines.iter().map(|line| line["index"].as_u64().unwrap()).collect()
    };
    let decoded = indices(&live);
    assert!(decoded.iter().all(|index| !(15..25).contains(index)), "{decoded:?}");
    assert!(decoded.contains(&14) && decoded.contains(&25) && decoded.contains(&44));
    let blanked: Vec<Value> = live.into_iter().filter(|line| line["blanked"] == true).collect();
    assert_eq!(indices(&blanked), (30..38).collect::<Vec<u64>>());
}
