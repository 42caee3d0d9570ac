//! A model that adds up the evidence of its windows goes on after a restart, and in a replay, as if
//! nothing had happened. Windows whose results are recorded are not decoded again for their result,
//! but the model has to know them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Daemon, Kept, Site, wait_for};
use corticast_wire::message::{FromAdapter, ToAdapter};
use serde_json::Value;

/// Volumes of a run: more than lie between two checkpoints (4096).
const VOLUMES: u32 = 4_600;

/// A site whose model adds evidence up, with class `chair` for rest. The TR is 1 s.
fn site() -> Site {
    let site = Site::new(VOLUMES);
    site.edit_manifest(|manifest| {
        let evidence = "rest = \"chair\"\nblock_s = 20.0\nrest_s = 5.0".parse::<toml::Table>();
        manifest.insert("evidence".to_owned(), evidence.unwrap().into());
    });
    site
}

fn wait_for_volume(daemon: &Daemon, index: u32) {
    wait_for("the volume", || (daemon.query("last/volume")["index"] == index).then_some(()));
}

/// Sends the scan, and kills the daemon before each of these volumes. Returns the results and the
/// logs of the daemons that were killed and of the last one.
fn run(kept: &Kept<'_>, site: &Site, kills: &[u32]) -> (Vec<Value>, Vec<String>) {
    let mut daemon = kept.start(&[""; 0]);
    let (header, volumes) = site.acquire();
    let mut talk = daemon.talk();
    let run = talk.start_run(&header).run;
    let (mut logs, mut sent) = (Vec::new(), 0);
    for &at in kills.iter().chain([&VOLUMES]) {
        talk.send_volumes(&run, &volumes[sent as usize..at as usize]);
        wait_for_volume(&daemon, at - 1);
        sent = at;
        logs.push(daemon.process.log());
        if at == VOLUMES {
            break;
        }
        daemon.process.kill();
        daemon = kept.start(&[""; 0]);
        talk = daemon.talk();
        talk.say(&FromAdapter::Run { header: header.clone(), resume: true });
        match talk.answer() {
            ToAdapter::Ready(ready) => assert_eq!(ready.next_index, at),
            other => panic!("expected ready, got {other:?}"),
        }
    }
    talk.end_run(&run, VOLUMES);
    daemon.wait_for_end_of_run();
    assert_eq!(daemon.stop().code, Some(0));
    (kept.results(), logs)
}

#[test]
fn evidence_goes_on_after_a_restart_and_in_a_replay() {
    let site = site();
    let (expected, _) = run(&Kept::new(&site, "undisturbed"), &site, &[]);
    assert!(expected.len() > VOLUMES as usize - 20, "{} results", expected.len());
    let sum = |result: &Value| -> f64 {
        let concepts = result["concepts"].as_object().unwrap();
        assert_eq!(concepts.keys().collect::<Vec<_>>(), ["bottle", "cat"], "rest is no answer");
        concepts.values().map(|probability| probability.as_f64().unwrap()).sum()
    };
    assert!(expected.iter().all(|result| (sum(result) - 1.0).abs() < 1e-5));

    // Twice without a checkpoint, in the middle of blocks; and behind the first checkpoint.
    let restarted = Kept::new(&site, "restarted");
    let (found, logs) = run(&restarted, &site, &[40, 41, 4_500]);
    let from_checkpoint: Vec<_> =
        logs.iter().map(|log| log.contains("read from a checkpoint")).collect();
    assert_eq!(from_checkpoint, [false, false, false, true]);
    let differs = expected.iter().zip(&found).find(|(expected, found)| expected != found);
    assert_eq!(differs, None);
    assert_eq!(found.len(), expected.len());

    let (replayed, _) = restarted.replayed();
    let differs = expected.iter().zip(&replayed).find(|(expected, found)| expected != found);
    assert_eq!(differs, None);
    assert_eq!(replayed.len(), expected.len());
}
