//! A restart from a checkpoint goes on exactly as if nothing had happened, and as a restart that
//! reads everything does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeSet;

use corticast_tests::{Daemon, Site, entries, published, recorded_volumes, results, wait_for};
use corticast_wire::message::{FromAdapter, ToAdapter};
use serde_json::Value;

/// Volumes of a run: more than lie between two checkpoints (4096).
const VOLUMES: u32 = 9_000;

/// Starts a daemon that records `name`.
fn daemon(site: &Site, name: &str) -> Daemon {
    let (mcap, jsonl) = (site.path(&format!("{name}.mcap")), site.path(&format!("{name}.jsonl")));
    let files = ["--record", mcap.to_str().unwrap(), "--results", jsonl.to_str().unwrap()];
    Daemon::start(site, &files)
}

fn wait_for_volume(daemon: &Daemon, index: u32) {
    wait_for("the volume", || (daemon.query("last/volume")["index"] == index).then_some(()));
}

/// Runs the scan with a restart before each of these volumes. Returns the results, the last report
/// of the run, and the logs of the daemons.
fn run(site: &Site, name: &str, restarts: &[u32]) -> (Vec<Value>, Value, Vec<String>) {
    let mut daemon = daemon(site, name);
    let (header, volumes) = site.acquire();
    let mut talk = daemon.talk();
    let run = talk.start_run(&header).run;
    let mut logs = Vec::new();
    let mut sent = 0;
    for &at in restarts.iter().chain([&VOLUMES]) {
        // Commands before and behind the checkpoint: the last one holds.
        let ends =
            [(sent + 10, "pause"), (sent + 30, "resume"), (at - 20, "blank"), (at, "unblank")];
        for (to, command) in ends {
            talk.send_volumes(&run, &volumes[sent as usize..to as usize]);
            wait_for_volume(&daemon, to - 1);
            assert_eq!(daemon.command(command)["ok"], true);
            sent = to;
        }
        if at < VOLUMES {
            logs.push(daemon.process.log());
            daemon.process.kill();
            daemon = self::daemon(site, name);
            talk = daemon.talk();
            talk.say(&FromAdapter::Run { header: header.clone(), resume: true });
            match talk.answer() {
                ToAdapter::Ready(ready) => {
                    assert_eq!((ready.run.as_str(), ready.next_index), (run.as_str(), at));
                }
                other => panic!("expected ready, got {other:?}"),
            }
        }
    }
    talk.end_run(&run, VOLUMES);
    daemon.wait_for_end_of_run();
    logs.push(daemon.process.log());
    assert_eq!(daemon.stop().code, Some(0));
    let report = published(&site.path(&format!("{name}.mcap")), "run").pop().unwrap();
    (results(&site.path(&format!("{name}.jsonl"))), report, logs)
}

#[test]
fn a_restart_from_a_checkpoint_changes_no_bit() {
    let site = Site::with_shift(VOLUMES, "linear");
    // The same commands at the same volumes, without restarts in between.
    let (expected, report, _) = {
        let restarts: [u32; 0] = [];
        run(&site, "undisturbed", &restarts)
    };
    // Before the first checkpoint, behind it, and with the checkpoint in an earlier segment.
    let (found, restarted, logs) = run(&site, "restarted", &[2_000, 7_000, 8_700]);
    assert!(!logs[1].contains("from a checkpoint"), "{}", logs[1]);
    for log in &logs[2..] {
        assert!(log.contains("from a checkpoint"), "{log}");
    }
    // The commands come at other volumes, so compare where both decode and show what they decode.
    let key = |result: &Value| (result["index"].as_u64(), result["stimulus_time_s"].to_string());
    let shown: BTreeSet<_> = found.iter().map(key).collect();
    let decoded = expected.iter().filter(|result| shown.contains(&key(result)));
    let without_blank = |result: &Value| {
        let mut result = result.clone();
        result.as_object_mut().unwrap().remove("blanked");
        result
    };
    let expected: Vec<_> = decoded.map(without_blank).collect();
    let found: Vec<_> = found.iter().map(without_blank).collect();
    assert!(found.len() > VOLUMES as usize - 150, "{} results", found.len());
    assert_eq!(expected.len(), found.len());
    let differs = expected.iter().zip(&found).find(|(expected, found)| expected != found);
    assert_eq!(differs, None);
    for key in ["n_received", "n_missing", "n_late", "n_dropped", "max_dvars"] {
        assert_eq!(restarted[key], report[key], "{key}");
    }
    let recording = site.path("restarted.mcap");
    assert_eq!(recorded_volumes(&recording), (0..VOLUMES).collect::<BTreeSet<_>>());
    let n_checkpoint = entries(&recording).0.iter().filter(|e| e.topic == "checkpoint").count();
    assert!(n_checkpoint >= 1, "{n_checkpoint} checkpoints");
    // No report twice, and none is missing.
    let reports = published(&recording, "volume");
    let indices: Vec<_> = reports.iter().map(|report| report["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, (0..u64::from(VOLUMES)).collect::<Vec<_>>());
}
